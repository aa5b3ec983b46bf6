package imapconn

import (
	"testing"

	"github.com/emersion/go-imap/v2"
)

func TestList(t *testing.T) {
	t.Parallel()
	withStatus := &ListOptions{
		ListOptions: imap.ListOptions{ReturnSpecialUse: true, ReturnChildren: true},
		Status:      &StatusOptions{StatusOptions: imap.StatusOptions{NumMessages: true, UIDNext: true, HighestModSeq: true}},
	}
	for _, tc := range []struct {
		name, caps, script string
		opts               *ListOptions
		check              func(t *testing.T, list []ListData)
	}{
		{name: "all in one", caps: "SPECIAL-USE LIST-EXTENDED LIST-STATUS CONDSTORE", opts: withStatus, script: `
			C: $x LIST "" "*" RETURN (CHILDREN SPECIAL-USE STATUS (MESSAGES UIDNEXT HIGHESTMODSEQ))
			S: * LIST (\HasNoChildren) "/" Inbox
			S: * STATUS INBOX (MESSAGES 3 UIDNEXT 4 HIGHESTMODSEQ 9)
			S: * LIST (\Sent \NonExistent) "/" "Sent &APw-"
			S: $x OK done`,
			check: func(t *testing.T, list []ListData) {
				if list[0].Mailbox != "INBOX" || list[0].Status == nil || list[0].Status.UIDNext != 4 || list[0].Delim != '/' {
					t.Errorf("INBOX %+v", list[0])
				}
				if list[1].Mailbox != "Sent ü" || list[1].RawName != "Sent &APw-" || list[1].Status != nil || list[1].Attrs[0] != imap.MailboxAttrSent {
					t.Errorf("Sent %+v", list[1])
				}
			}},
		{name: "nothing extended", opts: withStatus, script: `
			C: $x LIST "" "*"
			S: * LIST () NIL INBOX
			S: * LIST (\Noselect) "." "a.b"
			S: $x OK done`,
			check: func(t *testing.T, list []ListData) {
				if list[0].Delim != 0 || list[1].Delim != '.' || len(list) != 2 {
					t.Errorf("%+v", list)
				}
			}},
		{name: "XLIST", caps: "XLIST", opts: withStatus, script: `
			C: $x XLIST "" "*"
			S: * XLIST (\HasNoChildren \Inbox) "/" "Posteingang"
			S: * XLIST (\Spam) "/" "[Gmail]/Spam"
			S: $x OK done`,
			check: func(t *testing.T, list []ListData) {
				if list[0].Mailbox != "INBOX" || list[0].RawName != "Posteingang" || list[1].Attrs[0] != imap.MailboxAttrJunk {
					t.Errorf("%+v", list)
				}
			}},
		{name: "LSUB", opts: &ListOptions{ListOptions: imap.ListOptions{SelectSubscribed: true}}, script: `
			C: $x LSUB "" "*"
			S: * LSUB () "/" "a"
			S: $x OK done`,
			check: func(t *testing.T, list []ListData) {
				if len(list) != 1 || list[0].Attrs[0] != imap.MailboxAttrSubscribed {
					t.Errorf("%+v", list)
				}
			}},
		{name: "subscriptions by LSUB", opts: &ListOptions{ListOptions: imap.ListOptions{ReturnSubscribed: true}}, script: `
			C: $1 LIST "" "*"
			C: $2 LSUB "" "*"
			S: * LIST () "/" a
			S: * LIST () "/" b
			S: * LIST () "/" c
			S: $1 OK done
			S: * LSUB () "/" b
			S: * LSUB (\Noselect) "/" c
			S: * LSUB () "/" gone
			S: $2 OK done`,
			check: func(t *testing.T, list []ListData) {
				if len(list) != 3 || len(list[0].Attrs) != 0 || len(list[1].Attrs) != 1 || list[1].Attrs[0] != imap.MailboxAttrSubscribed || len(list[2].Attrs) != 0 {
					t.Errorf("%+v", list)
				}
			}},
		{name: "a broken line does not lose the list", script: `
			C: $x LIST "" "*"
			S: * LIST (((( "/" broken
			S: * LIST () "/" "&Jjo!"
			S: * LIST () "/" "%*"
			S: $x OK done`,
			check: func(t *testing.T, list []ListData) {
				if len(list) != 2 || list[0].RawName != "&Jjo!" || list[0].Name() != RawName("&Jjo!") || list[1].Name() != "%*" {
					t.Errorf("%+v", list)
				}
			}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := dialScript(t, tc.caps, tc.script)
			list, err := c.List(testContext(t), tc.opts)
			if err != nil {
				t.Fatal(err)
			}
			tc.check(t, list)
		})
	}
}

func TestStatusAllIsOneWrite(t *testing.T) {
	t.Parallel()
	c, s := dialScriptServer(t, "", `
		C: $1 STATUS INBOX (MESSAGES)
		C: $2 STATUS "gone" (MESSAGES)
		C: $3 STATUS "a" (MESSAGES)
		S: * STATUS inbox (MESSAGES 1)
		S: $1 OK done
		S: $2 NO no such mailbox
		S: * STATUS a (MESSAGES 3)
		S: $3 OK done`)
	before := s.writes.Load()
	results, err := c.StatusAll(testContext(t), []string{"INBOX", "gone", "a"},
		&StatusOptions{StatusOptions: imap.StatusOptions{NumMessages: true, Size: true, HighestModSeq: true}})
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != 3 || *results[0].Data.NumMessages != 1 || results[1].Err == nil || *results[2].Data.NumMessages != 3 {
		t.Errorf("results %+v", results)
	}
	if n := s.writes.Load() - before; n != 1 {
		t.Errorf("%d writes, want 1", n)
	}
}
