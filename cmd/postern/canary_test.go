package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/dovecottest"
	"github.com/postern-mail/postern/internal/smtptest"
)

// birds is everything that the test has given to the process as a secret or got from
// it as one, and everything that it found the process to write.
type birds struct {
	t *testing.T

	mu      sync.Mutex
	secrets map[string]string // by what they are
	written []writing
}

// writing is something that the process wrote.
type writing struct {
	where   string
	content []byte
}

// secret makes a secret that can be found again.
func (b *birds) secret(what string) string {
	return b.known(what, "cnry-"+rand.Text())
}

// known takes a secret that somebody else made.
func (b *birds) known(what, value string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.secrets == nil {
		b.secrets = map[string]string{}
	}
	if value == "" {
		b.t.Fatalf("%s is empty", what)
	}
	b.secrets[fmt.Sprintf("%s (%d)", what, len(b.secrets))] = value
	return value
}

// saw keeps what the process wrote.
func (b *birds) saw(where string, content []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.written = append(b.written, writing{where, content})
}

// ask makes a request and keeps its answer.
func (b *birds) ask(p *process, method, path, body string, headers ...string) (int, string) {
	b.t.Helper()
	status, answer := p.ask(b.t, method, path, body, headers...)
	b.saw(fmt.Sprintf("the answer to %s %s (%d)", method, strings.Split(path, "?")[0], status), []byte(answer))
	return status, answer
}

// must makes a request that has to succeed.
func (b *birds) must(p *process, method, path, body string) string {
	b.t.Helper()
	status, answer := b.ask(p, method, path, body)
	if status != http.StatusOK {
		b.t.Fatalf("%s %s: %d %s", method, path, status, answer)
	}
	return answer
}

// given makes a request whose answer gives a secret away, this once, and takes the
// secret that is in a field of it.
func (b *birds) given(p *process, path, body, field string) string {
	b.t.Helper()
	status, answer := p.ask(b.t, http.MethodPost, path, body)
	var fields map[string]any
	if err := json.Unmarshal([]byte(answer), &fields); err != nil || status != http.StatusOK {
		b.t.Fatalf("POST %s: %d %s", path, status, answer)
	}
	value, _ := fields[field].(string)
	return b.known("the "+field+" from "+path, value)
}

// files keeps the content of all files of a data directory but those that hold a
// secret by design, which nobody else may read.
func (b *birds) files(dir string, byDesign ...string) {
	b.t.Helper()
	for _, name := range byDesign {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			b.t.Fatal(err)
		}
		if perm := info.Mode().Perm(); perm != 0o600 {
			b.t.Errorf("mode of %s is %04o, want 0600", name, perm)
		}
	}
	searched := 0
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		for _, one := range byDesign {
			if name == one {
				return nil
			}
		}
		content, err := os.ReadFile(path)
		b.saw("the file "+name, content)
		searched += len(content)
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	if searched < 100<<10 {
		b.t.Errorf("only %d bytes of files were searched", searched)
	}
}

// account is the body of an account at a Dovecot.
func canaryAccount(server *dovecottest.Server, imap, smtp string) string {
	return fmt.Sprintf(`{"email":"ann@example.org","imap":{"host":%q,"port":%d,"tlsMode":"PLAINTEXT",%s},"smtp":%s}`,
		server.Host(), server.Port(), imap, smtp)
}

