package discover_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/certtest"
	"github.com/postern-mail/postern/internal/discover"
)

// Web servers of a domain that mean harm: nothing is found by them, none is asked more
// often than it may be, and the search ends.
func TestHostileWebServers(t *testing.T) {
	t.Parallel()
	document := fmt.Sprintf(configuration, usualServers)
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		// most is how many requests there may be, if not one for each of the two places.
		most int64
	}{
		"endless": {answer: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "<clientConfig><emailProvider>")
			for {
				if _, err := io.WriteString(w, strings.Repeat("<domain>example.test</domain>", 1000)); err != nil {
					return
				}
			}
		}},
		"endless header": {answer: func(w http.ResponseWriter, _ *http.Request) {
			for i := range 2000 {
				w.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("x", 100))
			}
			_, _ = io.WriteString(w, document)
		}},
		"large": {answer: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, document+strings.Repeat(" ", 64<<10))
		}},
		"deep": {answer: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Replace(document, "</displayName>", strings.Repeat("<a>", 20)+strings.Repeat("</a>", 20)+"</displayName>", 1))
		}},
		"of many elements": {answer: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Replace(document, "</displayName>", strings.Repeat("<a/>", 1500)+"</displayName>", 1))
		}},
		"with entities": {answer: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Replace(document, "<clientConfig", `<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><clientConfig`, 1))
		}},
		"with a file": {answer: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Replace(document, "imap.example.test", "&passwd;", 1))
		}},
		"in another charset": {answer: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Replace(document, "UTF-8", "UTF-7", 1))
		}},
		"cut": {answer: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, document[:len(document)-20])
		}},
		"another document": {answer: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.ReplaceAll(document, "clientConfig", "html"))
		}},
		"an error": {answer: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, document)
		}},
		"redirect loop": {most: 8, answer: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path+"x", http.StatusFound)
		}},
		"redirect to HTTP":        {answer: redirect("http://www.hoster.test/")},
		"redirect to a file":      {answer: redirect("file:///etc/passwd")},
		"redirect to an address":  {answer: redirect("https://127.0.0.1/")},
		"redirect to IPv6":        {answer: redirect("https://[::1]/")},
		"redirect to this":        {answer: redirect("https://localhost/")},
		"redirect to a port":      {answer: redirect("https://www.hoster.test:8443/")},
		"redirect with a login":   {answer: redirect("https://ann:secret@www.hoster.test/")},
		"redirect within network": {answer: redirect("https://inner.hoster.test/")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// 127.0.0.2 stands for what is within the network.
			w := newWorld(t, time.Minute, "127.0.0.1/32", append(slices.Clone(hosts), "inner.hoster.test. A 127.0.0.2", "localhost. A 127.0.0.1")...)
			var asked atomic.Int64
			w.web(t, func(rw http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				c.answer(rw, r)
			}, "autoconfig.example.test", "example.test")
			never := func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s was asked", r.Host) }
			w.web(t, never, "www.hoster.test", "127.0.0.1", "localhost")
			w.webAt(t, "127.0.0.2", never, "inner.hoster.test")
			if found := w.find(t, "ann@example.test"); len(found) > 0 {
				t.Errorf("found %+v", found)
			}
			if most := max(2, c.most); asked.Load() > most || asked.Load() == 0 {
				t.Errorf("asked %d times, want %d at most", asked.Load(), most)
			}
			for _, addr := range w.connections() {
				if strings.HasSuffix(addr, ":8443") || strings.HasPrefix(addr, "127.0.0.1:") || strings.HasPrefix(addr, "localhost:") || strings.HasPrefix(addr, "[") {
					t.Errorf("connected to %s", addr)
				}
			}
		})
	}
}

func redirect(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusTemporaryRedirect) }
}

// A certificate that is not good for the name makes a web server nobody.
func TestWebServerWithoutCertificate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Minute, loopback, hosts...)
	w.mail(t, "imap.example.test", "smtp.example.test")
	w.web(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s was asked", r.Host) }, "www.hoster.test")
	w.lead("autoconfig.example.test:443", w.realPort("www.hoster.test:443"))
	if got := w.one(t, "ann@example.test"); got.Source != discover.SourceProbe {
		t.Errorf("found %+v", got)
	}
}

