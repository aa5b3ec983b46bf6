package discover_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postern-mail/postern/internal/discover"
	"github.com/postern-mail/postern/internal/imapconn"
)

// configuration is as domains have it; %s are its servers.
const configuration = `<?xml version="1.0" encoding="UTF-8"?>
<!-- for mail programs -->
<clientConfig version="1.1">
  <emailProvider id="example.test">
    <domain>example.test</domain>
    <displayName>Example &amp; Sons</displayName>
    %s
    <documentation url="https://example.test/help"><descr lang="en">Help</descr></documentation>
  </emailProvider>
</clientConfig>
`

// at describes a server.
func at(kind, protocol, host string, port int, socket, username string, auth ...string) string {
	text := fmt.Sprintf("<%s type=%q><hostname>%s</hostname><port>%d</port><socketType>%s</socketType><username>%s</username>",
		kind, protocol, host, port, socket, username)
	for _, a := range auth {
		text += "<authentication>" + a + "</authentication>"
	}
	return text + "</" + kind + ">\n"
}

// usualServers are an IMAP and an SMTP server of example.test.
var usualServers = at("incomingServer", "imap", "imap.example.test", 993, "SSL", "%EMAILADDRESS%", "password-cleartext") +
	at("outgoingServer", "smtp", "smtp.example.test", 465, "SSL", "%EMAILADDRESS%", "password-cleartext")

// hosts are the names of a world that is led by its web servers.
var hosts = []string{
	"imap.example.test. A 127.0.0.1", "smtp.example.test. A 127.0.0.1", "mail.hoster.test. A 127.0.0.1",
	"autoconfig.example.test. A 127.0.0.1", "example.test. A 127.0.0.1", "www.hoster.test. A 127.0.0.1",
}

