package sandbox_test

import (
	"context"
	"crypto/tls"
	"mime"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"golang.org/x/net/html/charset"

	"github.com/postern-mail/postern/internal/sandbox"
)

const patience = 30 * time.Second

// start runs a sandbox for one test.
func start(t *testing.T) *sandbox.Server {
	t.Helper()
	s, err := sandbox.Start(t.Context(), sandbox.Config{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

var now = time.Date(2026, time.March, 4, 9, 30, 0, 0, time.UTC)

// client logs go-imap's client in as the demo's user.
func client(t *testing.T, s *sandbox.Server, options *imapclient.Options) *imapclient.Client {
	t.Helper()
	c, err := imapclient.DialInsecure(s.Addr(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.Login(sandbox.Username, sandbox.Password).Wait(); err != nil {
		t.Fatal(err)
	}
	return c
}

func selectFolder(t *testing.T, c *imapclient.Client, folder string) *imap.SelectData {
	t.Helper()
	data, err := c.Select(folder, nil).Wait()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestTransports(t *testing.T) {
	t.Parallel()
	s := start(t)
	options := &imapclient.Options{TLSConfig: &tls.Config{RootCAs: s.CAs(), ServerName: s.Host()}}
	for _, tt := range []struct {
		name string
		dial func() (*imapclient.Client, error)
	}{
		{"plain", func() (*imapclient.Client, error) { return imapclient.DialInsecure(s.Addr(), nil) }},
		{"STARTTLS", func() (*imapclient.Client, error) { return imapclient.DialStartTLS(s.Addr(), options) }},
		{"TLS", func() (*imapclient.Client, error) { return imapclient.DialTLS(s.TLSAddr(), options) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, err := tt.dial()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.Login(sandbox.Username, "wrong").Wait(); err == nil {
				t.Error("a wrong password was accepted")
			}
			if err := c.Login(sandbox.Username, sandbox.Password).Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestFolders(t *testing.T) {
	t.Parallel()
	c := client(t, start(t), nil)
	listed, err := c.List("", "*", &imap.ListOptions{
		ReturnSubscribed: true,
		ReturnStatus:     &imap.StatusOptions{NumMessages: true, NumUnseen: true},
	}).Collect()
	if err != nil {
		t.Fatal(err)
	}
	type folder struct {
		attrs            string
		messages, unseen uint32
	}
	want := map[string]folder{
		"Archive":             {`\Archive \HasNoChildren \Subscribed`, 1, 0},
		"Drafts":              {`\Drafts \HasNoChildren \Subscribed`, 1, 0},
		"INBOX":               {`\HasNoChildren \Subscribed`, 14, 9},
		"Junk":                {`\HasNoChildren \Junk \Subscribed`, 1, 1},
		"Projects":            {`\HasChildren`, 0, 0},
		"Projects/Lighthouse": {`\HasNoChildren \Subscribed`, 2, 1},
		"Sent":                {`\HasNoChildren \Sent \Subscribed`, 1, 0},
		"Trash":               {`\HasNoChildren \Subscribed \Trash`, 1, 0},
	}
	for _, data := range listed {
		var attrs []string
		for _, attr := range data.Attrs {
			attrs = append(attrs, string(attr))
		}
		slices.Sort(attrs)
		got := folder{strings.Join(attrs, " "), *data.Status.NumMessages, *data.Status.NumUnseen}
		if got != want[data.Mailbox] {
			t.Errorf("%s: got %v, want %v", data.Mailbox, got, want[data.Mailbox])
		}
		delete(want, data.Mailbox)
	}
	if len(want) != 0 {
		t.Errorf("LIST lacks %v", want)
	}
}

// TestEnvelopes reads the INBOX as go-imap's client shows it.
func TestEnvelopes(t *testing.T) {
	t.Parallel()
	c := client(t, start(t), &imapclient.Options{WordDecoder: &mime.WordDecoder{CharsetReader: charset.NewReaderLabel}})
	n := selectFolder(t, c, "INBOX").NumMessages
	var all imap.SeqSet
	all.AddRange(1, n)
	messages, err := c.Fetch(all, &imap.FetchOptions{
		Envelope:      true,
		InternalDate:  true,
		BodyStructure: &imap.FetchItemBodyStructure{Extended: true},
	}).Collect()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{ // by subject
		"灯台見学の日程について":                         "山田 太郎 <yamada@minato.example> text/plain",
		"Отчёт о состоянии маяка":             "Анна Петрова <petrova@mayak.example> text/plain",
		"关于航标灯的报价":                            "王小明 <wang@dengta.example> text/plain",
		"صور المنارة القديمة":                 "ليلى حداد <layla@manara.example> text/plain",
		"Ihre Rechnung über 238,80 €":         "Jörg Müller <buchhaltung@leuchtturm.example> multipart/mixed",
		"Party on the pier 🎉🌊":                "Zoë Okafor 🐙 <zoe@example.org> text/plain",
		"Undelivered Mail Returned to Sender": "Mail Delivery System <MAILER-DAEMON@mail.postern.example> multipart/report",
	}
	for _, message := range messages {
		envelope := message.Envelope
		if len(envelope.From) != 1 || envelope.MessageID == "" {
			t.Errorf("envelope %+v", envelope)
			continue
		}
		if age := now.Sub(envelope.Date); age <= 0 || age > 7*24*time.Hour || !envelope.Date.Equal(message.InternalDate) {
			t.Errorf("%q is of %s and arrived %s", envelope.Subject, envelope.Date, message.InternalDate)
		}
		if expected, ok := want[envelope.Subject]; ok {
			from := envelope.From[0]
			if got := from.Name + " <" + from.Addr() + "> " + message.BodyStructure.MediaType(); got != expected {
				t.Errorf("%q: got %s, want %s", envelope.Subject, got, expected)
			}
			delete(want, envelope.Subject)
		}
	}
	if len(want) != 0 {
		t.Errorf("INBOX lacks %v", want)
	}
}

func TestAddUserAndDeliver(t *testing.T) {
	t.Parallel()
	s := start(t)
	if err := s.AddUser("ann", "secret"); err != nil {
		t.Fatal(err)
	}
	if err := s.AddUser("ann", "other"); err == nil {
		t.Error("a second user of the same name was added")
	}
	raw := []byte("Subject: One\r\n\r\nHello.\r\n")
	if uid, err := s.Deliver(t.Context(), "ann", "INBOX", raw); err != nil || uid != 1 {
		t.Errorf("Deliver() = %d, %v", uid, err)
	}
	if _, err := s.Deliver(t.Context(), "ann", "Nowhere", raw); err == nil {
		t.Error("mail was delivered to a folder that is not there")
	}
	if _, err := s.Deliver(t.Context(), "bo", "INBOX", raw); err == nil {
		t.Error("mail was delivered to a user who is not there")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Deliver(ended, "ann", "INBOX", raw); err == nil {
		t.Error("mail was delivered after its context's end")
	}
}

func TestEndOfContextClosesEverything(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	s, err := sandbox.Start(ctx, sandbox.Config{})
	if err != nil {
		t.Fatal(err)
	}
	idling := client(t, s, nil)
	selectFolder(t, idling, "INBOX")
	if _, err := idling.Idle(); err != nil {
		t.Fatal(err)
	}
	greeted, err := net.Dial("tcp", s.TLSAddr()) // and then says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer greeted.Close()
	if err := greeted.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}

	cancel()
	if err := s.Close(); err != nil { // waits
		t.Error(err)
	}
	select {
	case <-idling.Closed():
	case <-time.After(patience):
		t.Error("the idling connection is still open")
	}
	if _, err := greeted.Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("the silent connection is still open: %v", err)
	}
	if conn, err := net.Dial("tcp", s.Addr()); err == nil {
		conn.Close()
		t.Error("connections are still accepted")
	}
	if err := s.Close(); err != nil {
		t.Errorf("closing again: %v", err)
	}
}
