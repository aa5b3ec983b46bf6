package imapconn

import (
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"

	"github.com/postern-mail/postern/internal/selfsigned"
)

// memServer starts go-imap's server with one user and returns how to get in.
func memServer(tb testing.TB, mode TLSMode) Config {
	tb.Helper()
	cert, pool, err := selfsigned.New()
	if err != nil {
		tb.Fatal(err)
	}
	backend := imapmemserver.New()
	user := imapmemserver.NewUser("ann", "secret")
	for _, name := range []string{"INBOX", "Archive"} {
		if err := user.Create(name, nil); err != nil {
			tb.Fatal(err)
		}
	}
	backend.AddUser(user)
	server := imapserver.New(&imapserver.Options{
		NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return backend.NewSession(), nil, nil
		},
		Caps:         imap.CapSet{imap.CapIMAP4rev1: {}, imap.CapIMAP4rev2: {}},
		TLSConfig:    &tls.Config{Certificates: []tls.Certificate{cert}},
		InsecureAuth: mode == ModePlaintext,
		Logger:       quiet{},
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	host, port := splitAddr(tb, l.Addr().String())
	if mode == ModeTLS {
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}})
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	tb.Cleanup(func() { server.Close(); <-done })
	return Config{
		Host: host, Port: port, TLSMode: mode, TLS: &tls.Config{RootCAs: pool},
		Auth: Auth{Username: "ann", Password: "secret"}, CommandTimeout: testTimeout,
	}
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}

// TestMemServer goes through a session with go-imap's server.
func TestMemServer(t *testing.T) {
	t.Parallel()
	for _, mode := range []TLSMode{ModePlaintext, ModeSTARTTLS, ModeTLS} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			ctx := testContext(t)
			c := dialConfig(t, memServer(t, mode))
			raw := "Subject: one\r\n\r\nbody\r\n"
			data, err := c.Append(ctx, "INBOX",
				AppendMessage{Reader: strings.NewReader(raw), Size: int64(len(raw)), Flags: []imap.Flag{imap.FlagSeen}},
				AppendMessage{Reader: strings.NewReader(raw), Size: int64(len(raw))})
			if err != nil || len(data.UIDs) != 2 {
				t.Fatalf("append: %+v, %v", data, err)
			}
			selectInbox(t, c)
			// Not MOVE: this server tells of one EXPUNGE too many after it.
			if _, err := c.Copy(ctx, imap.UIDSetNum(data.UIDs[0]), "Archive"); err != nil {
				t.Errorf("copy: %v", err)
			}
			opts := plain(imap.FetchOptions{Envelope: true, BodySection: []*imap.FetchItemBodySection{{Peek: true}}})
			p, err := c.Page(ctx, &PageOptions{Size: 10, Fetch: opts})
			if err != nil || !slices.Equal(pageUIDs(p), []imap.UID{2, 1}) {
				t.Fatalf("page %v, %v", p, err)
			}
			if body, _ := p.Messages[0].Section(&imap.FetchItemBodySection{}); string(body) != raw {
				t.Errorf("body %q", body)
			}
			list, err := c.List(ctx, &ListOptions{Status: &StatusOptions{StatusOptions: imap.StatusOptions{NumMessages: true}}})
			if err != nil || len(list) != 2 {
				t.Fatalf("list %v, %v", list, err)
			}
			found, err := c.Search(ctx, &SearchCriteria{}, nil)
			if err != nil || found.All.String() != "1:2" {
				t.Errorf("search %+v, %v", found, err)
			}
			if _, err := c.Select(ctx, "missing", nil); !isRefusal(err) {
				t.Errorf("select: %v", err)
			}
			if err := c.Logout(ctx); err != nil {
				t.Error(err)
			}
		})
	}
}

func isRefusal(err error) bool {
	var refused *Error
	return errors.As(err, &refused)
}

// TestMemServerIdle has one connection wait while another delivers.
func TestMemServerIdle(t *testing.T) {
	t.Parallel()
	cfg := memServer(t, ModeTLS)
	watcher, writer := dialConfig(t, cfg), dialConfig(t, cfg)
	selectInbox(t, watcher)
	ctx := testContext(t)
	// This server forgets what happens between SELECT and IDLE.
	if a, err := watcher.Idle(ctx, time.Millisecond); err != nil || a.Reason != ActivityTimeout {
		t.Fatalf("activity %+v, %v", a, err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := writer.Append(ctx, "INBOX", AppendMessage{Reader: strings.NewReader("a: b\r\n\r\n"), Size: 8})
		done <- err
	}()
	a, err := watcher.Idle(ctx, testTimeout)
	if err != nil || a.Reason != ActivityUpdate || watcher.NumMessages() != 1 {
		t.Errorf("activity %+v, %v", a, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
