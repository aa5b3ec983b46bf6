package imapconn

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/dovecottest"
)

// TestDovecotParts downloads one part of a message, encoded and decoded.
func TestDovecotParts(t *testing.T) {
	t.Parallel()
	srv := dovecottest.Shared(t)
	username, _ := srv.User(t)
	srv.Deliver(t, username, "INBOX", []byte(strings.ReplaceAll(`Content-Type: multipart/mixed; boundary=b

--b

text
--b
Content-Type: application/octet-stream
Content-Transfer-Encoding: base64

aGVsbG8AAQI=
--b--
`, "\n", "\r\n")))
	c := dialConfig(t, dovecotConfig(srv, username, ModeTLS))
	selectInbox(t, c)
	opts := plain(imap.FetchOptions{
		BodySection:       []*imap.FetchItemBodySection{{Part: []int{2}, Peek: true}},
		BinarySection:     []*imap.FetchItemBinarySection{{Part: []int{2}, Peek: true}},
		BinarySectionSize: []*imap.FetchItemBinarySectionSize{{Part: []int{2}}},
	})
	got, err := fetched(t, c, imap.SeqSetNum(1), opts)
	if err != nil || len(got) != 1 {
		t.Fatalf("%d messages, %v", len(got), err)
	}
	if encoded, ok := got[0].Section(opts.BodySection[0]); !ok || string(encoded) != "aGVsbG8AAQI=" {
		t.Errorf("encoded %q, %v", encoded, ok)
	}
	if decoded, ok := got[0].Binary([]int{2}); !ok || string(decoded) != "hello\x00\x01\x02" {
		t.Errorf("decoded %q, %v", decoded, ok)
	}
	if sizes := fmt.Sprint(got[0].BinarySizes); sizes != "[{[2] 8}]" {
		t.Errorf("sizes %s", sizes)
	}
}

// TestDovecotStoreConflict changes flags on condition that nobody else did.
func TestDovecotStoreConflict(t *testing.T) {
	t.Parallel()
	srv := dovecottest.Shared(t)
	username, _ := srv.User(t)
	uid := srv.Deliver(t, username, "INBOX", []byte("a: b\r\n\r\n"))
	c := dialConfig(t, dovecotConfig(srv, username, ModeTLS))
	selectInbox(t, c)
	ctx := testContext(t)
	was := c.SelectData().HighestModSeq
	seen := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagSeen}}
	var flags []imap.Flag
	data, err := c.Store(ctx, imap.UIDSetNum(uid), seen, &StoreOptions{UnchangedSince: was, Result: func(m *FetchMessage) error {
		flags = m.Flags
		return nil
	}})
	if err != nil || data.Modified != nil || fmt.Sprint(flags) != `[\Seen \Recent]` && fmt.Sprint(flags) != `[\Seen]` {
		t.Fatalf("store: %+v, %v, flags %v", data, err, flags)
	}
	data, err = c.Store(ctx, imap.UIDSetNum(uid), seen, &StoreOptions{UnchangedSince: was})
	if err != nil || data.Modified == nil || data.Modified.String() != fmt.Sprint(uid) {
		t.Errorf("conflicting store: %+v, %v", data, err)
	}
}

// TestDovecotMove moves and copies, and expunges only what it must.
func TestDovecotMove(t *testing.T) {
	t.Parallel()
	for _, caps := range [][]string{nil, {"IMAP4rev1", "UIDPLUS"}, {"IMAP4rev1"}} {
		t.Run(strings.Join(caps, " "), func(t *testing.T) {
			t.Parallel()
			srv := dovecottest.Shared(t)
			if caps != nil {
				srv = dovecottest.Start(t, dovecottest.Capability(caps...))
			}
			username, _ := srv.User(t)
			moved := srv.Deliver(t, username, "INBOX", []byte("a: moved\r\n\r\n"))
			other := srv.Deliver(t, username, "INBOX", []byte("a: deleted by somebody else\r\n\r\n"))
			c := dialConfig(t, dovecotConfig(srv, username, ModePlaintext))
			selectInbox(t, c)
			ctx := testContext(t)
			deleted := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}
			if _, err := c.Store(ctx, imap.UIDSetNum(other), deleted, nil); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Move(ctx, imap.UIDSetNum(moved), "Archive"); err != nil {
				t.Fatal(err)
			}
			criteria := &SearchCriteria{}
			criteria.Flag = []imap.Flag{imap.FlagDeleted}
			flagged, err := c.Search(ctx, criteria, nil)
			if err != nil || !flagged.All.Contains(other) || c.NumMessages() != 1 {
				t.Errorf("%d messages are left, flagged are %+v, %v; want the other one", c.NumMessages(), flagged, err)
			}
			if state, err := c.Status(ctx, "Archive", &StatusOptions{StatusOptions: imap.StatusOptions{NumMessages: true}}); err != nil || *state.NumMessages != 1 {
				t.Errorf("status %+v, %v", state, err)
			}
		})
	}
}

// TestDovecotNotify learns of a change in another folder while it idles.
func TestDovecotNotify(t *testing.T) {
	t.Parallel()
	srv := dovecottest.Shared(t)
	username, _ := srv.User(t)
	c := dialConfig(t, dovecotConfig(srv, username, ModePlaintext))
	selectInbox(t, c)
	ctx := testContext(t)
	events := []NotifyEvent{NotifyMessageNew, NotifyMessageExpunge}
	if _, err := c.Notify(ctx, true, NotifyGroup{Scope: NotifySelected, Events: events}, NotifyGroup{Scope: NotifyPersonal, Events: events}); err != nil {
		t.Fatal(err)
	}
	if a, err := c.Idle(ctx, 1); err != nil || a.Reason != ActivityTimeout {
		t.Fatalf("activity %+v, %v", a, err)
	}
	srv.Deliver(t, username, "Archive", []byte("a: b\r\n\r\n"))
	for told := []string{}; !slices.Contains(told, "Archive"); {
		a, err := c.Idle(ctx, testTimeout)
		if err != nil || a.Reason != ActivityUpdate || a.Updates.Mailbox() {
			t.Fatalf("activity %+v, %v", a, err)
		}
		told = a.Updates.Folders // at first also of folders that it opens by itself
	}
}