// No secret that the process is given, or gives out, is in anything that it writes:
// its log at the level debug, answers and errors, events, requests to webhooks, the
// files of its data directory, and the dump of a crash.
func TestCanaries(t *testing.T) {
	t.Parallel()
	b := &birds{t: t}
	server := dovecottest.Start(t, dovecottest.Password(b.secret("the mailbox's password")))
	smtp := smtptest.Start(t, smtptest.Config{Password: b.secret("the SMTP password")})
	username, _ := server.User(t)
	dir := filepath.Join(t.TempDir(), "data")
	env := []string{"POSTERN_ADMIN_TOKEN=" + b.secret("the admin token"), "GOTRACEBACK=all"}
	args := append([]string{"serve", "--data-dir=" + dir, toDovecot, "--log-level=debug", "--webhook-waits=1s,1h"}, loopback...)
	admin := strings.TrimPrefix(env[0], "POSTERN_ADMIN_TOKEN=")
	start := func(more ...string) *process {
		p := launch(t, env, append(args, more...)...)
		p.token = admin
		return p
	}
	p := start()
	b.known("the NATS password", natsPassword(t, dir))
	b.keyMaterial(dir)

	c := &canaries{birds: b, p: p, server: server, smtp: smtp, username: username}
	c.accounts()
	c.oauth()
	c.webhooks()
	c.tokens()
	c.mistakes()
	for _, command := range []string{"list", "rotate"} {
		o := execute(t, env, "keys", command, "--data-dir="+dir)
		if o.code != exitOK {
			t.Errorf("keys %s: %s", command, o.stderr)
		}
		b.saw("keys "+command, []byte(o.stdout+o.stderr))
	}
	b.keyMaterial(dir)
	await(t, "records to be sealed anew", func() bool { return strings.Contains(p.stderr.String(), "sealed records anew") })

	// The dump of a crash shows every goroutine.
	if err := p.cmd.Process.Signal(syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	p.awaitExit(t)
	if log := p.stderr.String(); !strings.Contains(log, "SIGQUIT") || strings.Count(log, "goroutine ") < 20 {
		t.Error("the crash left no dump")
	}
	b.saw("the log", []byte(p.stderr.String()))
	p = start("--log-format=json")
	p.awaitState(t, "CONNECTED")
	c.p = p
	b.must(p, http.MethodGet, "/v1/accounts/-/events?pageSize=500", "")
	p.stop(t)
	b.saw("the log of the second start", []byte(p.stderr.String()))
	b.files(dir, "nats-url", "secret.key")
	b.search()
}

// keyMaterial takes the keys of the key file.
func (b *birds) keyMaterial(dir string) {
	b.t.Helper()
	content, err := os.ReadFile(filepath.Join(dir, "secret.key"))
	if err != nil {
		b.t.Fatal(err)
	}
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(content)))
	if err != nil {
		b.t.Fatal(err)
	}
	for _, key := range insecurecleartextkeyset.KeysetMaterial(handle).GetKey() {
		value := key.GetKeyData().GetValue()
		b.known("a key", string(value[len(value)-32:]))
	}
}

func natsPassword(t *testing.T, dir string) string {
	t.Helper()
	_, rest, _ := strings.Cut(readURL(t, dir), "postern:")
	password, _, _ := strings.Cut(rest, "@")
	return password
}

// canaries drives a process.
type canaries struct {
	*birds
	p        *process
	server   *dovecottest.Server
	smtp     *smtptest.Server
	username string
}