func TestAutoconfig(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		servers string
		want    discover.Candidate
		none    bool
	}{
		"usual": {servers: usualServers, want: discover.Candidate{
			IMAP: server("imap.example.test", 993, imapconn.ModeTLS, "Ann@example.test"), Verified: true,
			SMTP: new(server("smtp.example.test", 465, imapconn.ModeTLS, "Ann@example.test")), Methods: []discover.Method{discover.MethodPassword},
		}},
		// What the domain says of another over HTTPS needs nobody's consent.
		"of a hoster, with names of all kinds": {
			servers: at("incomingServer", "pop3", "imap.example.test", 995, "SSL", "x", "password-cleartext") +
				at("incomingServer", "imap", " mail.hoster.test ", 143, "STARTTLS", "%EMAILLOCALPART%", "OAuth2", "GSSAPI", "password-encrypted") +
				at("outgoingServer", "smtp", "mail.hoster.test", 587, "STARTTLS", "%EMAILDOMAIN%/%EMAILLOCALPART%", "password-cleartext"),
			want: discover.Candidate{
				IMAP: server("mail.hoster.test", 143, imapconn.ModeSTARTTLS, "Ann"), Verified: true,
				SMTP:    new(server("mail.hoster.test", 587, imapconn.ModeSTARTTLS, "example.test/Ann")),
				Methods: []discover.Method{discover.MethodOAuth2, discover.MethodPassword},
			},
		},
		"of the domain by its name, for the mailbox that was asked for": {
			servers: at("incomingServer", "imap", "imap.%EMAILDOMAIN%", 993, "SSL", "postmaster@example.test", "password-cleartext") +
				at("outgoingServer", "smtp", "smtp.%EMAILDOMAIN%", 465, "SSL", "postmaster", "password-cleartext"),
			want: discover.Candidate{
				IMAP: server("imap.example.test", 993, imapconn.ModeTLS, "Ann@example.test"), Verified: true,
				SMTP: new(server("smtp.example.test", 465, imapconn.ModeTLS, "Ann")), Methods: []discover.Method{discover.MethodPassword},
			},
		},
		"names that make no sense": {
			servers: at("incomingServer", "imap", "imap.example.test", 993, "SSL", "%REALNAME%", "password-cleartext") +
				at("outgoingServer", "smtp", "smtp.example.test", 465, "SSL", "a\nb", "password-cleartext"),
			want: discover.Candidate{
				IMAP: server("imap.example.test", 993, imapconn.ModeTLS, "Ann@example.test"), Verified: true,
				SMTP: new(server("smtp.example.test", 465, imapconn.ModeTLS, "Ann@example.test")), Methods: []discover.Method{discover.MethodPassword},
			},
		},
		"no names": {
			servers: at("incomingServer", "imap", "imap.example.test", 993, "SSL", "", "password-cleartext"),
			want: discover.Candidate{
				IMAP: server("imap.example.test", 993, imapconn.ModeTLS, "Ann@example.test"), Verified: true, Methods: []discover.Method{discover.MethodPassword},
			},
		},
		"what is of use among what is not": {
			servers: at("incomingServer", "imap", "imap.example.test", 143, "plain", "x", "password-cleartext") +
				at("incomingServer", "imap", "127.0.0.1", 993, "SSL", "x", "password-cleartext") +
				at("incomingServer", "imap", "imap.example.test/x", 993, "SSL", "x", "password-cleartext") +
				at("incomingServer", "imap", "localhost", 993, "SSL", "x", "password-cleartext") +
				at("incomingServer", "imap", "imap.example.test", 0, "SSL", "x", "password-cleartext") +
				at("incomingServer", "imap", "imap.example.test", 70000, "SSL", "x", "password-cleartext") +
				at("incomingServer", "imap", "imap.example.test", 993, "SSL", "x", "TLS-client-cert") +
				at("incomingServer", "imap", "%EMAILLOCALPART%.example.test", 993, "SSL", "x", "password-cleartext") +
				at("incomingServer", "imap", "gone.example.test", 993, "SSL", "x", "password-cleartext") +
				at("incomingServer", "imap", "imap.example.test", 993, "SSL", "right", "password-cleartext"),
			want: discover.Candidate{
				IMAP: server("imap.example.test", 993, imapconn.ModeTLS, "right"), Verified: true, Methods: []discover.Method{discover.MethodPassword},
			},
		},
		"without IMAP": {servers: at("outgoingServer", "smtp", "smtp.example.test", 465, "SSL", "x", "password-cleartext"), none: true},
		"empty":        {none: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, time.Minute, loopback, hosts[:len(hosts)-2]...)
			w.mail(t, "smtp.example.test", "mail.hoster.test")
			if !c.none {
				w.lead("imap.example.test:993", w.realPort("smtp.example.test:993"))
			}
			var asked atomic.Value
			w.web(t, func(rw http.ResponseWriter, r *http.Request) {
				asked.Store(r.Method + " " + r.Host + r.URL.String())
				fmt.Fprintf(rw, configuration, c.servers)
			}, "autoconfig.example.test")
			found := w.find(t, "Ann@example.test")
			if got, want := asked.Load(), "GET autoconfig.example.test/mail/config-v1.1.xml?emailaddress=postmaster%40example.test"; got != want {
				t.Errorf("asked %v, want %s", got, want)
			}
			if c.none {
				if len(found) > 0 {
					t.Errorf("found %+v", found)
				}
				return
			}
			c.want.Source = discover.SourceAutoconfig
			if diff := cmp.Diff([]discover.Candidate{c.want}, found, same); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// realPort is where a port of a host leads.
func (w *world) realPort(addr string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	var port int
	_, _ = fmt.Sscan(w.ports[addr], &port) // 0 where it leads nowhere
	return port
}

// The domain's own web server is the second place, and may lead to another.
func TestAutoconfigElsewhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Minute, loopback, hosts...)
	w.mail(t, "imap.example.test", "smtp.example.test")
	w.web(t, func(rw http.ResponseWriter, r *http.Request) {
		switch r.Host + r.URL.Path {
		case "example.test/.well-known/autoconfig/mail/config-v1.1.xml":
			http.Redirect(rw, r, "https://www.hoster.test/a", http.StatusFound)
		case "www.hoster.test/a":
			http.Redirect(rw, r, "/b", http.StatusMovedPermanently)
		case "www.hoster.test/b":
			fmt.Fprintf(rw, configuration, usualServers)
		default:
			http.NotFound(rw, r)
		}
		if strings.Contains(r.URL.String()+fmt.Sprint(r.Header), "ann") || r.UserAgent() != "Postern/test" {
			t.Errorf("asked %s with %v", r.URL, r.Header)
		}
	}, "autoconfig.example.test", "example.test", "www.hoster.test")
	if got := w.one(t, "ann@example.test"); got.Source != discover.SourceAutoconfig || !got.Verified || got.Confirm || got.SMTP == nil {
		t.Errorf("found %+v", got)
	}
}

// What both DNS and HTTPS name needs no consent.
func TestAutoconfigVouches(t *testing.T) {
	t.Parallel()
	hoster := at("incomingServer", "imap", "mail.hoster.test", 993, "SSL", "%EMAILLOCALPART%", "password-cleartext")
	w := newWorld(t, time.Minute, loopback, append(slices.Clone(hosts), "_imaps._tcp.example.test. SRV 0 0 993 mail.hoster.test.")...)
	w.mail(t, "mail.hoster.test")
	w.web(t, func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprintf(rw, configuration, hoster) }, "autoconfig.example.test")
	if got := w.one(t, "ann@example.test"); got.Source != discover.SourceAutoconfig || got.Confirm || got.IMAP.Username != "ann" {
		t.Errorf("found %+v", got)
	}
}

// What does not do stands behind what does, whoever says it.
func TestUselessIsLast(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Minute, loopback, append(slices.Clone(hosts), "_imaps._tcp.example.test. SRV 0 0 993 mail.hoster.test.")...)
	w.mail(t, "imap.example.test", "smtp.example.test")
	w.web(t, func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprintf(rw, configuration, usualServers) }, "autoconfig.example.test")
	found := w.find(t, "ann@example.test")
	if len(found) != 2 || found[0].Source != discover.SourceAutoconfig || !found[0].Verified || found[1].Source != discover.SourceSRV || found[1].Verified {
		t.Errorf("found %+v", found)
	}
}
