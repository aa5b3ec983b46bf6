package imapconn

import (
	"crypto/tls"
	"testing"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/dovecottest"
)

func dovecotConfig(srv *dovecottest.Server, username string, mode TLSMode) Config {
	cfg := Config{
		Host:    srv.Host(),
		Port:    srv.Port(),
		TLSMode: mode,
		TLS:     &tls.Config{RootCAs: srv.CAs()},
		Auth:    Auth{Username: username, Password: srv.Password()},
	}
	if mode == ModeTLS {
		cfg.Port = srv.TLSPort()
	}
	return cfg
}

func dialConfig(tb testing.TB, cfg Config) *Conn {
	tb.Helper()
	c, err := Dial(testContext(tb), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	return c
}

func TestDovecotTransports(t *testing.T) {
	t.Parallel()
	srv := dovecottest.Shared(t)
	for _, mode := range []TLSMode{ModePlaintext, ModeSTARTTLS, ModeTLS} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			username, _ := srv.User(t)
			srv.Deliver(t, username, "INBOX", []byte("Subject: hello\r\n\r\nbody\r\n"))
			c := dialConfig(t, dovecotConfig(srv, username, mode))
			_, encrypted := c.t.conn.(*tls.Conn)
			if want := mode != ModePlaintext; encrypted != want {
				t.Errorf("encrypted = %v, want %v", encrypted, want)
			}
			if !c.Enabled(imap.CapQResync) || !c.Enabled(imap.CapCondStore) {
				t.Error("CONDSTORE and QRESYNC are not enabled")
			}
			data, err := c.Select(testContext(t), "INBOX", nil)
			if err != nil {
				t.Fatal(err)
			}
			if data.NumMessages != 1 || data.UIDValidity == 0 || data.UIDNext != 2 || data.HighestModSeq == 0 || data.ReadOnly {
				t.Errorf("select data %+v", data)
			}
			page, err := c.Page(testContext(t), &PageOptions{Size: 20, Fetch: &FetchOptions{FetchOptions: imap.FetchOptions{Envelope: true}}})
			if err != nil {
				t.Fatal(err)
			}
			if len(page.Messages) != 1 || page.Messages[0].Envelope.Subject != "hello" {
				t.Errorf("page %+v", page)
			}
			if err := c.Logout(testContext(t)); err != nil {
				t.Error(err)
			}
		})
	}
}
