package main

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/certtest"
	"github.com/postern-mail/postern/internal/hostiletest"
)

// hostileCase is a server that must not be told a password.
type hostileCase struct {
	attack hostiletest.Attack
	// trust is the account's tls, by default the authority of good certificates.
	trust map[string]any
	// reason is that of the failure, by default TLS_FAILED.
	reason string
	// imapOnly cases have no equivalent in SMTP.
	imapOnly bool
	// says is what accounts:verify tells a person.
	says string
}

// hostileCases gives the cases for one protocol, by tlsMode. Certificates are those
// of good unless they are wrong in some way.
func hostileCases(t *testing.T, protocol hostiletest.Protocol) map[string]map[string]hostileCase {
	t.Helper()
	authority, stranger := certtest.New(t), certtest.New(t)
	certificate := func(c tls.Certificate) *tls.Certificate { return &c }
	good := certificate(authority.Issue(t, certtest.Template{}))
	ours := map[string]any{"caCertificates": certtest.PEM(authority.Certificate)}
	pinned := map[string]any{"pinnedKeys": []string{account.KeyPin(authority.Issue(t, certtest.Template{}).Leaf)}}
	refuse, injected := "NO", "* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\na OK done\r\n* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\r\n"
	if protocol == hostiletest.SMTP {
		refuse, injected = "502 5.5.1 not here", "250-hello\r\n250 AUTH PLAIN\r\n235 2.7.0 welcome\r\n"
	}
	now := time.Now()
	either := map[string]hostileCase{
		"another name":       {attack: hostiletest.Attack{Certificate: certificate(authority.Issue(t, certtest.Template{Names: []string{"mail.example.com"}}))}, says: "not for 127.0.0.1"},
		"expired":            {attack: hostiletest.Attack{Certificate: certificate(authority.Issue(t, certtest.Template{NotAfter: now.Add(-time.Hour)}))}, says: "expired"},
		"not yet good":       {attack: hostiletest.Attack{Certificate: certificate(authority.Issue(t, certtest.Template{NotBefore: now.Add(time.Hour)}))}, says: "not valid yet"},
		"self-signed":        {attack: hostiletest.Attack{Certificate: certificate(certtest.SelfSigned(t, certtest.Template{}))}, says: "authorities in"},
		"of a stranger":      {attack: hostiletest.Attack{Certificate: certificate(stranger.Issue(t, certtest.Template{}))}, says: "authorities in"},
		"the machine's only": {attack: hostiletest.Attack{Certificate: good}, trust: map[string]any{}, says: "this machine trusts"},
		"another key":        {attack: hostiletest.Attack{Certificate: good}, trust: pinned, says: "none of the pinned"},
		"TLS 1.0":            {attack: hostiletest.Attack{Certificate: good, MaxVersion: tls.VersionTLS10}, says: "TLS 1.2 and 1.3"},
		"TLS 1.1":            {attack: hostiletest.Attack{Certificate: good, MaxVersion: tls.VersionTLS11}, says: "TLS 1.2 and 1.3"},
	}
	cases := map[string]map[string]hostileCase{
		"TLS": {"in clear": {attack: hostiletest.Attack{Strip: true}, says: "STARTTLS"}},
		"STARTTLS": {
			"stripped":                {attack: hostiletest.Attack{Strip: true}},
			"stripped, LOGINDISABLED": {attack: hostiletest.Attack{Strip: true, LoginDisabled: true}, imapOnly: true},
			"refused":                 {attack: hostiletest.Attack{Refuse: refuse}},
			"called bad":              {attack: hostiletest.Attack{Refuse: "BAD"}, imapOnly: true},
			"agreed and not done":     {attack: hostiletest.Attack{Deaf: true, Inject: injected, AsOne: true}},
			"injected":                {attack: hostiletest.Attack{Certificate: good, Inject: injected, AsOne: true}},
			"injected afterwards":     {attack: hostiletest.Attack{Certificate: good, Inject: injected}},
			"PREAUTH":                 {attack: hostiletest.Attack{Preauth: true, Certificate: good}, imapOnly: true},
			"PREAUTH, stripped":       {attack: hostiletest.Attack{Preauth: true, Strip: true}, imapOnly: true},
		},
	}
	if protocol == hostiletest.SMTP {
		cases["STARTTLS"]["refused for now"] = hostileCase{attack: hostiletest.Attack{Refuse: "454 4.7.0 later"}, reason: "UNAVAILABLE"}
	}
	for name, c := range either {
		cases["STARTTLS"][name] = c
		c.attack.Implicit = true
		cases["TLS"][name] = c
	}
	for _, of := range cases {
		for name, c := range of {
			if c.imapOnly && protocol != hostiletest.IMAP {
				delete(of, name)
				continue
			}
			if c.trust == nil {
				c.trust = ours
			}
			if c.reason == "" {
				c.reason = "TLS_FAILED"
			}
			of[name] = c
		}
	}
	return cases
}

