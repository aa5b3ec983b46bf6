package submit_test

import (
	"context"
	"crypto/tls"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/dovecottest"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/natsdtest"
	"github.com/postern-mail/postern/internal/submit"
)

// connections gives connections to one user's mailbox on Dovecot.
type connections struct{ config imapconn.Config }

func (c connections) Do(ctx context.Context, _, mailbox string, _ *imapconn.DoOptions, fn func(*imapconn.Conn) error) error {
	conn, err := imapconn.Dial(ctx, c.config)
	if err != nil {
		return err
	}
	defer conn.Close()
	if mailbox != "" {
		if _, err := conn.Select(ctx, mailbox, nil); err != nil {
			return err
		}
	}
	return fn(conn)
}

// realMailbox is the mailbox of a fresh user.
func realMailbox(t *testing.T) (m *submit.IMAPMailbox, srv *dovecottest.Server, username string) {
	t.Helper()
	srv = dovecottest.Shared(t)
	username, password := srv.User(t)
	bucket, err := folder.OpenBucket(t.Context(), natsdtest.JetStream(t, natsdtest.Start(t, natsd.Config{})), 1)
	if err != nil {
		t.Fatal(err)
	}
	config := imapconn.Config{
		Host: srv.Host(), Port: srv.TLSPort(), TLS: &tls.Config{RootCAs: srv.CAs(), MinVersion: tls.VersionTLS12},
		Auth: imapconn.Auth{Username: username, Password: password},
	}
	return &submit.IMAPMailbox{Connections: connections{config}, Folders: folder.NewRegistry(bucket)}, srv, username
}

// pooled lends the connections of a pool, which lives on.
type pooled struct{ *imapconn.Pool }

func (p pooled) Do(ctx context.Context, _, mailbox string, opts *imapconn.DoOptions, fn func(*imapconn.Conn) error) error {
	return p.Pool.Do(ctx, mailbox, opts, fn)
}

