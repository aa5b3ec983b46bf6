package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/postern-mail/postern/internal/dovecottest"
	"github.com/postern-mail/postern/internal/keyring"
	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/natsdtest"
	"github.com/postern-mail/postern/internal/secret"
)

// listKeys runs `postern keys list --format=json`.
func listKeys(t *testing.T, env []string, args ...string) map[secret.KeyID]keyRow {
	t.Helper()
	o := execute(t, env, append([]string{"keys", "list", "--format=json"}, args...)...)
	if o.code != exitOK {
		t.Fatalf("keys list: %s", o.stderr)
	}
	var list struct {
		Keys []keyRow `json:"keys"`
	}
	if err := json.Unmarshal([]byte(o.stdout), &list); err != nil {
		t.Fatal(err)
	}
	rows := make(map[secret.KeyID]keyRow)
	for _, row := range list.Keys {
		rows[row.Key] = row
	}
	return rows
}

// rotateKeys runs `postern keys rotate` and gives the new key.
func rotateKeys(t *testing.T, args ...string) secret.KeyID {
	t.Helper()
	o := execute(t, nil, append([]string{"keys", "rotate"}, args...)...)
	var path string
	var added secret.KeyID
	if _, err := fmt.Sscanf(o.stderr, "%s added key %d and", &path, &added); o.code != exitOK || err != nil || o.stdout != "" {
		t.Fatalf("code %d, %v: %s%s", o.code, err, o.stdout, o.stderr)
	}
	return added
}

// get reads a resource.
func (p *process) get(t *testing.T, path string) map[string]any {
	t.Helper()
	answer, err := p.client().call(t.Context(), http.MethodGet, path, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(answer, &got); err != nil {
		t.Fatal(err)
	}
	return got
}

// post creates a resource.
func (p *process) post(t *testing.T, path, body string) {
	t.Helper()
	if _, err := p.client().call(t.Context(), http.MethodPost, path, json.RawMessage(body)); err != nil {
		t.Fatal(err)
	}
}

// eventCount counts the events of account ann.
func (p *process) eventCount(t *testing.T) int {
	t.Helper()
	return len(p.get(t, "/v1/accounts/ann/events?pageSize=500")["events"].([]any))
}

// The keys of a running process are rotated: nobody who uses it sees anything of it.
func TestKeysRotate(t *testing.T) {
	t.Parallel()
	server := dovecottest.Shared(t)
	username, password := server.User(t)
	dir := filepath.Join(t.TempDir(), "data")
	inDir := "--data-dir=" + dir
	p := serveIn(t, dir, toDovecot)
	p.register(t, server, username, password)
	p.post(t, "/v1/webhooks?webhookId=hook", `{"url":"http://127.0.0.1:1/hook","headers":{"X-Key":"value"}}`)
	server.Deliver(t, username, "INBOX", mail("one"))
	p.awaitArrivals(t, "one")
	before := map[string]map[string]any{"/v1/accounts/ann": nil, "/v1/webhooks/hook": nil}
	for path := range before {
		before[path] = p.get(t, path)
	}
	events := p.eventCount(t)
	_, former, err := secret.InFile(filepath.Join(dir, "secret.key")).Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	added := rotateKeys(t, inDir)
	await(t, "the old key not to be needed by records that stay", func() bool {
		rows := listKeys(t, nil, inDir)
		return rows[added].State == "seals" && rows[added].Records["accounts"] == 1 && rows[added].Records["webhooks"] == 1 &&
			rows[former].Records["accounts"]+rows[former].Records["webhooks"]+rows[former].Records["derived keys"] == 0
	})
	for path, was := range before {
		is := p.get(t, path)
		for _, field := range []string{"etag", "updateTime", "state", "disabled", "headers", "imap"} {
			if fmt.Sprint(is[field]) != fmt.Sprint(was[field]) {
				t.Errorf("%s of %s was %v and is %v", field, path, was[field], is[field])
			}
		}
	}
	if n := p.eventCount(t); n != events {
		t.Errorf("there are %d events, there were %d", n, events)
	}
	if log := p.stderr.String(); strings.Count(log, "connected") > 1 {
		t.Errorf("the account was connected again:\n%s", log)
	}
	// It still is the same login.
	server.Deliver(t, username, "INBOX", mail("two"))
	p.awaitArrivals(t, "one", "two")

	o := execute(t, nil, "keys", "retire", inDir)
	o.failed(t, "less than 24h0m0s", "--now")
	await(t, "the old key to be retired", func() bool {
		return execute(t, nil, "keys", "retire", "--now", fmt.Sprint("--key=", former), inDir).code == exitOK
	})
	p.kill(t)
	rows := listKeys(t, nil, inDir) // of a directory that nobody uses
	if len(rows) != 1 || rows[added].State != "seals" {
		t.Errorf("there are %v, want the new key alone", rows)
	}
	p = serveIn(t, dir, toDovecot)
	server.Deliver(t, username, "INBOX", mail("three"))
	p.awaitArrivals(t, "one", "two", "three")
}

// Two nodes have copies of the key file, which change one after the other. Each
// opens at all times what the other one seals.
func TestKeysRotateOnTwoNodes(t *testing.T) {
	t.Parallel()
	store := natsdtest.Start(t, natsd.Config{})
	const token = "0123456789abcdef0123456789abcdef"
	env := []string{"POSTERN_ADMIN_TOKEN=" + token, "POSTERN_NATS_URL=" + store.URL().Reveal()}
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	start := func(name string) *process {
		p := launch(t, env, "serve", "--http=127.0.0.1:0", "--grpc=127.0.0.1:0", "--data-dir="+t.TempDir(), "--key-file="+file(name))
		p.token = token
		return p
	}
	copyTo := func(from, to string) {
		content, err := os.ReadFile(file(from))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file(to)+".new", content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file(to)+".new", file(to)); err != nil {
			t.Fatal(err)
		}
	}
	one := start("one")
	copyTo("one", "two")
	two := start("two")
	seals := func() (active secret.KeyID) {
		for id, row := range listKeys(t, env, "--key-file="+file("one")) {
			if row.State == "seals" {
				active = id
			}
		}
		return active
	}
	former := seals()
	n := 0
	// each node makes an account, and both read both.
	mix := func() {
		for _, p := range []*process{one, two} {
			n++
			p.post(t, fmt.Sprintf("/v1/accounts?accountId=a%d", n), fmt.Sprintf(
				`{"email":"a@example.com","imap":{"host":"127.0.0.1","port":1,"tlsMode":"TLS","username":"a","password":"p%d"}}`, n))
			for _, reader := range []*process{one, two} {
				reader.get(t, fmt.Sprintf("/v1/accounts/a%d", n))
			}
		}
	}
	mix()
	added := rotateKeys(t, "--key-file="+file("one"))
	await(t, "the first node to read the changed file", func() bool { return strings.Contains(one.stderr.String(), "read the changed key set") })
	mix()
	if got := seals(); got != former {
		t.Errorf("key %d seals although one node does not have it", got)
	}
	copyTo("one", "two")
	for seals() != added {
		mix() // while the key is about to be used
	}
	mix()
	await(t, "all records to be sealed with the new key", func() bool {
		rows := listKeys(t, env, "--key-file="+file("two"))
		return rows[added].Records["accounts"] == n && rows[former].Records["accounts"] == 0
	})
	mix()
	for _, p := range []*process{one, two} {
		if log := p.stderr.String(); strings.Contains(log, "left out") || strings.Contains(log, "does not open") {
			t.Errorf("a record did not open:\n%s", log)
		}
	}
	// A node with the key set of before is refused, and told why.
	if _, err := secret.InFile(file("three")).Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	o := execute(t, env, "serve", "--http=127.0.0.1:0", "--grpc=127.0.0.1:0", "--data-dir="+t.TempDir(), "--key-file="+file("three"))
	o.failed(t, fmt.Sprintf("does not have key %d", added))
}

