package dovecottest_test

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"

	"github.com/postern-mail/postern/internal/dovecottest"
)

const mail = "From: Ann <ann@example.org>\r\nSubject: One\r\n\r\nHello.\r\n"

func TestSharedIsOneServer(t *testing.T) {
	t.Parallel()
	a, b := dovecottest.Shared(t), dovecottest.Shared(t)
	if a != b {
		t.Error("two calls gave two servers")
	}
	userA, _ := a.User(t)
	userB, _ := b.User(t)
	if userA == userB {
		t.Errorf("two tests got the user %s", userA)
	}
}

func TestTransports(t *testing.T) {
	t.Parallel()
	srv := dovecottest.Shared(t)
	options := &imapclient.Options{TLSConfig: &tls.Config{RootCAs: srv.CAs(), ServerName: srv.Host()}}
	for _, tt := range []struct {
		name string
		dial func() (*imapclient.Client, error)
	}{
		{"plain", func() (*imapclient.Client, error) { return imapclient.DialInsecure(srv.Addr(), nil) }},
		{"STARTTLS", func() (*imapclient.Client, error) { return imapclient.DialStartTLS(srv.Addr(), options) }},
		{"TLS", func() (*imapclient.Client, error) { return imapclient.DialTLS(srv.TLSAddr(), options) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, err := tt.dial()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			username, password := srv.User(t)
			if err := c.Login(username, password).Wait(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestCertificateIsNotTrustedByDefault(t *testing.T) {
	t.Parallel()
	srv := dovecottest.Shared(t)
	c, err := imapclient.DialTLS(srv.TLSAddr(), nil)
	if err == nil {
		c.Close()
		t.Fatal("the system's authorities accepted the certificate")
	}
}

func TestMechanisms(t *testing.T) {
	t.Parallel()
	srv := dovecottest.Shared(t)
	username, password := srv.User(t)
	for _, tt := range []struct {
		name   string
		client sasl.Client
		want   bool
	}{
		{"PLAIN", sasl.NewPlainClient("", username, password), true},
		{"LOGIN", sasl.NewLoginClient(username, password), true},
		{"OAUTHBEARER", sasl.NewOAuthBearerClient(&sasl.OAuthBearerOptions{Username: username, Token: srv.Token(username)}), true},
		{"PLAIN with a wrong password", sasl.NewPlainClient("", username, "wrong"), false},
		{"OAUTHBEARER with a wrong token", sasl.NewOAuthBearerClient(&sasl.OAuthBearerOptions{Username: username, Token: "wrong"}), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, err := imapclient.DialInsecure(srv.Addr(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.Authenticate(tt.client); (err == nil) != tt.want {
				t.Errorf("Authenticate() = %v, want success: %v", err, tt.want)
			}
		})
	}
}

func TestCapabilities(t *testing.T) {
	t.Parallel()
	srv := dovecottest.Shared(t)
	username, _ := srv.User(t)
	caps, err := srv.Client(t, username).Capability().Wait()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []imap.Cap{
		"IDLE", "CONDSTORE", "QRESYNC", "NOTIFY", "LIST-STATUS", "SPECIAL-USE", "UIDPLUS", "MOVE", "ESEARCH",
		"BINARY", "MULTIAPPEND", "SORT", "THREAD=REFERENCES", "WITHIN", "PREVIEW", "SAVEDATE", "COMPRESS=DEFLATE",
	} {
		if !caps.Has(want) {
			t.Errorf("no %s", want)
		}
	}
}

func TestSpecialUseFolders(t *testing.T) {
	t.Parallel()
	srv := dovecottest.Shared(t)
	username, _ := srv.User(t)
	folders, err := srv.Client(t, username).List("", "*", &imap.ListOptions{ReturnSpecialUse: true}).Collect()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, folder := range folders {
		for _, attr := range folder.Attrs {
			got[folder.Mailbox+string(attr)] = true
		}
	}
	for _, want := range []string{`Archive\Archive`, `Drafts\Drafts`, `Junk\Junk`, `Sent\Sent`, `Trash\Trash`} {
		if !got[want] {
			t.Errorf("LIST has no %s: %v", want, got)
		}
	}
}

func TestDeliver(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"sdbox", "maildir", "mdbox"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			srv := dovecottest.Start(t, dovecottest.MailFormat(format))
			username, _ := srv.User(t)
			for _, folder := range []string{"INBOX", "Sent", "Projects/2026"} {
				uid := srv.Deliver(t, username, folder, []byte(mail))
				if uid == 0 {
					t.Fatalf("%s: no UID", folder)
				}
				if got := fetch(t, srv, username, folder, uid); got != mail {
					t.Errorf("%s: got %q", folder, got)
				}
			}
		})
	}
}

func TestIdleSeesDelivery(t *testing.T) {
	t.Parallel()
	srv := dovecottest.Shared(t)
	username, password := srv.User(t)
	exists := make(chan uint32, 16)
	c, err := imapclient.DialInsecure(srv.Addr(), &imapclient.Options{
		UnilateralDataHandler: &imapclient.UnilateralDataHandler{
			Mailbox: func(data *imapclient.UnilateralDataMailbox) {
				if data.NumMessages != nil {
					exists <- *data.NumMessages
				}
			},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login(username, password).Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	idle, err := c.Idle()
	if err != nil {
		t.Fatal(err)
	}
	srv.Deliver(t, username, "INBOX", []byte(mail))
	select {
	case n := <-exists:
		if n != 1 {
			t.Errorf("EXISTS %d, want 1", n)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("IDLE never told of the new message")
	}
	if err := idle.Close(); err != nil {
		t.Error(err)
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	srv := dovecottest.Start(t,
		dovecottest.Capability("IMAP4rev1", "IDLE", "QUOTA"),
		dovecottest.Separator("."),
		dovecottest.Quota("1M"),
		dovecottest.Mechanisms("PLAIN"),
		dovecottest.IdleNotifyInterval(time.Second),
		dovecottest.CheckInterval(2*time.Second),
		dovecottest.Setting("login_greeting", "ready for tests"),
	)
	username, _ := srv.User(t)
	c := srv.Client(t, username)
	caps, err := c.Capability().Wait()
	if err != nil {
		t.Fatal(err)
	}
	if !caps.Has("IDLE") || caps.Has("MOVE") {
		t.Errorf("capabilities %v", caps)
	}
	if folders, err := c.List("", "", nil).Collect(); err != nil || len(folders) != 1 || folders[0].Delim != '.' {
		t.Errorf("LIST of the delimiter: %v, %v", folders, err)
	}
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	quota, err := c.GetQuotaRoot("INBOX").Wait()
	if err != nil || len(quota) != 1 || quota[0].Resources[imap.QuotaResourceStorage].Limit != 1024 {
		t.Errorf("quota %v, %v", quota, err)
	}
}

func TestStopAndRestartKeepMailAndPorts(t *testing.T) {
	t.Parallel()
	srv := dovecottest.Start(t)
	username, _ := srv.User(t)
	uid := srv.Deliver(t, username, "INBOX", []byte(mail))
	addr, c := srv.Addr(), srv.Client(t, username)

	srv.Stop(t)
	waitClosed(t, c)
	if conn, err := net.Dial("tcp", addr); err == nil {
		conn.Close()
		t.Error("a stopped server accepts connections")
	}

	srv.Restart(t)
	if srv.Addr() != addr {
		t.Errorf("the address changed from %s to %s", addr, srv.Addr())
	}
	if got := fetch(t, srv, username, "INBOX", uid); got != mail {
		t.Errorf("got %q", got)
	}
}

func TestKick(t *testing.T) {
	t.Parallel()
	srv := dovecottest.Shared(t)
	username, _ := srv.User(t)
	other, _ := srv.User(t)
	kicked, spared := srv.Client(t, username), srv.Client(t, other)
	srv.Kick(t, username)
	waitClosed(t, kicked)
	if err := spared.Noop().Wait(); err != nil {
		t.Errorf("another user's connection: %v", err)
	}
}

func fetch(t *testing.T, srv *dovecottest.Server, username, folder string, uid imap.UID) string {
	t.Helper()
	c := srv.Client(t, username)
	if _, err := c.Select(folder, &imap.SelectOptions{ReadOnly: true}).Wait(); err != nil {
		t.Fatal(err)
	}
	section := &imap.FetchItemBodySection{Peek: true}
	messages, err := c.Fetch(imap.UIDSetNum(uid), &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{section}}).Collect()
	if err != nil || len(messages) != 1 {
		t.Fatalf("fetch %d: %d messages, %v", uid, len(messages), err)
	}
	return string(messages[0].FindBodySection(section))
}

func waitClosed(t *testing.T, c *imapclient.Client) {
	t.Helper()
	select {
	case <-c.Closed():
	case <-time.After(30 * time.Second):
		t.Fatal("the connection is still open")
	}
}