// A list that does not show the folder for sent mail, or still shows the former one,
// is not believed: another connection is asked.
func TestSentFolderIsFoundDespiteStaleLists(t *testing.T) {
	t.Parallel()
	m, srv, username := realMailbox(t)
	config := m.Connections.(connections).config
	pool := imapconn.NewPool(imapconn.PoolConfig{Config: func(context.Context) (imapconn.Config, error) { return config, nil }})
	t.Cleanup(func() { _ = pool.Close() })
	m.Connections = pooled{pool}
	a := &account.Account{ID: "ann"}
	if there, err := m.FindSent(t.Context(), a, "1@example.org"); err != nil || there {
		t.Fatalf("found %v, %v", there, err)
	}
	srv.FreezeLists(t, username)
	client := srv.Client(t, username)
	if err := client.Rename("Sent", "Gesendet", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	// Whoever watches the account has seen it, and somebody has said what it is for.
	seen, err := m.Folders.Resolve(t.Context(), "ann", []folder.Seen{{Name: "Gesendet", Delimiter: '/'}})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Folders.SetRole(t.Context(), "ann", seen[0].Key, folder.RoleSent); err != nil {
		t.Fatal(err)
	}
	srv.Deliver(t, username, "Gesendet", []byte("Message-ID: <1@example.org>\r\n\r\nHello\r\n"))
	if there, err := m.FindSent(t.Context(), a, "1@example.org"); err != nil || !there {
		t.Errorf("after the folder was renamed: found %v, %v", there, err)
	}
}

func TestSentMailIsSavedOnce(t *testing.T) {
	t.Parallel()
	m, srv, username := realMailbox(t)
	a := &account.Account{ID: "ann", SMTP: &account.Endpoint{Host: "smtp.example.org"}}
	s := &submit.Submission{MessageID: "1@example.org", Save: submit.SaveAuto, Size: int64(len(text)), EndTime: time.Now()}
	if there, err := m.FindSent(t.Context(), a, s.MessageID); err != nil || there {
		t.Fatalf("found %v, %v, before it was saved", there, err)
	}
	open := func() (io.Reader, error) { return strings.NewReader(text), nil }
	for range 2 { // the second as after a crash
		if err := m.SaveSent(t.Context(), a, s, open); err != nil {
			t.Fatal(err)
		}
	}
	client := srv.Client(t, username)
	selected, err := client.Select("Sent", nil).Wait()
	if err != nil {
		t.Fatal(err)
	}
	if selected.NumMessages != 1 {
		t.Fatalf("%d messages in Sent", selected.NumMessages)
	}
	fetched, err := client.Fetch(imap.SeqSetNum(1), &imap.FetchOptions{Flags: true, BodySection: []*imap.FetchItemBodySection{{}}}).Collect()
	if err != nil {
		t.Fatal(err)
	}
	if got := string(fetched[0].BodySection[0].Bytes); got != text || !strings.Contains(flagText(fetched[0].Flags), `\Seen`) {
		t.Errorf("saved %q with flags %v", got, fetched[0].Flags)
	}
}

func flagText(flags []imap.Flag) string {
	var all strings.Builder
	for _, flag := range flags {
		all.WriteString(string(flag) + " ")
	}
	return all.String()
}

// A provider that saves what is sent is waited for, and helped out if it does not.
func TestProvidersThatSaveThemselvesAreWaitedFor(t *testing.T) {
	t.Parallel()
	m, srv, username := realMailbox(t)
	m.Patience = time.Hour
	a := &account.Account{ID: "ann", SMTP: &account.Endpoint{Host: "smtp.gmail.com"}}
	s := &submit.Submission{MessageID: "1@example.org", Save: submit.SaveAuto, Size: int64(len(text)), EndTime: time.Now()}
	srv.Deliver(t, username, "Sent", []byte(text))
	refuse := func() (io.Reader, error) { t.Error("the message is saved a second time"); return nil, io.EOF }
	if err := m.SaveSent(t.Context(), a, s, refuse); err != nil {
		t.Error(err)
	}
	m.Patience = time.Nanosecond
	s.MessageID = "2@example.org"
	saved := false
	open := func() (io.Reader, error) { saved = true; return strings.NewReader(text), nil }
	if err := m.SaveSent(t.Context(), a, s, open); err != nil || !saved {
		t.Errorf("saved %v, %v", saved, err)
	}
}

func TestWhatIsAnsweredIsMarked(t *testing.T) {
	t.Parallel()
	m, srv, username := realMailbox(t)
	a := &account.Account{ID: "ann"}
	uid := srv.Deliver(t, username, "INBOX", []byte(text))
	client := srv.Client(t, username)
	selected, err := client.Select("INBOX", nil).Wait()
	if err != nil {
		t.Fatal(err)
	}
	folders, err := m.Folders.Resolve(t.Context(), "ann", []folder.Seen{{Name: "INBOX", Delimiter: '/'}})
	if err != nil {
		t.Fatal(err)
	}
	id := folder.MessageID{Folder: folders[0].Key, UIDValidity: selected.UIDValidity, UID: uid}
	answered := &submit.Answered{Message: id.String(), Flag: "$Forwarded"}
	if err := m.MarkAnswered(t.Context(), a, answered); err != nil {
		t.Fatal(err)
	}
	fetched, err := client.Fetch(imap.UIDSetNum(uid), &imap.FetchOptions{Flags: true}).Collect()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(flagText(fetched[0].Flags), "$Forwarded") {
		t.Errorf("flags %v", fetched[0].Flags)
	}
	// What is gone needs no flag.
	id.UID += 5
	gone := &submit.Answered{Message: id.String(), Flag: `\Answered`}
	id.UIDValidity++
	stale := &submit.Answered{Message: id.String(), Flag: `\Answered`}
	for _, answered := range []*submit.Answered{gone, stale} {
		if err := m.MarkAnswered(t.Context(), a, answered); err != nil {
			t.Error(err)
		}
	}
}