// A process that is killed again and again while it seals anew leaves every record
// whole, and the next one goes on.
func TestKeysResealKilled(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	inDir := "--data-dir=" + dir
	p := serveIn(t, dir)
	const accounts, atOnce = 60, 8
	for i := range accounts {
		p.post(t, fmt.Sprintf("/v1/accounts?accountId=a%d", i), fmt.Sprintf(
			`{"email":"a%d@example.com","imap":{"host":"127.0.0.1","port":1,"tlsMode":"TLS","username":"u%d","password":"p%d"},"labels":{"n":"%d"}}`, i, i, i, i))
	}
	settings := func(p *process) (all []string) {
		for _, one := range p.get(t, "/v1/accounts?pageSize=500")["accounts"].([]any) {
			a := one.(map[string]any)
			all = append(all, fmt.Sprint(a["name"], a["etag"], a["updateTime"], a["imap"], a["labels"]))
		}
		return all
	}
	before := settings(p)
	token := p.token
	updates := subscribe(t, dir, "$KV.postern_accounts.account.>")
	added := rotateKeys(t, inDir)
	for kill := range 4 {
		for range atOnce {
			if _, err := updates.NextMsg(20 * time.Second); err != nil {
				break // it had sealed nearly all before anybody listened
			}
		}
		p.kill(t)
		t.Logf("%d of %d sealed anew at kill %d", listKeys(t, nil, inDir)[added].Records["accounts"], accounts, kill+1)
		p = begin(t, nil, append([]string{"serve", inDir}, loopback...)...)
		p.token = token
		await(t, "the NATS server to be there again", func() bool {
			conn, err := nats.Connect(readURL(t, dir), nats.Timeout(deadline))
			if err != nil {
				return false
			}
			t.Cleanup(conn.Close)
			updates, err = conn.SubscribeSync("$KV.postern_accounts.account.>")
			return err == nil && conn.Flush() == nil
		})
	}
	p.awaitReady(t)
	await(t, "all records to be sealed anew", func() bool {
		return listKeys(t, nil, inDir)[added].Records["accounts"] == accounts
	})
	if after := settings(p); !slices.Equal(after, before) {
		t.Errorf("the accounts were\n%s\nand are\n%s", before, after)
	}
	if strings.Contains(p.stderr.String(), "left out") {
		t.Error("an account does not open")
	}
}

