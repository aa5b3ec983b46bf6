package discover_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/postern-mail/postern/internal/discover"
	"github.com/postern-mail/postern/internal/imapconn"
)

// loopback is where a world's servers are.
const loopback = "127.0.0.0/8"

// same compares candidates by what is said of them.
var same = cmpopts.IgnoreUnexported(discover.Candidate{})

func server(host string, port int, mode imapconn.TLSMode, username string) discover.Server {
	return discover.Server{Host: host, Port: port, TLSMode: mode, Username: username}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	for text, domain := range map[string]string{
		"ann@example.com":            "example.com",
		"Ann.Lee+x@Mail.EXAMPLE.com": "mail.example.com",
		"ann@münchen.example":        "xn--mnchen-3ya.example",
		"ann@BÜCHER.example":         "xn--bcher-kva.example",
		"анна@пример.испытание":      "xn--e1afmkfd.xn--80akhbyknj4f",
		"o'neil@example.com":         "example.com",
		"ann@xn--bcher-kva.example":  "xn--bcher-kva.example",

		"":                            "",
		"ann":                         "",
		"ann@":                        "",
		"@example.com":                "",
		"ann@localhost":               "",
		"ann@com":                     "",
		"ann@example.com.":            "",
		"ann@.example.com":            "",
		"ann@example..com":            "",
		"ann@-example.com":            "",
		"ann@exa_mple.com":            "",
		"ann@[192.0.2.1]":             "",
		"ann@[IPv6:2001:db8::1]":      "",
		"ann@192.0.2.1":               "",
		"ann@127.1":                   "",
		"ann@10.0x7f":                 "",
		"ann@example.com:25":          "",
		"ann@example.com/x":           "",
		"ann@example.com?x=y":         "",
		"ann@example.com#x":           "",
		"ann@exam%70le.com":           "",
		"Ann <ann@example.com>":       "",
		"ann@example.com, b@x.y":      "",
		"ann@a@example.com":           "",
		"\"a b\"@example.com":         "",
		"ann@example.com\r\nX":        "",
		"ann\x00@example.com":         "",
		"ann@exa\u200bmple\u202e.com": "",
		"ann@xn--a.example":           "",
		"ann@" + strings.Repeat("a", 64) + ".com":  "",
		"ann@" + strings.Repeat("a.", 130) + "com": "",
		strings.Repeat("a", 330) + "@example.com":  "",
	} {
		got, err := discover.ParseAddress(text)
		if domain == "" {
			if bad := (*discover.AddressError)(nil); !errors.As(err, &bad) || bad.Problem == "" {
				t.Errorf("%q: %+v, %v", text, got, err)
			}
			continue
		}
		if err != nil || got.Domain != domain || got.Text != text {
			t.Errorf("%q: %+v, %v, want %s", text, got, err, domain)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, seed := range []string{"ann@example.com", "ann@münchen.example", "ann@[::1]", "a@b.c\r\n", "x@1.2.3.4", "x@xn--.x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := discover.ParseAddress(text)
		if err != nil {
			if bad := (*discover.AddressError)(nil); !errors.As(err, &bad) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		if a.Domain == "" || strings.ContainsFunc(a.Domain, func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '.')
		}) {
			t.Fatalf("%q has the domain %q", text, a.Domain)
		}
	})
}

// What the table has is told without a question to anybody.
func TestKnownProviders(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0, loopback)
	for address, want := range map[string]discover.Candidate{
		"ann@gmail.com": {
			Source: discover.SourceProvider, Provider: "Gmail", IMAP: server("imap.gmail.com", 993, imapconn.ModeTLS, "ann@gmail.com"),
			SMTP:    new(server("smtp.gmail.com", 465, imapconn.ModeTLS, "ann@gmail.com")),
			Methods: []discover.Method{discover.MethodOAuth2, discover.MethodAppPassword},
		},
		"Ann@Hotmail.co.uk": {
			Source: discover.SourceProvider, Provider: "Outlook.com", IMAP: server("outlook.office365.com", 993, imapconn.ModeTLS, "Ann@Hotmail.co.uk"),
			SMTP:    new(server("smtp-mail.outlook.com", 587, imapconn.ModeSTARTTLS, "Ann@Hotmail.co.uk")),
			Methods: []discover.Method{discover.MethodOAuth2},
		},
		"ann@web.de": {
			Source: discover.SourceProvider, Provider: "WEB.DE", IMAP: server("imap.web.de", 993, imapconn.ModeTLS, "ann"),
			SMTP:    new(server("smtp.web.de", 465, imapconn.ModeTLS, "ann")),
			Methods: []discover.Method{discover.MethodPassword, discover.MethodAppPassword},
		},
		"ann@icloud.com": {
			Source: discover.SourceProvider, Provider: "iCloud", IMAP: server("imap.mail.me.com", 993, imapconn.ModeTLS, "ann@icloud.com"),
			SMTP:    new(server("smtp.mail.me.com", 587, imapconn.ModeSTARTTLS, "ann@icloud.com")),
			Methods: []discover.Method{discover.MethodAppPassword},
		},
	} {
		got := w.one(t, address)
		if diff := cmp.Diff(want, got, same, cmpopts.IgnoreFields(discover.Candidate{}, "Note", "OAuth2")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", address, diff)
		}
		if got.Note == "" || (got.OAuth2 != nil) != (got.Methods[0] == discover.MethodOAuth2) {
			t.Errorf("%s: note %q, OAuth %+v", address, got.Note, got.OAuth2)
		}
	}
	if asked, dialed := w.dns.Asked(), w.connections(); len(asked)+len(dialed) > 0 {
		t.Errorf("asked %v, connected to %v", asked, dialed)
	}
}