// accounts has mailboxes watched, refused, and mail sent.
func (c *canaries) accounts() {
	t, p := c.t, c.p
	smtp := func(password string) string {
		return fmt.Sprintf(`{"host":"127.0.0.1","port":%d,"tlsMode":"PLAINTEXT","username":%q,"password":%q}`, c.smtp.Port, smtptest.Username, password)
	}
	login := func(password string) string { return fmt.Sprintf(`"username":%q,"password":%q`, c.username, password) }
	right, rightSMTP := c.find("the mailbox's"), c.find("the SMTP")
	c.must(p, http.MethodPost, "/v1/accounts?accountId=ann&requestId="+"the-request", canaryAccount(c.server, login(right), smtp(rightSMTP)))
	p.awaitState(t, "CONNECTED")
	c.server.Deliver(t, c.username, "INBOX", mail("one"))
	p.awaitArrivals(t, "one")
	verified := c.must(p, http.MethodPost, "/v1/accounts/ann:verify", "{}")
	if !strings.Contains(verified, `"ok":true`) && !strings.Contains(verified, `"ok": true`) {
		t.Errorf("verified: %s", verified)
	}
	send := func(want string) {
		answer := c.must(p, http.MethodPost, "/v1/accounts/ann/submissions",
			`{"from":{"address":"ann@example.org"},"to":[{"address":"bob@example.org"}],"subject":"s","text":"t","wait":"20s"}`)
		if !strings.Contains(answer, want) {
			t.Errorf("sent: %s, want %s", answer, want)
		}
	}
	send(`"SENT"`)
	c.must(p, http.MethodPatch, "/v1/accounts/ann", `{"smtp":`+smtp(c.secret("a wrong SMTP password"))+`}`)
	send(`"state"`)
	c.must(p, http.MethodPost, "/v1/accounts/ann:verify", "{}")
	c.must(p, http.MethodPatch, "/v1/accounts/ann", `{"imap":{"password":"`+c.secret("a wrong password")+`"}}`)
	p.awaitState(t, "AUTH_REQUIRED")
	c.must(p, http.MethodPost, "/v1/accounts/ann:verify", "{}")
	c.ask(p, http.MethodGet, "/v1/accounts/ann/folders", "")
	c.must(p, http.MethodPatch, "/v1/accounts/ann", `{"imap":{"password":"`+right+`"},"smtp":`+smtp(rightSMTP)+`}`)
	p.awaitState(t, "CONNECTED")
	c.must(p, http.MethodGet, "/v1/accounts/ann/folders", "")
	c.must(p, http.MethodGet, "/v1/accounts", "")
	c.must(p, http.MethodPost, "/v1/accounts?validateOnly=true", canaryAccount(c.server, login(c.secret("a password that is not stored")), smtp(c.secret("another"))))
}

// find gives a secret by what it is.
func (b *birds) find(what string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, value := range b.secrets {
		if strings.HasPrefix(name, what) {
			return value
		}
	}
	b.t.Fatalf("there is no secret %q", what)
	return ""
}

// oauth has a mailbox watched with tokens that a provider renews, then refuses to.
func (c *canaries) oauth() {
	t, p := c.t, c.p
	user, _ := c.server.User(t)
	access := c.known("an access token", c.server.Token(user))
	refresh := c.secret("a refresh token")
	var mu sync.Mutex
	refused := false
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		if refused || r.FormValue("refresh_token") != refresh {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"error":"invalid_grant","error_description":"it was revoked"}`)
			return
		}
		refresh = c.secret("a refresh token that was renewed")
		// It ends so soon that the next use asks again.
		fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","refresh_token":%q,"expires_in":30}`, access, refresh)
	}))
	t.Cleanup(provider.Close)
	grant := fmt.Sprintf(`"username":%q,"oauth2":{"tokenUrl":%q,"clientId":"client","clientSecret":%q,"refreshToken":%q,"accessToken":%q}`,
		user, provider.URL, c.secret("a client secret"), refresh, c.secret("an access token that has ended"))
	c.must(p, http.MethodPost, "/v1/accounts?accountId=otto", canaryAccount(c.server, grant, "null"))
	await(t, "the account with OAuth to be read", func() bool {
		status, _ := c.ask(p, http.MethodGet, "/v1/accounts/otto/folders", "")
		return status == http.StatusOK
	})
	c.must(p, http.MethodPost, "/v1/accounts/otto:verify", "{}")
	mu.Lock()
	refused = true
	mu.Unlock()
	c.must(p, http.MethodPost, "/v1/accounts/otto:reconnect", "{}")
	await(t, "the provider's refusal", func() bool {
		_, answer := c.ask(p, http.MethodGet, "/v1/accounts/otto", "")
		return strings.Contains(answer, "AUTH_REQUIRED")
	})
}