// Where the key set is in the environment or comes from a command, a rotation prints
// the new one.
func TestKeysElsewhere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "secret.key")
	if _, err := secret.OpenFile(path); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	byCommand := "--key-command=cat " + path
	p := serveIn(t, filepath.Join(dir, "data"), byCommand)
	p.post(t, "/v1/accounts?accountId=ann", `{"email":"a@example.com","imap":{"host":"127.0.0.1","port":1,"tlsMode":"TLS","username":"a","password":"p"}}`)
	p.stop(t)
	o := execute(t, nil, "keys", "rotate", byCommand)
	if o.code != exitOK || o.stdout == "" {
		t.Fatalf("code %d: %s", o.code, o.stderr)
	}
	if now, err := os.ReadFile(path); err != nil || !slices.Equal(now, content) {
		t.Errorf("the file was changed (%v)", err)
	}
	if err := os.WriteFile(path, []byte(o.stdout), 0o600); err != nil {
		t.Fatal(err)
	}
	p = serveIn(t, filepath.Join(dir, "data"), byCommand)
	await(t, "the new key to seal all", func() bool {
		rows := listKeys(t, nil, "--data-dir="+filepath.Join(dir, "data"), byCommand)
		seals := 0
		for _, row := range rows {
			if row.State == "seals" {
				seals = row.Records["accounts"]
			}
		}
		return len(rows) == 2 && seals == 1
	})
	p.stop(t)

	for command, says := range map[string]string{
		"false":                  "exit status 1",
		"ls /no-such-file":       "no-such-file",
		"true":                   "prints nothing",
		"/no/such/program":       "no such file",
		"echo canary-of-command": "damaged",
	} {
		o := execute(t, nil, "serve", "--data-dir="+t.TempDir(), "--key-command="+command, "--http=127.0.0.1:0", "--grpc=127.0.0.1:0", "--nats=127.0.0.1:0")
		if o.code != exitFailed || !strings.Contains(o.stderr, says) || strings.Count(o.stderr, "canary") > 1 {
			t.Errorf("%s: code %d, %q; want that it says %q", command, o.code, o.stderr, says)
		}
	}
}

func TestRetirable(t *testing.T) {
	t.Parallel()
	const old, older, active, next secret.KeyID = 1, 2, 3, 4
	now := time.Now()
	source := secret.Given("here", secret.New("{}"))
	survey := func(change func(*keySurvey)) *keySurvey {
		k := &keySurvey{source: source, ids: []secret.KeyID{older, old, active}, primary: active, Survey: &keyring.Survey{
			Active: active, Since: now.Add(-25 * time.Hour), Records: map[secret.KeyID]map[string]int{active: {"accounts": 3}},
		}}
		if change != nil {
			change(k)
		}
		return k
	}
	cases := map[string]struct {
		keys *keySurvey
		only secret.KeyID
		now  bool
		want []secret.KeyID
		says string
	}{
		"all that are free":      {keys: survey(nil), want: []secret.KeyID{older, old}},
		"one":                    {keys: survey(nil), only: old, want: []secret.KeyID{old}},
		"one that is not there":  {keys: survey(nil), only: 9, says: "no key 9"},
		"the one that seals":     {keys: survey(nil), only: active, says: "rotate"},
		"needed":                 {keys: survey(func(k *keySurvey) { k.Records[old] = map[string]int{"accounts": 2} }), only: old, says: "2 accounts"},
		"the others":             {keys: survey(func(k *keySurvey) { k.Records[old] = map[string]int{"accounts": 2} }), want: []secret.KeyID{older}},
		"a rotation under way":   {keys: survey(func(k *keySurvey) { k.ids, k.primary = append(k.ids, next), next }), says: "has not yet"},
		"too early":              {keys: survey(func(k *keySurvey) { k.Since = now.Add(-time.Hour) }), says: "23h0m0s"},
		"too early all the same": {keys: survey(func(k *keySurvey) { k.Since = now }), now: true, says: "15s"},
		"early and told so":      {keys: survey(func(k *keySurvey) { k.Since = now.Add(-time.Hour) }), now: true, want: []secret.KeyID{older, old}},
		"a node that lags":       {keys: survey(func(k *keySurvey) { k.Nodes = append(k.Nodes, keyring.Node{Name: "two", Uses: old}) }), says: "node two"},
		"nothing there":          {keys: survey(func(k *keySurvey) { k.ids = []secret.KeyID{active}; k.Since = now })},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := c.keys.retirable(now, c.only, c.now)
			if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
				t.Fatalf("error %v, want one that says %q", err, c.says)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}
