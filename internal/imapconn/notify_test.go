package imapconn

import (
	"reflect"
	"testing"
)

// notifyAll is what a watcher asks for.
func notifyAll(t *testing.T, c *Conn) error {
	t.Helper()
	events := []NotifyEvent{NotifyMessageNew, NotifyMessageExpunge, NotifyFlagChange}
	_, err := c.Notify(testContext(t), false,
		NotifyGroup{Scope: NotifySelected, Events: events},
		NotifyGroup{Scope: NotifyPersonal, Events: append(events, NotifyMailboxName)})
	return err
}

const setNotify = `C: $q NOTIFY SET (SELECTED (MessageNew MessageExpunge FlagChange)) (PERSONAL (MessageNew MessageExpunge FlagChange MailboxName))
	S: $q OK done
	`

// What NOTIFY tells is summed up by what is to be done about it.
func TestNotifyHints(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, lines string
		want        Updates
	}{
		{"news of a folder", `S: * STATUS "Archive" (MESSAGES 4 UIDNEXT 9)`, Updates{Folders: []string{"Archive"}}},
		{"in modified UTF-7", `S: * STATUS "Entw&APw-rfe" (MESSAGES 4)`, Updates{Folders: []string{"Entwürfe"}}},
		{"a new folder", `S: * LIST () "/" "Trips"`, Updates{Listed: true}},
		{"a renamed folder", `S: * LIST () "/" "Journeys" ("OLDNAME" ("Trips"))`, Updates{Listed: true}},
		{"a deleted folder", `S: * LIST (\NonExistent) "/" "Trips"`, Updates{Listed: true}},
		{"the selected folder", "S: * 4 EXISTS", Updates{Exists: true}},
		{"events got lost", "S: * NO NOTIFY error, some events may have got lost", Updates{Overflow: true}},
		{"the server gave up", "S: * OK [NOTIFICATIONOVERFLOW] too much", Updates{NotifyEnded: true}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := dialScript(t, "NOTIFY IDLE", setNotify+selected(3)+`
				C: $i IDLE
				S: + idling
				`+tc.lines+`
				C: DONE
				C: $n NOOP
				S: $i OK idled
				S: $n OK done`)
			if err := notifyAll(t, c); err != nil {
				t.Fatal(err)
			}
			selectInbox(t, c)
			a, err := c.Idle(testContext(t), testTimeout)
			if err != nil || a.Reason != ActivityUpdate || !a.Pushed || !reflect.DeepEqual(a.Updates, tc.want) {
				t.Errorf("activity %+v, %v, want %+v", a, err, tc.want)
			}
			if err := c.Noop(testContext(t)); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A refusal is one, whatever its code, and the connection goes on. It says
// nothing of notifications, for there were none.
func TestNotifyRefused(t *testing.T) {
	t.Parallel()
	for _, refusal := range []string{
		"NO [BADEVENT (MessageNew MessageExpunge)] no such event",
		"NO [NOTIFICATIONOVERFLOW] NOTIFY not supported for these mailboxes.",
		"BAD Invalid arguments.",
	} {
		t.Run(refusal, func(t *testing.T) {
			t.Parallel()
			c := dialScript(t, "NOTIFY", `
				C: $q NOTIFY SET (SELECTED (MessageNew MessageExpunge FlagChange)) (PERSONAL (MessageNew MessageExpunge FlagChange MailboxName))
				S: $q `+refusal+`
				C: $n NOOP
				S: * NO nothing to do with it
				S: $n OK done`)
			if err := notifyAll(t, c); err == nil {
				t.Fatal("it was not refused")
			}
			if err := c.Noop(testContext(t)); err != nil {
				t.Fatal(err)
			}
			if u := c.Updates(); u.Any() {
				t.Errorf("updates %+v", u)
			}
		})
	}
}

// News of a folder that comes in between the answers to LIST or STATUS is not
// taken for its state, for it tells only a part of that.
func TestNotifyBetweenAnswers(t *testing.T) {
	t.Parallel()
	items := &StatusOptions{}
	items.NumMessages, items.UIDValidity = true, true
	c := dialScript(t, "NOTIFY LIST-STATUS LIST-EXTENDED", setNotify+`
		C: $l LIST "" "*" RETURN (STATUS (MESSAGES UIDVALIDITY))
		S: * LIST () "/" "Archive"
		S: * STATUS "Archive" (MESSAGES 3 UIDVALIDITY 7)
		S: * STATUS "Archive" (MESSAGES 4)
		S: $l OK done
		C: $t STATUS "Archive" (MESSAGES UIDVALIDITY)
		S: * STATUS "Archive" (MESSAGES 5)
		S: * STATUS "Archive" (MESSAGES 5 UIDVALIDITY 7)
		S: * STATUS "Archive" (MESSAGES 6)
		S: $t OK done`)
	if err := notifyAll(t, c); err != nil {
		t.Fatal(err)
	}
	list, err := c.List(testContext(t), &ListOptions{Status: items})
	if err != nil || len(list) != 1 || *list[0].Status.NumMessages != 3 || list[0].Status.UIDValidity != 7 {
		t.Errorf("list %+v, %v", list, err)
	}
	if u := c.Updates(); !reflect.DeepEqual(u, Updates{Folders: []string{"Archive"}}) {
		t.Errorf("updates %+v", u)
	}
	state, err := c.Status(testContext(t), "Archive", items)
	if err != nil || *state.NumMessages != 5 || state.UIDValidity != 7 {
		t.Errorf("state %+v, %v", state, err)
	}
	if u := c.Updates(); !reflect.DeepEqual(u, Updates{Folders: []string{"Archive"}}) {
		t.Errorf("updates %+v", u)
	}
}