// webhooks has events sent, to who takes them and who does not.
func (c *canaries) webhooks() {
	t, p := c.t, c.p
	header, path := c.secret("a header's value"), c.secret("a token in a URL")
	var mu sync.Mutex
	taken := 0
	sink := func(status int) *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			r.Header.Del("X-Key") // what it is for
			head, _ := json.Marshal(r.Header)
			c.saw("a request to a webhook", append(head, body...))
			w.WriteHeader(status)
			mu.Lock()
			defer mu.Unlock()
			taken++
		}))
		t.Cleanup(s.Close)
		return s
	}
	good, bad := sink(http.StatusOK), sink(http.StatusInternalServerError)
	chosen := "whsec_" + base64.StdEncoding.EncodeToString([]byte(c.secret("a webhook's secret, as bytes")))
	c.known("a webhook's secret", chosen)
	for id, url := range map[string]string{"good": good.URL, "bad": bad.URL, "closed": "http://127.0.0.1:1", "unheard": "http://no-such-host.invalid"} {
		c.given(p, "/v1/webhooks?webhookId="+id, fmt.Sprintf(`{"url":%q,"headers":{"X-Key":%q}}`, url+"/"+path, header), "secret")
		c.ask(p, http.MethodPost, "/v1/webhooks/"+id+":test", "{}")
	}
	if status, answer := p.ask(t, http.MethodPost, "/v1/webhooks?webhookId=chosen",
		fmt.Sprintf(`{"url":%q,"secret":%q}`, good.URL, chosen)); status != http.StatusOK {
		t.Errorf("a webhook with a secret of one's own: %d %s", status, answer)
	}
	c.given(p, "/v1/webhooks/good:rotateSecret", "{}", "secret")
	c.server.Deliver(t, c.username, "INBOX", mail("two"))
	await(t, "the mail to be announced", func() bool { return strings.Contains(fmt.Sprint(p.arrivals(t)), "two") })
	await(t, "webhooks to be asked", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return taken >= 8
	})
	for _, id := range []string{"good", "bad", "closed", "unheard"} {
		await(t, "an attempt to be noted", func() bool {
			status, answer := p.ask(t, http.MethodGet, "/v1/webhooks/"+id+"/deliveries", "")
			if status == http.StatusOK {
				c.saw("deliveries", []byte(answer))
			}
			return strings.Contains(answer, `"attempt`) || status != http.StatusOK || strings.Contains(answer, "statusCode")
		})
	}
}

// tokens has callers admitted, refused and shut out.
func (c *canaries) tokens() {
	t, p := c.t, c.p
	made := c.given(p, "/v1/tokens", `{"displayName":"desk","scopes":["events:read","accounts:read"]}`, "token")
	bearer := func(token string) []string { return []string{"Authorization", "Bearer " + token} }
	if status, answer := c.ask(p, http.MethodGet, "/v1/accounts/ann", "", bearer(made)...); status != http.StatusOK {
		t.Errorf("with a token: %d %s", status, answer)
	}
	ticket := c.given(p, "/v1/events:ticket", "{}", "ticket")
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.base+"/v1/events:watch?ticket="+ticket, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	frame := make([]byte, 64)
	if _, err := io.ReadFull(resp.Body, frame); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("a watch by ticket: %s, %q, %v", resp.Status, frame, err)
	}
	resp.Body.Close()
	for _, shown := range [][]string{
		bearer(c.secret("a token that nobody made")), bearer(made + "x"), {"Authorization", c.secret("credentials without a scheme")},
		{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("ann:"+c.secret("a password of Basic")))},
		{"Authorization", "", "X-Api-Key", c.secret("a key in a header")},
		{"Authorization", "", "Cookie", "session=" + c.secret("a cookie")},
	} {
		if status, answer := c.ask(p, http.MethodGet, "/v1/accounts/ann", "", shown...); status != http.StatusUnauthorized {
			t.Errorf("%v: %d %s", shown[:1], status, answer)
		}
	}
	c.ask(p, http.MethodGet, "/v1/events:watch?ticket="+c.secret("a ticket that nobody made"), "", "Authorization", "")
	c.ask(p, http.MethodGet, "/v1/accounts?access_token="+c.secret("a token in a query"), "", "Authorization", "")
	c.ask(p, http.MethodGet, "/v1/accounts?pageToken="+c.secret("a page token that nobody made"), "")
	c.byGRPC(made)
	var list struct{ Tokens []struct{ Name string } }
	if err := json.Unmarshal([]byte(c.must(p, http.MethodGet, "/v1/tokens", "")), &list); err != nil || len(list.Tokens) != 1 {
		t.Fatalf("tokens: %v, %v", list, err)
	}
	c.must(p, http.MethodPost, "/v1/"+list.Tokens[0].Name+":revoke", "{}")
	if status, _ := c.ask(p, http.MethodGet, "/v1/accounts/ann", "", bearer(made)...); status != http.StatusUnauthorized {
		t.Errorf("with a token that was revoked: %d", status)
	}
}

