package gmailtest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/postern-mail/postern/internal/gmailtest"
	"github.com/postern-mail/postern/internal/imapconn"
)

// dial logs in with the project's own client.
func dial(t *testing.T, s *gmailtest.Server) (*imapconn.Conn, context.Context) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	c, err := imapconn.Dial(ctx, config(s))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, ctx
}

func config(s *gmailtest.Server) imapconn.Config {
	return imapconn.Config{
		Host: s.Host(), Port: s.Port(), TLSMode: imapconn.ModePlaintext,
		Auth: imapconn.Auth{Username: gmailtest.Username, Password: gmailtest.Password},
	}
}

func mail(id, subject string, more ...string) []byte {
	return fmt.Appendf(nil, "From: Ann <ann@example.com>\r\nTo: bob@example.com\r\nMessage-ID: <%s@example.com>\r\nSubject: %s\r\n%s\r\nText of %s.\r\n",
		id, subject, strings.Join(more, ""), subject)
}

func open(t *testing.T, c *imapconn.Conn, folder string) *imapconn.SelectData {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	data, err := c.Select(ctx, folder, nil)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func fetch(t *testing.T, c *imapconn.Conn) []*imapconn.FetchMessage {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	opts := &imapconn.FetchOptions{GmailMsgID: true, GmailThreadID: true, GmailLabels: true}
	opts.Flags, opts.Envelope, opts.RFC822Size, opts.InternalDate, opts.ModSeq = true, true, true, true, true
	opts.BodyStructure = &imap.FetchItemBodyStructure{Extended: true}
	var all []*imapconn.FetchMessage
	err := c.Fetch(ctx, imap.UIDSet{{Start: 1}}, opts, func(m *imapconn.FetchMessage) error {
		all = append(all, m)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestFoldersAreViews(t *testing.T) {
	t.Parallel()
	s := gmailtest.Start(t)
	id := s.Deliver(mail("a", "one"), gmailtest.LabelInbox, "Muy Importante", "Größe", "work")
	s.Deliver(mail("b", "two", "References: <a@example.com>\r\n"), gmailtest.LabelSent)
	c, ctx := dial(t, s)
	list, err := c.List(ctx, &imapconn.ListOptions{Status: &imapconn.StatusOptions{StatusOptions: imap.StatusOptions{NumMessages: true}}})
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]uint32{}
	for _, f := range list {
		if f.Status != nil && f.Status.NumMessages != nil {
			counts[f.Name()] = *f.Status.NumMessages
		}
	}
	for name, want := range map[string]uint32{
		"INBOX": 1, "[Gmail]/All Mail": 2, "[Gmail]/Sent Mail": 1, "Muy Importante": 1, "Größe": 1, "[Gmail]/Trash": 0,
	} {
		if got, ok := counts[name]; !ok || got != want {
			t.Errorf("%s has %d, want %d", name, got, want)
		}
	}
	if _, ok := counts["[Gmail]"]; ok {
		t.Error("[Gmail] has a state")
	}

	// The label of the selected folder is left out.
	for folder, want := range map[string][]string{
		"INBOX":            {"Größe", "Muy Importante", "work"},
		"[Gmail]/All Mail": {"Größe", "Muy Importante", "\\Inbox", "work"},
		"Größe":            {"Muy Importante", "\\Inbox", "work"},
	} {
		open(t, c, folder)
		m := fetch(t, c)[0]
		slices.Sort(want)
		if slices.Sort(m.GmailLabels); !slices.Equal(m.GmailLabels, want) || m.GmailMsgID != id || m.Envelope.Subject != "one" {
			t.Errorf("%s: %q of %d, want %q", folder, m.GmailLabels, m.GmailMsgID, want)
		}
	}
	open(t, c, "[Gmail]/All Mail")
	if all := fetch(t, c); all[0].GmailThreadID != all[1].GmailThreadID {
		t.Error("an answer is in another thread")
	}
}

func TestLabelsAreFolders(t *testing.T) {
	t.Parallel()
	s := gmailtest.Start(t)
	id := s.Deliver(mail("a", "one"), gmailtest.LabelInbox)
	c, ctx := dial(t, s)
	open(t, c, "INBOX")
	// COPY labels, MOVE relabels.
	if data, err := c.Copy(ctx, imap.UIDSetNum(1), "[Gmail]/Starred"); err != nil || len(data.DestUIDs) != 1 {
		t.Fatalf("copy %+v, %v", data, err)
	}
	if err := c.StoreLabels(ctx, imap.UIDSetNum(1), imap.StoreFlagsAdd, []string{"Größe", "two words"}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Move(ctx, imap.UIDSetNum(1), "Größe"); err != nil {
		t.Fatal(err)
	}
	if labels, _ := s.Labels(id); !slices.Equal(labels, []string{"Größe", `\Starred`, "two words"}) {
		t.Errorf("labels %q", labels)
	}
	if flags := s.Flags(id); !slices.Contains(flags, imap.FlagFlagged) {
		t.Errorf("flags %q", flags)
	}
	// Expunging takes the label off; the message stays.
	open(t, c, "Größe")
	if _, err := c.Store(ctx, imap.UIDSetNum(1), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}}, nil); err != nil {
		t.Fatal(err)
	}
	if ids, _ := s.Folder("Größe"); len(ids) != 0 {
		t.Errorf("auto-expunge has left %d", ids)
	}
	if ids, _ := s.Folder("[Gmail]/All Mail"); !slices.Equal(ids, []uint64{id}) {
		t.Errorf("all mail has %d", ids)
	}
	// Only from the trash it is deleted.
	open(t, c, "[Gmail]/All Mail")
	if _, err := c.Move(ctx, imap.UIDSetNum(1), "[Gmail]/Trash"); err != nil {
		t.Fatal(err)
	}
	if c.NumMessages() != 0 {
		t.Errorf("%d messages left in all mail", c.NumMessages())
	}
	open(t, c, "[Gmail]/Trash")
	if _, err := c.Store(ctx, imap.UIDSetNum(1), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}}, nil); err != nil {
		t.Fatal(err)
	}
	if _, found := s.Labels(id); found {
		t.Error("the message is still there")
	}
}