// victim is an account whose credentials are looked for where they must not be.
type victim struct {
	*process
	id                 string
	username, password string
}

// call makes a call of the API and gives the answer, and the text of one that is an
// error.
func (v *victim) call(t *testing.T, method, path string, body any) (answer map[string]any, refusal string) {
	t.Helper()
	var content bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&content).Encode(body); err != nil {
			t.Fatal(err)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), method, v.base+path, &content)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+v.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, string(text)
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		t.Fatal(err)
	}
	return answer, ""
}

// register registers the account at a server, for its mail or to send through.
func register(t *testing.T, p *process, protocol hostiletest.Protocol, s *hostiletest.Server, mode string, trust map[string]any) *victim {
	t.Helper()
	v := &victim{process: p, id: "v" + strings.ToLower(rand.Text()[:12]), username: "canary-" + rand.Text(), password: "canary-" + rand.Text()}
	server := map[string]any{
		"host": s.Host, "port": s.Port, "tlsMode": mode, "username": v.username, "password": v.password, "tls": trust,
	}
	settings := map[string]any{"email": "ann@example.com", string(protocol): server}
	if protocol == hostiletest.SMTP {
		honest := hostiletest.Start(t, hostiletest.IMAP, hostiletest.Attack{})
		settings["imap"] = map[string]any{"host": honest.Host, "port": honest.Port, "tlsMode": "PLAINTEXT", "username": "ann", "password": "sesame"}
	}
	if _, problem := v.call(t, http.MethodPost, "/v1/accounts?accountId="+v.id, settings); problem != "" {
		t.Fatal(problem)
	}
	return v
}

// wasKept checks that the credentials were not given away.
func (v *victim) wasKept(t *testing.T, s *hostiletest.Server) {
	t.Helper()
	for _, said := range [][]byte{s.Clear(), s.Inside()} {
		for _, leak := range hostiletest.Leaks(said, v.username, v.password) {
			t.Errorf("the server was told %s", leak)
		}
	}
}

// failedStep is the step at which accounts:verify fails.
func (v *victim) failedStep(t *testing.T) map[string]any {
	t.Helper()
	answer, problem := v.call(t, http.MethodPost, "/v1/accounts/"+v.id+":verify", json.RawMessage("{}"))
	if problem != "" {
		t.Fatal(problem)
	}
	for _, s := range answer["steps"].([]any) {
		if step := s.(map[string]any); step["outcome"] == "FAILED" {
			return step
		}
	}
	return nil
}

// TestHostileMailServers registers accounts at servers that try to be told the
// password in clear, or although they are somebody else, and has them tried by
// accounts:verify, watched, read and sent from. What such a server is sent must not
// have the password or the user name in it, in whatever form; and everybody who asks
// is told what is wrong.
func TestHostileMailServers(t *testing.T) {
	t.Parallel()
	p := serveIn(t, t.TempDir(), toDovecot)
	for _, protocol := range []hostiletest.Protocol{hostiletest.IMAP, hostiletest.SMTP} {
		for mode, cases := range hostileCases(t, protocol) {
			for name, c := range cases {
				t.Run(fmt.Sprintf("%s %s %s", protocol, mode, name), func(t *testing.T) {
					t.Parallel()
					s := hostiletest.Start(t, protocol, c.attack)
					v := register(t, p, protocol, s, mode, c.trust)
					defer v.wasKept(t, s)
					if protocol == hostiletest.IMAP {
						v.readsNothing(t, &c)
					} else {
						v.sendsNothing(t, &c)
					}
					if s.Connections() < 2 {
						t.Errorf("%d connections", s.Connections())
					}
				})
			}
		}
	}
}