func TestSRV(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Minute, loopback,
		"imap.example.test. A 127.0.0.1", "smtp.example.test. A 127.0.0.1", "dead.example.test. A 127.0.0.1",
		"mail.hoster.test. A 127.0.0.1",
		// The first that there is goes before those of a higher number, and TLS from the
		// first byte before STARTTLS.
		"_imaps._tcp.example.test. SRV 10 0 993 dead.example.test.", "_imaps._tcp.example.test. SRV 20 0 993 imap.example.test.",
		"_imap._tcp.example.test. SRV 0 0 143 imap.example.test.",
		"_submission._tcp.example.test. SRV 0 0 587 smtp.example.test.", "_submissions._tcp.example.test. SRV 0 0 0 .",

		"_imap._tcp.hosted.test. SRV 0 0 143 mail.hoster.test.",

		"_imaps._tcp.example.org. SRV 0 0 993 dead.example.test.", "_submissions._tcp.example.org. SRV 0 0 465 smtp.example.test.",
		"_imaps._tcp.half.test. SRV 0 0 993 imap.example.test.", "_submissions._tcp.half.test. SRV 0 0 465 dead.example.test.",
		"_imaps._tcp.odd.test. SRV 0 0 9993 mail.hoster.test.",
	)
	w.mail(t, "imap.example.test", "smtp.example.test", "mail.hoster.test")
	for address, want := range map[string]discover.Candidate{
		"ann@example.test": {
			IMAP: server("imap.example.test", 993, imapconn.ModeTLS, "ann@example.test"), Verified: true,
			SMTP:    new(server("smtp.example.test", 587, imapconn.ModeSTARTTLS, "ann@example.test")),
			Methods: []discover.Method{discover.MethodOAuth2, discover.MethodPassword},
		},
		"ann@hosted.test": { // it can be used, but by whose word?
			IMAP: server("mail.hoster.test", 143, imapconn.ModeSTARTTLS, "ann@hosted.test"), Verified: true, Confirm: true,
			Methods: []discover.Method{discover.MethodOAuth2, discover.MethodPassword},
		},
		"ann@example.org": { // nobody answers at present
			IMAP: server("dead.example.test", 993, imapconn.ModeTLS, "ann@example.org"), Confirm: true,
			SMTP: new(server("smtp.example.test", 465, imapconn.ModeTLS, "ann@example.org")),
		},
		"ann@half.test": { // nothing can be sent
			IMAP: server("imap.example.test", 993, imapconn.ModeTLS, "ann@half.test"), Confirm: true,
			SMTP:    new(server("dead.example.test", 465, imapconn.ModeTLS, "ann@half.test")),
			Methods: []discover.Method{discover.MethodOAuth2, discover.MethodPassword},
		},
		"ann@odd.test": {IMAP: server("mail.hoster.test", 9993, imapconn.ModeTLS, "ann@odd.test"), Confirm: true},
	} {
		want.Source = discover.SourceSRV
		if diff := cmp.Diff(want, w.one(t, address), same); diff != "" {
			t.Errorf("%s (-want +got):\n%s", address, diff)
		}
	}
	if slices.Contains(w.connections(), "mail.hoster.test:9993") {
		t.Error("a port was connected to that is none for mail")
	}
}

// A server whose certificate is for the address's domain, too, is the domain's.
func TestCertificateForTheDomain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Minute, loopback, "both.hoster.test. A 127.0.0.1", "_imaps._tcp.example.test. SRV 0 0 993 both.hoster.test.")
	w.mailFor(t, []string{"both.hoster.test", "example.test"}, "both.hoster.test")
	if got := w.one(t, "ann@example.test"); !got.Verified || got.Confirm {
		t.Errorf("found %+v", got)
	}
}