func TestSearch(t *testing.T) {
	t.Parallel()
	s := gmailtest.Start(t)
	s.DeliverAt(time.Date(2026, 11, 2, 5, 0, 0, 0, time.UTC), mail("a", "invoice number one"), gmailtest.LabelInbox, "work")
	s.DeliverAt(time.Date(2026, 11, 3, 5, 0, 0, 0, time.UTC), mail("b", "=?utf-8?q?Gr=C3=BC=C3=9Fe?="), gmailtest.LabelInbox)
	c, ctx := dial(t, s)
	open(t, c, "INBOX")
	for name, tt := range map[string]struct {
		criteria imapconn.SearchCriteria
		want     string
	}{
		"whole words":     {imapconn.SearchCriteria{SearchCriteria: imap.SearchCriteria{Text: []string{"invoice"}}}, "1"},
		"not their parts": {imapconn.SearchCriteria{SearchCriteria: imap.SearchCriteria{Text: []string{"invoi"}}}, ""},
		"beyond ASCII":    {imapconn.SearchCriteria{SearchCriteria: imap.SearchCriteria{Text: []string{"Grüße"}}}, "2"},
		"label":           {imapconn.SearchCriteria{GmailLabels: []string{"work"}}, "1"},
		"raw":             {imapconn.SearchCriteria{GmailRaw: []string{`subject:invoice -label:x in:inbox`}}, "1"},
		"raw id":          {imapconn.SearchCriteria{GmailRaw: []string{`rfc822msgid:b@example.com`}}, "2"},
		"its own days":    {imapconn.SearchCriteria{SearchCriteria: imap.SearchCriteria{Before: time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)}}, "1"},
	} {
		found, err := c.Search(ctx, &tt.criteria, nil)
		if err != nil || found.All.String() != tt.want {
			t.Errorf("%s: %v, %v", name, found, err)
		}
	}
}