// SRV records lead neither into the network nor to what there is not.
func TestHostileSRV(t *testing.T) {
	t.Parallel()
	many := []string{"imap.example.test. A 127.0.0.1", "_imaps._tcp.many.test. SRV 0 0 993 imap.example.test."}
	for i := range 1500 {
		many = append(many, fmt.Sprintf("_imaps._tcp.many.test. SRV %d 0 993 h%d.many.test.", i+1, i), fmt.Sprintf("h%d.many.test. A 127.0.0.1", i))
	}
	w := newWorld(t, time.Minute, "127.0.0.1/32", append(many,
		"inner.evil.test. A 127.0.0.2", "metadata.evil.test. A 169.254.169.254",
		"_imaps._tcp.inner.test. SRV 0 0 993 inner.evil.test.",
		"_imaps._tcp.metadata.test. SRV 0 0 80 metadata.evil.test.",
		"_imaps._tcp.nowhere.test. SRV 0 0 993 nowhere.evil.test.", "_imap._tcp.nowhere.test. SRV 0 0 4143 nowhere.evil.test.",
		"_imaps._tcp.local.test. SRV 0 0 993 localhost.", "localhost. A 127.0.0.1",
		"_imaps._tcp.number.test. SRV 0 0 993 127.0.0.1.",
		"_imaps._tcp.zero.test. SRV 0 0 0 imap.example.test.",
		`_imaps._tcp.odd.test. SRV 0 0 993 a\032b.evil.test.`,
	)...)
	listener, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	var connected atomic.Int64
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			connected.Add(1)
			_ = conn.Close()
		}
	})
	t.Cleanup(accepting.Wait)
	t.Cleanup(func() { _ = listener.Close() })
	w.lead("inner.evil.test:993", listener.Addr().(*net.TCPAddr).Port)
	for _, domain := range []string{"inner.test", "metadata.test", "nowhere.test", "local.test", "number.test", "zero.test", "odd.test"} {
		if found := w.find(t, "ann@"+domain); len(found) > 0 {
			t.Errorf("%s: found %+v", domain, found)
		}
	}
	if connected.Load() > 0 {
		t.Error("the network within was reached")
	}
	if got := w.one(t, "ann@many.test"); got.IMAP.Host != "imap.example.test" {
		t.Errorf("found %+v", got)
	}
	var tried []string
	for _, addr := range w.connections() {
		if strings.HasSuffix(addr, ".many.test:993") && addr[0] == 'h' {
			tried = append(tried, addr)
		}
	}
	if len(tried) > 1 {
		t.Errorf("of many servers %d were connected to", len(tried)+1)
	}
}

// Servers that answer nothing cost what they could have said, and no more.
func TestSilentServers(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var held []net.Conn
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			held = append(held, conn)
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		accepting.Wait()
		for _, conn := range held {
			_ = conn.Close()
		}
	})
	w := newWorld(t, 5*time.Second, loopback,
		"example.test. A 127.0.0.1", "imap.example.test. A 127.0.0.1", "_imaps._tcp.example.test. SRV 0 0 993 imap.example.test.",
		"example.test. MX 10 in1-smtp.messagingengine.com.",
	)
	port := listener.Addr().(*net.TCPAddr).Port
	w.lead("imap.example.test:993", port)
	w.lead("example.test:443", port)
	w.dns.Silence("autoconfig.example.test.")
	found := w.find(t, "ann@example.test")
	if len(found) != 2 || found[0].Provider != "Fastmail" || found[1].IMAP.Host != "imap.example.test" || found[1].Verified {
		t.Errorf("found %+v", found)
	}
	// Nor is there anything where the name server is silent.
	w.dns.Silence("silent.test.")
	if found := w.find(t, "ann@silent.test"); len(found) > 0 {
		t.Errorf("found %+v", found)
	}
}

// Mail servers that are none, or whose certificates are wrong, are not found by their
// usual names.
func TestHostileMailServers(t *testing.T) {
	t.Parallel()
	greetings := map[string]string{
		"another protocol": "SSH-2.0-OpenSSH_9.9\r\n", "refusal": "* BYE not here\r\n", "nothing": "",
		"endless": strings.Repeat("* OK [", 1<<20),
	}
	for name, greeting := range greetings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 10*time.Second, loopback, "imap.example.test. A 127.0.0.1")
			w.tcp(t, "imap.example.test", 993, func(conn net.Conn) {
				_, err := io.WriteString(conn, greeting)
				if err == nil && greeting != "" {
					_, _ = io.Copy(io.Discard, conn)
				}
			})
			if found := w.find(t, "ann@example.test"); len(found) > 0 {
				t.Errorf("found %+v", found)
			}
			if !slices.Contains(w.connections(), "imap.example.test:993") {
				t.Error("it was not connected to")
			}
		})
	}
}

// tcp serves one port of a host with TLS.
func (w *world) tcp(t *testing.T, host string, port int, serve func(net.Conn)) {
	t.Helper()
	certificate := w.ca.Issue(t, certtest.Template{Names: []string{host}})
	listener, err := tlsListener("127.0.0.1", certificate)
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue
			}
			serving.Go(func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(time.Minute))
				serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		serving.Wait()
	})
	w.lead(fmt.Sprintf("%s:%d", host, port), listener.Addr().(*net.TCPAddr).Port)
}