// byGRPC shows a token and others by gRPC.
func (c *canaries) byGRPC(token string) {
	t := c.t
	conn, err := grpc.NewClient(grpcAddress.FindStringSubmatch(c.p.stderr.String())[1], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, shown := range []string{token, c.secret("a token that nobody made, by gRPC")} {
		ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+shown), deadline)
		account, err := posternv1.NewAccountServiceClient(conn).GetAccount(ctx, &posternv1.GetAccountRequest{Name: "accounts/ann"})
		cancel()
		if (err == nil) != (shown == token) {
			t.Errorf("by gRPC: %v", err)
		}
		c.saw("an answer by gRPC", fmt.Appendf(nil, "%v %v", account, err))
	}
}

// mistakes are requests with secrets in them that cannot be understood.
func (c *canaries) mistakes() {
	for name, body := range map[string]string{
		"cut off":              `{"email":"eve@example.org","imap":{"password":"%s`,
		"not quoted":           `{"email":"eve@example.org","imap":{"password":%s}}`,
		"a list":               `{"email":"eve@example.org","imap":{"password":["%s"]}}`,
		"an unknown field":     `{"email":"eve@example.org","imap":{"passwort":"%s"}}`,
		"a bad setting":        `{"email":"eve@example.org","imap":{"host":"h","port":-1,"password":"%s"}}`,
		"a line feed in it":    `{"email":"eve@example.org","imap":{"host":"h","port":1,"tlsMode":"TLS","username":"u","password":"%s\n"}}`,
		"no host":              `{"email":"eve@example.org","imap":{"username":"u","password":"%s"}}`,
		"two credentials":      `{"email":"eve@example.org","imap":{"host":"h","port":1,"tlsMode":"TLS","username":"u","password":"%s","oauth2":{"clientId":"c"}}}`,
		"a header's bad value": "",
	} {
		canary := c.secret("a secret in a mistake: " + name)
		path := "/v1/accounts?accountId=eve"
		if body == "" {
			path, body = "/v1/webhooks", `{"url":"https://example.com","headers":{"X-Key":"%s\n"}}`
		}
		if status, answer := c.ask(c.p, http.MethodPost, path, fmt.Sprintf(body, canary)); status < 400 || status >= 500 {
			c.t.Errorf("%s: %d %s", name, status, answer)
		}
	}
	// Whoever has put a secret in another place is told so in their own words, and
	// nobody else is.
	for _, body := range []string{`{"email":"eve@example.org","imap":{"port":"%s"}}`, `{"email":"eve@example.org","imap":{"%s":"x"}}`} {
		c.p.ask(c.t, http.MethodPost, "/v1/accounts", fmt.Sprintf(body, c.secret("a secret in another place")))
	}
	c.ask(c.p, http.MethodPost, "/v1/webhooks", fmt.Sprintf(`{"url":"https://user:%s@example.com/"}`, c.secret("a password in a webhook's URL")))
	c.ask(c.p, http.MethodPost, "/v1/webhooks", fmt.Sprintf(`{"url":"https://example.com/","secret":%q}`, c.secret("a webhook's bad secret")))
}