// HIGHESTMODSEQ runs ahead of what it counts.
func TestHold(t *testing.T) {
	t.Parallel()
	s := gmailtest.Start(t)
	id := s.Deliver(mail("a", "one"), gmailtest.LabelInbox)
	before, ctx := dial(t, s)
	first := open(t, before, "INBOX").HighestModSeq
	s.Hold()
	s.SetFlag(id, imap.FlagSeen, true)
	c, _ := dial(t, s)
	ahead := open(t, c, "INBOX").HighestModSeq
	changed := func(since uint64) (n int) {
		opts := &imapconn.FetchOptions{}
		opts.Flags, opts.ChangedSince = true, since
		err := c.Fetch(ctx, imap.UIDSet{{Start: 1}}, opts, func(*imapconn.FetchMessage) error { n++; return nil })
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if ahead <= first || changed(first) != 0 {
		t.Errorf("%d then %d, with %d changes", first, ahead, changed(first))
	}
	s.Release()
	if changed(first) != 1 || changed(ahead) != 0 {
		t.Errorf("%d changes since %d, %d since %d", changed(first), first, changed(ahead), ahead)
	}
}

func TestIdle(t *testing.T) {
	t.Parallel()
	s := gmailtest.Start(t)
	c, ctx := dial(t, s)
	open(t, c, "INBOX")
	delivered := make(chan struct{})
	go func() {
		defer close(delivered)
		s.Deliver(mail("a", "one"), gmailtest.LabelInbox)
	}()
	for c.NumMessages() == 0 {
		if _, err := c.Idle(ctx, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	<-delivered
}

func TestConnectionLimit(t *testing.T) {
	t.Parallel()
	s := gmailtest.Start(t)
	for range 15 {
		dial(t, s)
	}
	_, err := imapconn.Dial(t.Context(), config(s))
	if !imapconn.IsConnectionLimit(err) || s.Connections() != 15 {
		t.Errorf("%v with %d connections", err, s.Connections())
	}
	wrong := config(s)
	wrong.Auth.Password = "wrong"
	var refused *imapconn.AuthError
	if _, err := imapconn.Dial(t.Context(), wrong); !errors.As(err, &refused) {
		t.Errorf("wrong password: %v", err)
	}
}

// TestOtherClient looks at the server with a client that is not the project's.
func TestOtherClient(t *testing.T) {
	t.Parallel()
	s := gmailtest.Start(t, gmailtest.KeepDeleted())
	c, err := imapclient.DialInsecure(fmt.Sprintf("%s:%d", s.Host(), s.Port()), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login(gmailtest.Username, gmailtest.Password).Wait(); err != nil {
		t.Fatal(err)
	}
	if err := c.Create("Ünder/Way", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	raw := []byte(strings.ReplaceAll(`From: ann@example.com
Subject: parts
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/plain

Hello
--b
Content-Type: application/pdf; name="a b.pdf"
Content-Disposition: attachment; filename="a b.pdf"
Content-Transfer-Encoding: base64

aGVsbG8=
--b--
`, "\n", "\r\n"))
	add := c.Append("Ünder/Way", int64(len(raw)), &imap.AppendOptions{Flags: []imap.Flag{imap.FlagSeen}, Time: time.Unix(1_790_000_000, 0)})
	if _, err := add.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := add.Close(); err != nil {
		t.Fatal(err)
	}
	if data, err := add.Wait(); err != nil || data.UID != 1 {
		t.Fatalf("append %+v, %v", data, err)
	}
	if data, err := c.Select("Ünder/Way", nil).Wait(); err != nil || data.NumMessages != 1 {
		t.Fatalf("select %+v, %v", data, err)
	}
	section := &imap.FetchItemBodySection{Part: []int{2}, Peek: true}
	found, err := c.Fetch(imap.SeqSetNum(1), &imap.FetchOptions{
		Flags: true, Envelope: true, InternalDate: true, BodyStructure: &imap.FetchItemBodyStructure{Extended: true},
		BodySection: []*imap.FetchItemBodySection{section},
	}).Collect()
	if err != nil || len(found) != 1 {
		t.Fatalf("fetch %v, %v", found, err)
	}
	m := found[0]
	if string(m.FindBodySection(section)) != "aGVsbG8=" || !m.InternalDate.Equal(time.Unix(1_790_000_000, 0)) ||
		!slices.Equal(m.Flags, []imap.Flag{imap.FlagSeen}) {
		t.Errorf("%q at %v with %v", m.FindBodySection(section), m.InternalDate, m.Flags)
	}
	if parts, ok := m.BodyStructure.(*imap.BodyStructureMultiPart); !ok || len(parts.Children) != 2 ||
		parts.Children[1].Disposition().Params["filename"] != "a b.pdf" {
		t.Errorf("structure %+v", m.BodyStructure)
	}
	if err := c.Store(imap.SeqSetNum(1), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close(); err != nil {
		t.Fatal(err)
	}
	if ids, _ := s.Folder("Ünder/Way"); len(ids) != 1 {
		t.Errorf("%d messages before the expunge", len(ids))
	}
	if gone, err := c.Expunge().Collect(); err != nil || !slices.Equal(gone, []uint32{1}) {
		t.Errorf("expunged %v, %v", gone, err)
	}
}
