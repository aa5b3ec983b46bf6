package imapconn

import (
	"testing"

	"github.com/emersion/go-imap/v2"
)

func TestListPrefixes(t *testing.T) {
	t.Parallel()
	c := dialScript(t, "NAMESPACE", `
		C: $1 NAMESPACE
		C: $2 LIST "" "*"
		S: * NAMESPACE (("INBOX." ".")) NIL (("Shared." "."))
		S: $1 OK done
		S: * LIST () "." INBOX
		S: * LIST () "." INBOX.Sent
		S: * LIST () "." Inbox.Old
		S: * LIST () "." INBOX.INBOX
		S: * LIST () "." "INBOX.&Jjo!"
		S: * LIST () "." Shared.x
		S: $2 OK done
		C: $3 LIST "" "*"
		S: * LIST () "." INBOX.Sent
		S: $3 OK done`)
	list, err := c.List(testContext(t), &ListOptions{Prefixes: true})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"INBOX": "", "INBOX.Sent": "INBOX.", "Inbox.Old": "Inbox.", "INBOX.INBOX": "", "INBOX.&Jjo!": "INBOX.", "Shared.x": ""}
	for i := range list {
		if list[i].Prefix != want[list[i].RawName] {
			t.Errorf("%s: prefix %q, want %q", list[i].RawName, list[i].Prefix, want[list[i].RawName])
		}
	}
	if len(list) != len(want) {
		t.Errorf("%d mailboxes, want %d", len(list), len(want))
	}
	// The server is asked once.
	if list, err = c.List(testContext(t), &ListOptions{Prefixes: true}); err != nil || list[0].Prefix != "INBOX." {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestPrefix(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, caps, script, prefix string
		delimiter                  rune
	}{
		{name: "namespace", caps: "NAMESPACE", prefix: "~/Mail/", delimiter: '/', script: `
			C: $1 NAMESPACE
			S: * NAMESPACE (("~/Mail/" "/") ("#mh/" "/")) NIL NIL
			S: $1 OK done`},
		{name: "none", delimiter: '.', script: `
			C: $1 LIST "" ""
			S: * LIST (\Noselect) "." ""
			S: $1 OK done`},
		{name: "refused", caps: "NAMESPACE", delimiter: '/', script: `
			C: $1 NAMESPACE
			S: $1 BAD what
			C: $2 LIST "" ""
			S: * LIST (\Noselect) "/" ""
			S: $2 OK done`},
		{name: "flat", caps: "NAMESPACE", script: `
			C: $1 NAMESPACE
			S: * NAMESPACE (("" NIL)) NIL NIL
			S: $1 OK done
			C: $2 LIST "" ""
			S: * LIST (\Noselect) NIL ""
			S: $2 OK done`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			prefix, delimiter, err := dialScript(t, tc.caps, tc.script).Prefix(testContext(t))
			if err != nil || prefix != tc.prefix || delimiter != tc.delimiter {
				t.Errorf("%q %q %v", prefix, delimiter, err)
			}
		})
	}
}

func TestListStatus(t *testing.T) {
	t.Parallel()
	c := dialScript(t, "", `
		C: $1 LIST "" "*"
		S: * LIST () "/" INBOX
		S: * LIST (\NOSELECT) "/" above
		S: * LIST () "/" "above/a"
		S: * LIST () "/" secret
		S: $1 OK done
		C: $2 STATUS INBOX (MESSAGES)
		C: $3 STATUS "above/a" (MESSAGES)
		C: $4 STATUS "secret" (MESSAGES)
		S: * STATUS INBOX (MESSAGES 1)
		S: $2 OK done
		S: * STATUS above/a (MESSAGES 2)
		S: $3 OK done
		S: $4 NO [NOPERM] no`)
	list, err := c.ListStatus(testContext(t), &ListOptions{Status: &StatusOptions{StatusOptions: imap.StatusOptions{NumMessages: true}}})
	if err != nil || len(list) != 4 {
		t.Fatalf("%v, %v", list, err)
	}
	if *list[0].Status.NumMessages != 1 || list[1].Status != nil || list[1].Selectable() || *list[2].Status.NumMessages != 2 || list[3].Status != nil {
		t.Errorf("%+v", list)
	}
}

func TestBelow(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		above, rest string
		utf8        bool
		want        string
	}{
		{"Projects/", "ü", false, "Projects/ü"},
		{RawName("&Jjo!/"), "ü", false, RawName("&Jjo!/&APw-")},
		{RawName("\xff/"), "ü", true, RawName("\xff/ü")},
	} {
		if got := Below(tc.above, tc.rest, tc.utf8); got != tc.want {
			t.Errorf("%q below %q: %q, want %q", tc.rest, tc.above, got, tc.want)
		}
	}
}
