package discover

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/imapconn"
)

// The table can be read in one way only, and names what there can be.
func TestTable(t *testing.T) {
	t.Parallel()
	owner := make(map[string]string)
	for _, p := range providers {
		for _, name := range append(slices.Clone(p.domains), p.mx...) {
			if host, ok := hostName(name); !ok || host != name {
				t.Errorf("%s: %q is no name", p.name, name)
			}
		}
		for _, domain := range p.domains {
			if owner[domain] != "" {
				t.Errorf("%s is of %s and of %s", domain, owner[domain], p.name)
			}
			owner[domain] = p.name
		}
		for kind, s := range map[protocol]Server{protoIMAP: p.imap, protoSMTP: p.smtp} {
			if host, ok := hostName(s.Host); !ok || host != s.Host || !slices.Contains(usual[kind], s.Port) || s.Username == "" {
				t.Errorf("%s: server %+v", p.name, s)
			}
			if implicit := s.Port == 993 || s.Port == 465; implicit != (s.TLSMode == imapconn.ModeTLS) {
				t.Errorf("%s: %+v", p.name, s)
			}
		}
		if p.name == "" || len(p.methods) == 0 || len(p.domains)+len(p.mx) == 0 {
			t.Errorf("%+v", p)
		}
	}
	if p := providerOfMX("aspmx.l.google.com"); p == nil || p.name != "Google Workspace" {
		t.Errorf("Google is %+v", p)
	}
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	var c cache
	now := time.Now()
	found := []Candidate{{Provider: "x"}}
	for i := range 3 * maxDomains {
		c.put("d"+strings.Repeat("x", i%7)+string(rune('a'+i%26))+time.Duration(i).String(), found, now)
	}
	c.put("last", found, now)
	if len(c.domains) != maxDomains || c.order.Len() != maxDomains {
		t.Errorf("%d domains are remembered", len(c.domains))
	}
	if _, ok := c.get("last", now.Add(foundLife)); !ok {
		t.Error("the last one is not remembered")
	}
	if _, ok := c.get("last", now.Add(foundLife+1)); ok || len(c.domains) != maxDomains-1 {
		t.Error("it is remembered for longer than it may be")
	}
	c.put("none", nil, now)
	if _, ok := c.get("none", now.Add(nothingLife+1)); ok {
		t.Error("that there is nothing is remembered for longer than it may be")
	}
}

func FuzzConfig(f *testing.F) {
	const good = `<clientConfig version="1.1"><emailProvider id="x"><incomingServer type="imap"><hostname>imap.example.com</hostname>` +
		`<port>993</port><socketType>SSL</socketType><authentication>password-cleartext</authentication><username>%EMAILADDRESS%</username>` +
		`</incomingServer></emailProvider></clientConfig>`
	for _, seed := range []string{
		good, `<?xml version="1.0"?>` + good, "<!DOCTYPE x>" + good, good[:100], strings.Replace(good, "%EMAILADDRESS%", "%EMAILLOCALPART%", 1),
		strings.Replace(good, "imap.example.com", "[::1]", 1), strings.Repeat("<a>", 100), "",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		config, err := parseConfig(document)
		if err != nil {
			return
		}
		for _, p := range []protocol{protoIMAP, protoSMTP} {
			servers, methods := config.servers(p, "example.com")
			if len(servers) != len(methods) || len(servers) > maxTargets {
				t.Fatalf("%d servers, %d methods", len(servers), len(methods))
			}
			for _, s := range servers {
				host, ok := hostName(s.Host)
				if !ok || host != s.Host || s.Port < 1 || s.Port > 65535 || s.TLSMode == imapconn.ModePlaintext || s.Username == "" || !printable(s.Username) {
					t.Fatalf("server %+v", s)
				}
			}
		}
	})
}