// readsNothing tries everything that leads to the IMAP server.
func (v *victim) readsNothing(t *testing.T, c *hostileCase) {
	t.Helper()
	step := v.failedStep(t)
	if step["check"] != "TLS" || step["reason"] != "IMAP_"+c.reason || !strings.Contains(fmt.Sprint(step["detail"]), c.says) {
		t.Errorf("accounts:verify fails by %v", step)
	}
	if _, problem := v.call(t, http.MethodGet, "/v1/accounts/"+v.id+"/folders", nil); !strings.Contains(problem, "IMAP_"+c.reason) {
		t.Errorf("folders are listed with %q", problem)
	}
	var state, detail string
	await(t, "the account to be in ERROR", func() bool {
		answer, problem := v.call(t, http.MethodGet, "/v1/accounts/"+v.id, nil)
		state, detail = fmt.Sprint(answer["state"]), fmt.Sprint(answer["stateDetail"])
		return problem == "" && state == "ERROR"
	})
	if !strings.Contains(detail, c.says) || strings.Contains(detail, v.password) {
		t.Errorf("the detail of the state is %q", detail)
	}
	answer, _ := v.call(t, http.MethodGet, "/v1/accounts/"+v.id+"/events?types=account.degraded", nil)
	if text := fmt.Sprint(answer); !strings.Contains(text, "reason:IMAP_"+c.reason) {
		t.Errorf("the events are %s", text)
	}
}

// sendsNothing tries everything that leads to the SMTP server.
func (v *victim) sendsNothing(t *testing.T, c *hostileCase) {
	t.Helper()
	step := v.failedStep(t)
	if step["check"] != "SMTP_AUTH" || step["reason"] != "SMTP_"+c.reason || !strings.Contains(fmt.Sprint(step["detail"]), c.says) {
		t.Errorf("accounts:verify fails by %v", step)
	}
	made, problem := v.call(t, http.MethodPost, "/v1/accounts/"+v.id+"/submissions", map[string]any{
		"to": []any{map[string]any{"address": "bob@example.com"}}, "subject": "hi", "text": "hi", "saveToSent": "NEVER",
	})
	if problem != "" {
		t.Fatal(problem)
	}
	var detail string
	await(t, "the submission to be deferred", func() bool {
		answer, problem := v.call(t, http.MethodGet, "/v1/"+made["name"].(string), nil)
		detail = fmt.Sprint(answer["stateDetail"])
		return problem == "" && answer["state"] == "DEFERRED"
	})
	if c.reason == "TLS_FAILED" && !strings.Contains(detail, "SMTP_TLS_FAILED") || strings.Contains(detail, v.password) {
		t.Errorf("the detail of the submission is %q", detail)
	}
}

// TestHonestMailServers is what TestHostileMailServers would see if a password were
// given away: here one is, to the right server.
func TestHonestMailServers(t *testing.T) {
	t.Parallel()
	p := serveIn(t, t.TempDir(), toDovecot)
	authority := certtest.New(t)
	good := authority.Issue(t, certtest.Template{})
	trust := map[string]any{"caCertificates": certtest.PEM(authority.Certificate), "pinnedKeys": []string{account.KeyPin(good.Leaf)}}
	for _, protocol := range []hostiletest.Protocol{hostiletest.IMAP, hostiletest.SMTP} {
		for mode, attack := range map[string]hostiletest.Attack{
			"TLS": {Certificate: &good, Implicit: true}, "STARTTLS": {Certificate: &good}, "PLAINTEXT": {},
			"STARTTLS of 1.2": {Certificate: &good, MaxVersion: tls.VersionTLS12},
		} {
			t.Run(fmt.Sprintf("%s %s", protocol, mode), func(t *testing.T) {
				t.Parallel()
				s := hostiletest.Start(t, protocol, attack)
				trust := trust
				mode, _, _ := strings.Cut(mode, " ")
				if mode == "PLAINTEXT" {
					trust = nil
				}
				v := register(t, p, protocol, s, mode, trust)
				if step := v.failedStep(t); step != nil {
					t.Fatalf("accounts:verify fails by %v", step)
				}
				inClear := len(hostiletest.Leaks(s.Clear(), v.username, v.password))
				inside := len(hostiletest.Leaks(s.Inside(), v.username, v.password))
				if mode == "PLAINTEXT" && inClear == 0 || mode != "PLAINTEXT" && (inClear > 0 || inside == 0) {
					t.Errorf("the credentials are seen in %d forms in clear and in %d under TLS", inClear, inside)
				}
			})
		}
	}
}

// A PREAUTH greeting needs no password, so none is sent even where it might be.
func TestPreauthIsToldNothing(t *testing.T) {
	t.Parallel()
	s := hostiletest.Start(t, hostiletest.IMAP, hostiletest.Attack{Preauth: true})
	v := register(t, serveIn(t, t.TempDir(), toDovecot), hostiletest.IMAP, s, "PLAINTEXT", nil)
	if step := v.failedStep(t); step != nil {
		t.Fatalf("accounts:verify fails by %v", step)
	}
	v.wasKept(t, s)
}
