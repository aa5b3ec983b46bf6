package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/dovecottest"
)

// bucketOf opens a bucket of the process on a data directory.
func bucketOf(t *testing.T, dir, bucket string) jetstream.KeyValue {
	t.Helper()
	conn, err := nats.Connect(readURL(t, dir), nats.Timeout(deadline))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), bucket)
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

// overwrite copies a record over another one, and gives what was there.
func overwrite(t *testing.T, kv jetstream.KeyValue, from, to string) []byte {
	t.Helper()
	source, err := kv.Get(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	was, err := kv.Get(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Put(t.Context(), to, source.Value()); err != nil {
		t.Fatal(err)
	}
	return was.Value()
}

// ask sends any request, and gives what is answered.
func (p *process) ask(t *testing.T, method, path, body string, headers ...string) (status int, answer string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, p.base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+p.token)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(content)
}

// refusal is the reason of a request's refusal, empty if it was not refused.
func (p *process) refusal(t *testing.T, method, path, body string) string {
	t.Helper()
	status, answer := p.ask(t, method, path, body)
	if status == http.StatusOK {
		return ""
	}
	var failure struct {
		Details []struct {
			Reason string `json:"reason"`
		} `json:"details"`
	}
	if err := json.Unmarshal([]byte(answer), &failure); err != nil || len(failure.Details) == 0 {
		t.Fatalf("%s %s: %d %s", method, path, status, answer)
	}
	return failure.Details[0].Reason
}

// A record that is copied over another one does not open there: not at once, not at
// the next start, and not for good. It is told as what it is, and takes nothing
// else down with it.
func TestRecordsCopiedOverOthers(t *testing.T) {
	t.Parallel()
	server := dovecottest.Shared(t)
	username, password := server.User(t)
	dir := filepath.Join(t.TempDir(), "data")
	p := serveIn(t, dir, toDovecot)
	p.register(t, server, username, password)
	server.Deliver(t, username, "INBOX", mail("one"))
	p.awaitArrivals(t, "one")
	p.post(t, "/v1/accounts?accountId=eve", `{"email":"eve@example.com","imap":{"host":"127.0.0.1","port":1,"tlsMode":"TLS","username":"eve","password":"e"}}`)
	for _, id := range []string{"mine", "hers"} {
		p.post(t, "/v1/webhooks?webhookId="+id, `{"url":"http://127.0.0.1:1/`+id+`","headers":{"X-Key":"value"}}`)
	}

	accounts, hooks := bucketOf(t, dir, "postern_accounts"), bucketOf(t, dir, "postern_webhooks")
	deleted := subscribe(t, dir, "postern.events.ann.account.deleted")
	annWas := overwrite(t, accounts, "account.eve", "account.ann")
	overwrite(t, hooks, "webhook.hers", "webhook.mine")
	unreadable := func() {
		t.Helper()
		for _, path := range []string{"/v1/accounts/ann", "/v1/accounts/ann/folders", "/v1/webhooks/mine"} {
			await(t, path+" to be unreadable", func() bool { return p.refusal(t, http.MethodGet, path, "") == "RECORD_UNREADABLE" })
		}
		p.get(t, "/v1/accounts/eve")
		p.get(t, "/v1/webhooks/hers")
		for list, others := range map[string]string{"accounts": "eve", "webhooks": "hers"} {
			if got := p.get(t, "/v1/"+list)[list].([]any); len(got) != 1 || got[0].(map[string]any)["name"] != list+"/"+others {
				t.Errorf("the %s are %v, want %s alone", list, got, others)
			}
		}
	}
	unreadable()
	if _, err := deleted.NextMsg(3 * time.Second); err == nil {
		t.Error("the account is announced as deleted")
	}
	p.kill(t)
	p = serveIn(t, dir, toDovecot)
	unreadable()

	// The account is not taken for deleted: with its record back all goes on.
	if _, err := bucketOf(t, dir, "postern_accounts").Put(t.Context(), "account.ann", annWas); err != nil {
		t.Fatal(err)
	}
	p.awaitState(t, "CONNECTED")
	server.Deliver(t, username, "INBOX", mail("two"))
	p.awaitArrivals(t, "one", "two")
	if all := fmt.Sprint(p.get(t, "/v1/accounts/ann/events?pageSize=500")); strings.Contains(all, "account.deleted") {
		t.Errorf("the account was announced as deleted: %s", all)
	}
	// What does not open can be deleted, and made again.
	if why := p.refusal(t, http.MethodDelete, "/v1/webhooks/mine", ""); why != "" {
		t.Errorf("deleting what does not open: %s", why)
	}
	p.post(t, "/v1/webhooks?webhookId=mine", `{"url":"http://127.0.0.1:1/mine"}`)
}

// What a request was used for does not count for another one.
func TestRequestsCopiedOverOthers(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	p := serveIn(t, dir)
	kv := bucketOf(t, dir, "postern_requests")
	var known []string
	// ask makes a request with an id, and gives the key under which that is kept.
	ask := func(path, body string) string {
		t.Helper()
		p.post(t, path, body)
		keys, err := kv.Keys(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		added := slices.DeleteFunc(slices.Clone(keys), func(key string) bool { return slices.Contains(known, key) })
		if len(added) != 1 {
			t.Fatalf("%s: the keys %v, then %v", path, known, keys)
		}
		known = keys
		return added[0]
	}
	for _, one := range []struct{ path, body string }{
		{"/v1/accounts", `{"email":"%s@example.com","imap":{"host":"127.0.0.1","port":1,"tlsMode":"TLS","username":"a","password":"p"}}`},
		{"/v1/webhooks", `{"url":"http://127.0.0.1:1/%s"}`},
		{"/v1/templates", `{"subject":"%s","text":"text"}`},
	} {
		first := fmt.Sprintf(one.body, "first")
		former := ask(one.path+"?requestId=first", first)
		other := ask(one.path+"?requestId=second", fmt.Sprintf(one.body, "second"))
		overwrite(t, kv, other, former)
		if why := p.refusal(t, http.MethodPost, one.path+"?requestId=first", first); why != "INTERNAL" {
			t.Errorf("%s: the repeated request is answered with %q", one.path, why)
		}
	}
}