// A domain may say that it has no IMAP. Then nobody looks for it.
func TestNotOffered(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Minute, loopback, "_imaps._tcp.example.test. SRV 0 0 0 .", "imap.example.test. A 127.0.0.1")
	w.mail(t, "imap.example.test")
	if found := w.find(t, "ann@example.test"); len(found) > 0 {
		t.Errorf("found %+v", found)
	}
	if dialed := w.connections(); slices.Contains(dialed, "imap.example.test:993") {
		t.Errorf("connected to %v", dialed)
	}
}

func TestMX(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Minute, loopback,
		"example.test. MX 20 mx.example.test.", "example.test. MX 10 ASPMX.L.GOOGLE.COM.",
		"apple.test. MX 10 mx01.mail.icloud.com.",
		"example.org. MX 10 example-org.mail.protection.outlook.com.",
		"evil.test. MX 10 aspmx.l.google.com.evil.test.", "evil.test. MX 10 notgoogle.com.",
	)
	for address, want := range map[string]discover.Candidate{
		"ann@example.test": {
			Provider: "Google Workspace", IMAP: server("imap.gmail.com", 993, imapconn.ModeTLS, "ann@example.test"),
			SMTP:    new(server("smtp.gmail.com", 465, imapconn.ModeTLS, "ann@example.test")),
			Methods: []discover.Method{discover.MethodOAuth2, discover.MethodAppPassword},
		},
		"ann@apple.test": { // who logs in by a name that nobody can tell
			Provider: "iCloud", IMAP: server("imap.mail.me.com", 993, imapconn.ModeTLS, ""),
			SMTP:    new(server("smtp.mail.me.com", 587, imapconn.ModeSTARTTLS, "")),
			Methods: []discover.Method{discover.MethodAppPassword},
		},
		"ann@example.org": {
			Provider: "Microsoft 365", IMAP: server("outlook.office365.com", 993, imapconn.ModeTLS, "ann@example.org"),
			SMTP:    new(server("smtp.office365.com", 587, imapconn.ModeSTARTTLS, "ann@example.org")),
			Methods: []discover.Method{discover.MethodOAuth2},
		},
	} {
		want.Source, want.Confirm = discover.SourceMX, true
		if diff := cmp.Diff(want, w.one(t, address), same, cmpopts.IgnoreFields(discover.Candidate{}, "Note", "OAuth2")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", address, diff)
		}
	}
	if found := w.find(t, "ann@evil.test"); len(found) > 0 {
		t.Errorf("found %+v", found)
	}
}

func TestUsualNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Minute, loopback, "mail.example.test. A 127.0.0.1", "smtp.example.test. A 127.0.0.1", "imap.example.test. A 127.0.0.1",
		"mail.example.org. A 127.0.0.1", "imap.example.org. A 127.0.0.1")
	w.mail(t, "mail.example.test", "smtp.example.test", "mail.example.org")
	want := discover.Candidate{
		Source: discover.SourceProbe, IMAP: server("mail.example.test", 993, imapconn.ModeTLS, "ann@example.test"), Verified: true,
		SMTP:    new(server("smtp.example.test", 465, imapconn.ModeTLS, "ann@example.test")),
		Methods: []discover.Method{discover.MethodOAuth2, discover.MethodPassword},
	}
	if diff := cmp.Diff(want, w.one(t, "ann@example.test"), same); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// The certificate is for other names.
	if found := w.find(t, "ann@example.org"); len(found) > 0 {
		t.Errorf("found %+v", found)
	}
	if !slices.Contains(w.connections(), "mail.example.org:993") {
		t.Error("it was not connected to")
	}
}

// What was found is remembered, for whichever address of the domain.
func TestRemembered(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Minute, loopback, "example.test. MX 10 aspmx.l.google.com.")
	first := w.one(t, "ann@example.test")
	w.find(t, "ann@nothing.test")
	asked := len(w.dns.Asked())
	second := w.one(t, "bob@Example.test")
	if first.IMAP.Username != "ann@example.test" || second.IMAP.Username != "bob@Example.test" || second.SMTP.Username != "bob@Example.test" {
		t.Errorf("user names %q and %q", first.IMAP.Username, second.IMAP.Username)
	}
	w.find(t, "bob@nothing.test")
	if asked != len(w.dns.Asked()) {
		t.Errorf("asked again: %v", w.dns.Asked()[asked:])
	}
	bob, err := discover.ParseAddress("bob@example.test")
	if err != nil {
		t.Fatal(err)
	}
	if known, ok := w.Known(bob); !ok || len(known) != 1 {
		t.Errorf("known are %+v, %t", known, ok)
	}
}

func TestCanceled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Hour, loopback)
	w.dns.Silence(".")
	address, err := discover.ParseAddress("ann@example.test")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := w.Find(ctx, address)
		done <- err
	}()
	for len(w.dns.Asked()) == 0 {
		select {
		case err := <-done:
			t.Fatalf("ended before anybody was asked: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if _, ok := w.Known(address); ok {
		t.Error("what was not found out is remembered")
	}
}
