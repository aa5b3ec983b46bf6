package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/natsdtest"
	"github.com/postern-mail/postern/internal/secret"
)

// with is a client of the process that shows another token.
func (p *process) with(token string) *apiClient {
	return &apiClient{base: p.base, token: secret.New(token), http: http.DefaultClient}
}

// refusedToken reports whether a call failed because of its token.
func refusedToken(err error) bool {
	return err != nil && strings.Contains(err.Error(), "401 Unauthorized")
}

func TestTokensCommand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := serveIn(t, dir)
	where := []string{"--data-dir=" + dir, "--url=" + p.base}
	tokens := func(args ...string) outcome {
		t.Helper()
		return execute(t, nil, append(append([]string{"tokens", args[0]}, where...), args[1:]...)...)
	}
	made := tokens("create", "--name=desk\x1b[2J", "--scope=messages:read,accounts:read", "--scope=events:read",
		"--account=ann", "--account=accounts/bob", "--account-label=team=sales", "--expires=720h")
	text, name := strings.TrimSpace(made.stdout), strings.TrimSpace(made.stderr)
	if made.code != exitOK || strings.Count(made.stdout, "\n") != 1 || !strings.HasPrefix(text, "pstn_") || !strings.HasPrefix(name, "tokens/") {
		t.Fatalf("code %d, %q, %q", made.code, made.stdout, made.stderr)
	}
	answer, err := p.with(text).call(t.Context(), http.MethodGet, "/v1/tokens:whoami", nil)
	if err != nil {
		t.Fatal(err)
	}
	var me struct {
		Principal        string
		Scopes, Accounts []string
		AccountLabels    map[string]string
		ExpireTime       time.Time
	}
	if err := json.Unmarshal(answer, &me); err != nil {
		t.Fatal(err)
	}
	if me.Principal != name || len(me.Scopes) != 3 || len(me.Accounts) != 2 || me.AccountLabels["team"] != "sales" ||
		time.Until(me.ExpireTime) < 719*time.Hour {
		t.Errorf("it is %s", answer)
	}
	listed := tokens("list")
	if !strings.Contains(listed.stdout, name) || strings.Contains(listed.stdout, text) || strings.Contains(listed.stdout, "\x1b") {
		t.Errorf("listed %q", listed.stdout)
	}
	if revoked := tokens("revoke", name); revoked.stdout != name+" REVOKED\n" {
		t.Errorf("revoked: %d, %q, %q", revoked.code, revoked.stdout, revoked.stderr)
	}
	if _, err := p.with(text).call(t.Context(), http.MethodGet, "/v1/tokens:whoami", nil); !refusedToken(err) {
		t.Errorf("a revoked token: %v", err)
	}
	if listed := tokens("list"); strings.Contains(listed.stdout, name) {
		t.Errorf("listed as in use: %q", listed.stdout)
	}
	var all struct{ Tokens []apiToken }
	if err := json.Unmarshal([]byte(tokens("list", "--all", "--format=json").stdout), &all); err != nil || len(all.Tokens) != 1 || all.Tokens[0].State != "REVOKED" {
		t.Errorf("all are %v, %v", all, err)
	}
	var one apiToken
	if err := json.Unmarshal([]byte(tokens("create", "--scope=admin", "--format=json").stdout), &one); err != nil || one.Token == "" {
		t.Errorf("as JSON: %v, %v", one, err)
	}
	tokens("revoke", "tokens/none").failed(t, "There is no such token")
	tokens("create", "--scope=mail:burn").failed(t, "There is no scope")
	for _, args := range [][]string{{"create"}, {"revoke"}, {"create", "--scope=admin", "--expires=yesterday"}, {"list", "--format=xml"}, {"list", "x"}, {"burn"}} {
		if o := tokens(args...); o.code != exitUsage {
			t.Errorf("%q ended with code %d: %s", args, o.code, o.stderr)
		}
	}
	execute(t, nil, "tokens", "list", "--url="+p.base, "--data-dir="+t.TempDir()).failed(t, "admin-token")
	if o := execute(t, []string{"POSTERN_ADMIN_TOKEN=" + p.token}, "tokens", "list", "--url="+p.base); o.code != exitOK {
		t.Errorf("with the token of the environment: %s", o.stderr)
	}
}

