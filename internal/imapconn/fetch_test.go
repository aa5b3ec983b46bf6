package imapconn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/dovecottest"
)

// fetched runs a fetch and returns what arrived as text.
func fetched(tb testing.TB, c *Conn, set imap.NumSet, opts *FetchOptions) ([]*FetchMessage, error) {
	tb.Helper()
	var got []*FetchMessage
	err := c.Fetch(testContext(tb), set, opts, func(m *FetchMessage) error {
		got = append(got, m)
		return nil
	})
	return got, err
}

func plain(o imap.FetchOptions) *FetchOptions { return &FetchOptions{FetchOptions: o} }

func TestFetchTolerates(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, script string
		want         []imap.UID
		wantErr      bool
	}{
		{name: "out of order", script: `
			S: * 3 FETCH (UID 30 FLAGS ())
			S: * 1 FETCH (UID 10 FLAGS (\Seen))
			S: $f OK done`, want: []imap.UID{30, 10}},
		{name: "messages not asked for", script: `
			S: * 2 FETCH (UID 99 FLAGS ())
			S: * 2 FETCH (FLAGS (\Seen))
			S: * 1 FETCH (UID 10 FLAGS (\Seen))
			S: $f OK done`, want: []imap.UID{10}},
		{name: "unknown responses and blank lines", script: `
			S: * XSOMETHING (a b) {3}\r\nxyz
			S: 
			S: * 1 FETCH (UID 10 XITEM (1 (2)) FLAGS (\Seen))
			S: complete nonsense
			S: * OK [XCODE y] by the way
			S: $f OK done`, want: []imap.UID{10}},
		{name: "some are gone", script: `
			S: * 1 FETCH (UID 10 FLAGS (\Seen))
			S: $f NO Some of the requested messages no longer exist`, want: []imap.UID{10}},
		{name: "some are gone, by code", script: `
			S: $f NO [EXPUNGEISSUED] gone`},
		{name: "refused", script: `
			S: $f NO [SERVERBUG] oops`, wantErr: true},
		{name: "nothing is known of one, and it is gone", script: `
			S: * 1 FETCH (UID 10 FLAGS (\Seen))
			S: * 2 FETCH (UID 20 FLAGS (\Deleted) INTERNALDATE "01-Jan-1970 00:00:00 +0000" ENVELOPE (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL))
			S: * 2 FETCH (UID 20 FLAGS (\Deleted))
			S: $f OK [EXPUNGEISSUED] gone`, want: []imap.UID{10}},
		{name: "nothing is known of one, and it is there", script: `
			S: * 2 FETCH (UID 20 FLAGS () INTERNALDATE "01-Jan-1970 00:00:00 +0000" ENVELOPE (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL))
			S: * 1 FETCH (UID 10 FLAGS (\Seen))
			S: $f OK done`, want: []imap.UID{10, 20}},
		{name: "a broken item", script: `
			S: * 1 FETCH (UID 10 ENVELOPE (nonsense FLAGS (\Seen))
			S: * 2 FETCH (UID 20 FLAGS ())
			S: $f OK done`, want: []imap.UID{10, 20}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := dialScript(t, "", selected(3)+`
				C: $f UID FETCH 10:30 (UID FLAGS INTERNALDATE ENVELOPE)`+tc.script+`
				C: $n NOOP
				S: $n OK done`)
			selectInbox(t, c)
			got, err := fetched(t, c, imap.UIDSet{{Start: 10, Stop: 30}}, plain(imap.FetchOptions{Flags: true, InternalDate: true, Envelope: true}))
			var refused *Error
			if errors.As(err, &refused) != tc.wantErr || err != nil && !tc.wantErr {
				t.Errorf("error %v", err)
			}
			var uids []imap.UID
			for _, m := range got {
				uids = append(uids, m.UID)
			}
			if len(uids) != len(tc.want) {
				t.Fatalf("UIDs %v, want %v", uids, tc.want)
			}
			for i := range uids {
				if uids[i] != tc.want[i] {
					t.Errorf("UIDs %v, want %v", uids, tc.want)
				}
			}
			if err := c.Noop(testContext(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestFetchAsksOnlyForWhatThereIs(t *testing.T) {
	t.Parallel()
	everything := &FetchOptions{
		FetchOptions: imap.FetchOptions{
			Flags: true, ModSeq: true, ChangedSince: 5,
			BinarySection: []*imap.FetchItemBinarySection{{Part: []int{1}, Peek: true}},
		},
		EmailID: true, ThreadID: true, Preview: true, SaveDate: true,
		GmailMsgID: true, GmailThreadID: true, GmailLabels: true,
		Vanished: func(imap.UIDSet) {},
	}
	for _, tc := range []struct{ name, caps, want string }{
		{"nothing", "", "(UID FLAGS)"},
		{"some", "CONDSTORE OBJECTID BINARY", "(UID FLAGS MODSEQ EMAILID THREADID BINARY.PEEK[1]) (CHANGEDSINCE 5)"},
		{"others", "PREVIEW SAVEDATE X-GM-EXT-1", "(UID FLAGS SAVEDATE X-GM-MSGID X-GM-THRID X-GM-LABELS PREVIEW)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			sel := strings.Replace(selected(3), "SELECT INBOX", "SELECT INBOX (CONDSTORE)", 1)
			if !strings.Contains(tc.caps, "CONDSTORE") {
				sel = selected(3)
			}
			c := dialScript(t, tc.caps, sel+"C: $f UID FETCH 1:* "+tc.want+"\nS: $f OK done")
			selectInbox(t, c)
			if _, err := fetched(t, c, imap.UIDSet{{Start: 1}}, everything); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestFetchVanished(t *testing.T) {
	t.Parallel()
	c := dialScript(t, "ENABLE QRESYNC", `
		C: $e ENABLE CONDSTORE QRESYNC
		S: * ENABLED QRESYNC
		S: $e OK done
		C: $s SELECT INBOX (QRESYNC (7 100 1:50))
		S: * 3 EXISTS
		S: * OK [UIDVALIDITY 7] ok
		S: * OK [HIGHESTMODSEQ 120] ok
		S: * VANISHED (EARLIER) 41,43:44
		S: * 1 FETCH (UID 10 FLAGS (\Seen) MODSEQ (110))
		S: $s OK done
		C: $f UID FETCH 1:* (UID FLAGS) (CHANGEDSINCE 110 VANISHED)
		S: * VANISHED (EARLIER) 12
		S: * VANISHED 10
		S: $f OK done`)
	var changed []imap.UID
	data, err := c.Select(testContext(t), "INBOX", &SelectOptions{QResync: &QResync{
		UIDValidity: 7, ModSeq: 100, KnownUIDs: imap.UIDSet{{Start: 1, Stop: 50}},
		Changed: func(m *FetchMessage) error { changed = append(changed, m.UID); return nil },
	}})
	if err != nil {
		t.Fatal(err)
	}
	if data.Vanished.String() != "41,43:44" || len(changed) != 1 || changed[0] != 10 || data.HighestModSeq != 120 {
		t.Errorf("select data %+v, changed %v", data, changed)
	}
	var gone imap.UIDSet
	opts := &FetchOptions{
		FetchOptions: imap.FetchOptions{Flags: true, ChangedSince: 110},
		Vanished:     func(set imap.UIDSet) { gone.AddSet(set) },
	}
	if _, err := fetched(t, c, imap.UIDSet{{Start: 1}}, opts); err != nil {
		t.Fatal(err)
	}
	if gone.String() != "12" || c.NumMessages() != 2 || !c.Updates().Expunged {
		t.Errorf("vanished %v, %d messages", gone, c.NumMessages())
	}
}

func TestFetchSections(t *testing.T) {
	t.Parallel()
	section := &imap.FetchItemBodySection{Specifier: imap.PartSpecifierHeader, HeaderFields: []string{"Subject"}, Peek: true}
	opts := plain(imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{section, {Peek: true}}})
	opts.MaxSection = 16
	c := dialScript(t, "", selected(3)+`
		C: $f FETCH 1:2 (UID BODY.PEEK[HEADER.FIELDS (Subject)] BODY.PEEK[])
		S: * 1 FETCH (UID 10 BODY[HEADER.FIELDS ("SUBJECT")] {13}\r\nSubject: x\r\n\r BODY[] "short")
		S: * 2 FETCH (BODY[] {20}\r\n01234567890123456789 UID 20 BODY[HEADER.FIELDS (SUBJECT)] NIL)
		S: $f OK done`)
	selectInbox(t, c)
	got, err := fetched(t, c, imap.SeqSet{{Start: 1, Stop: 2}}, opts)
	if err != nil || len(got) != 2 {
		t.Fatalf("%d messages, %v", len(got), err)
	}
	if data, ok := got[0].Section(section); !ok || string(data) != "Subject: x\r\n\r" {
		t.Errorf("header %q, %v", data, ok)
	}
	if data, ok := got[0].Section(&imap.FetchItemBodySection{}); !ok || string(data) != "short" {
		t.Errorf("body %q, %v", data, ok)
	}
	if s := got[1].Sections; len(s) != 1 || string(s[0].Data) != "0123456789012345" || !s[0].Truncated || got[1].UID != 20 {
		t.Errorf("sections %+v of UID %d", s, got[1].UID)
	}
}

// TestFetchAll sends commands together; the answers to the second come while the
// first is under way.
func TestFetchAll(t *testing.T) {
	t.Parallel()
	request := func(part int, uids ...imap.UID) FetchRequest {
		o := plain(imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{{Part: []int{part}, Peek: true}}})
		return FetchRequest{Set: imap.UIDSetNum(uids...), Options: o}
	}
	c := dialScript(t, "", selected(3)+`
		C: $f UID FETCH 20,30 (UID BODY.PEEK[1])
		C: $g UID FETCH 10 (UID BODY.PEEK[2])
		S: * 3 FETCH (UID 30 BODY[1] "thirty")
		S: * 1 FETCH (UID 10 BODY[2] "ten")
		S: * 1 FETCH (FLAGS (\Seen))
		S: $f OK done
		S: * 2 FETCH (UID 20 BODY[1] "twenty")
		S: $g NO Some of the requested messages no longer exist`)
	selectInbox(t, c)
	got := make(map[imap.UID]string)
	err := c.FetchAll(t.Context(), []FetchRequest{request(1, 20, 30), request(2, 10)}, func(m *FetchMessage) error {
		got[m.UID] = string(m.Sections[0].Data)
		return nil
	})
	want := map[imap.UID]string{10: "ten", 20: "twenty", 30: "thirty"}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
	if err := c.FetchAll(t.Context(), nil, nil); err != nil {
		t.Error(err)
	}
}

// bodyOf is a FETCH response with a body of a size.
func bodyOf(size int) string {
	return fmt.Sprintf(`* 1 FETCH (UID 10 BODY[] {%d}\r\n%s)`, size, strings.Repeat("x", size))
}

func TestFetchStream(t *testing.T) {
	t.Parallel()
	errEnough := errors.New("enough")
	for _, tc := range []struct {
		name  string
		size  int
		body  func(r io.Reader) error
		err   error
		alive bool
	}{
		{"read to the end", 50000, func(r io.Reader) error { _, err := io.Copy(io.Discard, r); return err }, nil, true},
		{"left unread", 50000, func(io.Reader) error { return nil }, nil, true},
		{"given up while small", 50000, func(io.Reader) error { return errEnough }, errEnough, true},
		{"given up while large", 90000, func(io.Reader) error { return errEnough }, errEnough, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			script := selected(1) + "C: $f UID FETCH 10 (UID BODY.PEEK[])\nS: " + bodyOf(tc.size) + "\nS: $f OK done\nignore"
			c := dialScript(t, "", script)
			selectInbox(t, c)
			opts := plain(imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{{Peek: true}}})
			opts.Body = func(m *FetchMessage, s *BodySection) error {
				if m.UID != 10 || s.Literal.Size() != int64(tc.size) {
					t.Errorf("UID %d, size %d", m.UID, s.Literal.Size())
				}
				return tc.body(s.Literal)
			}
			_, err := fetched(t, c, imap.UIDSetNum(10), opts)
			if !errors.Is(err, tc.err) {
				t.Errorf("error %v, want %v", err, tc.err)
			}
			if alive := c.Err() == nil; alive != tc.alive {
				t.Errorf("alive = %v, want %v", alive, tc.alive)
			}
		})
	}
}

func TestFetchCanceledInMidst(t *testing.T) {
	t.Parallel()
	c := dialScript(t, "", selected(1)+"C: $f UID FETCH 10 (UID BODY.PEEK[])\nS| * 1 FETCH (UID 10 BODY[] {99999}\\r\\nxxxx\nignore")
	selectInbox(t, c)
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	opts := plain(imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{{Peek: true}}})
	opts.Body = func(_ *FetchMessage, s *BodySection) error {
		if _, err := io.ReadFull(s.Literal, make([]byte, 4)); err != nil {
			return err
		}
		cancel()
		_, err := io.Copy(&bytes.Buffer{}, s.Literal)
		return err
	}
	err := c.Fetch(ctx, imap.UIDSetNum(10), opts, func(*FetchMessage) error { return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	var closed *ClosedError
	if err := c.Noop(testContext(t)); !errors.As(err, &closed) || !errors.Is(err, context.Canceled) {
		t.Errorf("error of the next command: %v", err)
	}
}

func TestFetchSplitsLongSets(t *testing.T) {
	t.Parallel()
	var set imap.UIDSet
	for uid := imap.UID(1_000_000); uid < 1_004_000; uid += 2 {
		set.AddNum(uid)
	}
	parts := splitSet(set)
	if len(parts) < 2 {
		t.Fatalf("%d parts", len(parts))
	}
	var again imap.UIDSet
	for _, p := range parts {
		if n := len(p.String()); n > maxSetBytes {
			t.Errorf("a part of %d bytes", n)
		}
		again.AddSet(p.(imap.UIDSet))
	}
	if again.String() != set.String() {
		t.Error("the parts are not the set")
	}
}

// The last message, which n:* always has, is no news when it is told among the
// answers: whoever idles next must not be woken by it.
func TestFetchOfNothingNewIsNoNews(t *testing.T) {
	t.Parallel()
	srv := dovecottest.Shared(t)
	username, _ := srv.User(t)
	uid := srv.Deliver(t, username, "INBOX", []byte("Subject: hello\r\n\r\nbody\r\n"))
	c := dialConfig(t, dovecotConfig(srv, username, ModePlaintext))
	if _, err := c.Select(testContext(t), "INBOX", nil); err != nil {
		t.Fatal(err)
	}
	c.Updates()
	next := imap.UIDSet{{Start: uid + 1, Stop: 0}}
	if _, err := fetched(t, c, next, plain(imap.FetchOptions{Flags: true, Envelope: true, RFC822Size: true})); err != nil {
		t.Fatal(err)
	}
	if u := c.Updates(); u.Any() {
		t.Errorf("the last message is taken for news: %+v", u)
	}
	activity, err := c.Idle(testContext(t), 50*time.Millisecond)
	if err != nil || activity.Reason != ActivityTimeout {
		t.Errorf("IDLE ends by %s (%v)", activity.Reason, err)
	}
}
