package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/dovecottest"
)

func TestAllowances(t *testing.T) {
	t.Parallel()
	cfg, err := parse(t, "--config", yamlFile(t, "insecure-tls-hosts: [mail.example.com, '[2001:db8::1]:993']\nallow-plaintext: 10.1.2.3/8,relay:25\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(cfg.allowances.Unverified, cfg.allowances.Plaintext, cfg.allowances.PlaintextNetworks); got != "[mail.example.com [2001:db8::1]:993] [relay:25] [10.0.0.0/8]" {
		t.Errorf("the file allows %s", got)
	}
	for _, args := range [][]string{
		{"--insecure-tls-hosts", "*"}, {"--insecure-tls-hosts", "10.0.0.0/8"}, {"--insecure-tls-hosts", "mail:99999"},
		{"--allow-plaintext", "imap://mail"}, {"--allow-plaintext", "10.0.0.0/33"}, {"--allow-plaintext", "*.example.com"},
	} {
		if _, err := parse(t, args...); err == nil || !strings.Contains(err.Error(), args[0]) || !strings.Contains(err.Error(), args[1]) {
			t.Errorf("%v: error %v", args, err)
		}
	}
}

// TestServeUnverified: only who starts the process can switch verification off, and
// everyone sees that it is off.
func TestServeUnverified(t *testing.T) {
	t.Parallel()
	server := dovecottest.Shared(t)
	username, password := server.User(t)
	host := fmt.Sprintf("%s:%d", server.Host(), server.TLSPort())
	p := serveIn(t, t.TempDir(), toDovecot, "--insecure-tls-hosts", host)
	if log := p.stderr.String(); !strings.Contains(log, "level=WARN") || !strings.Contains(log, host) {
		t.Error("nothing warns at the start")
	}
	answer, err := p.client().call(t.Context(), http.MethodPost, "/v1/accounts?accountId=ann", json.RawMessage(fmt.Sprintf(
		`{"email":"ann@example.com","imap":{"host":%q,"port":%d,"username":%q,"password":%q}}`, server.Host(), server.TLSPort(), username, password)))
	if err != nil || !strings.Contains(string(answer), `"unverified":true`) {
		t.Fatalf("answer %s, %v", answer, err)
	}
	p.awaitState(t, "CONNECTED")
}