// What was answered is there after a crash: the token, and its end.
func TestTokensSurviveAKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := serveIn(t, dir)
	create := func() apiToken {
		t.Helper()
		var made apiToken
		if _, err := p.client().ask(t.Context(), http.MethodPost, "/v1/tokens", map[string]any{"scopes": []string{"messages:read"}}, &made); err != nil {
			t.Fatal(err)
		}
		return made
	}
	kept, revoked := create(), create()
	if _, err := p.client().call(t.Context(), http.MethodPost, "/v1/"+revoked.Name+":revoke", struct{}{}); err != nil {
		t.Fatal(err)
	}
	p.kill(t)
	p = serveIn(t, dir)
	if _, err := p.with(kept.Token).call(t.Context(), http.MethodGet, "/v1/tokens:whoami", nil); err != nil {
		t.Errorf("after the crash: %v", err)
	}
	if _, err := p.with(revoked.Token).call(t.Context(), http.MethodGet, "/v1/tokens:whoami", nil); !refusedToken(err) {
		t.Errorf("the revoked one: %v", err)
	}
}

// A token that is revoked on one node is of no use on another, and a watch that it
// has there ends.
func TestTokensOnTwoNodes(t *testing.T) {
	t.Parallel()
	node := nodes(t)
	one, two := node(), node()
	var made apiToken
	if _, err := one.client().ask(t.Context(), http.MethodPost, "/v1/tokens", map[string]any{"scopes": []string{"events:read"}}, &made); err != nil {
		t.Fatal(err)
	}
	client := two.with(made.Token)
	await(t, "the other node to know the token", func() bool {
		_, err := client.call(t.Context(), http.MethodGet, "/v1/tokens:whoami", nil)
		return err == nil
	})
	watch, err := client.watch(t.Context(), "/v1/events:watch")
	if err != nil {
		t.Fatal(err)
	}
	defer watch.close()
	began := time.Now()
	if _, err := one.client().call(t.Context(), http.MethodPost, "/v1/"+made.Name+":revoke", struct{}{}); err != nil {
		t.Fatal(err)
	}
	frame, err := watch.await("failure")
	if err != nil || !strings.Contains(string(frame.data), "TOKEN_INVALID") {
		t.Errorf("the watch ends with %s, %v", frame.data, err)
	}
	t.Logf("the watch of the other node ended %s after the call to revoke began", time.Since(began))
	if _, err := client.call(t.Context(), http.MethodGet, "/v1/tokens:whoami", nil); !refusedToken(err) {
		t.Errorf("on the other node: %v", err)
	}
}

// Without its NATS a node does not take tokens for ever; the administrator's it does.
func TestTokensWithoutNATS(t *testing.T) {
	t.Parallel()
	store := natsdtest.Start(t, natsd.Config{})
	p := launch(t, []string{"POSTERN_ADMIN_TOKEN=" + proofToken}, "serve", "--http=127.0.0.1:0", "--grpc=127.0.0.1:0",
		"--data-dir="+t.TempDir(), "--nats-url="+store.URL().Reveal())
	p.token = proofToken
	var made apiToken
	if _, err := p.client().ask(t.Context(), http.MethodPost, "/v1/tokens", map[string]any{"scopes": []string{"messages:read"}}, &made); err != nil {
		t.Fatal(err)
	}
	natsdtest.Stop(t, store)
	if _, err := p.with(made.Token).call(t.Context(), http.MethodGet, "/v1/tokens:whoami", nil); err != nil {
		t.Errorf("right after NATS went: %v", err)
	}
	await(t, "tokens to be refused", func() bool {
		_, err := p.with(made.Token).call(t.Context(), http.MethodGet, "/v1/tokens:whoami", nil)
		return err != nil && strings.Contains(err.Error(), "503")
	})
	if _, err := p.client().call(t.Context(), http.MethodGet, "/v1/tokens:whoami", nil); err != nil {
		t.Errorf("the administrator: %v", err)
	}
}
