package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/postern-mail/postern/internal/dovecottest"
)

// told counts the account's events of a type.
func (p *process) told(t *testing.T, typ string) int {
	t.Helper()
	answer, err := p.client().call(t.Context(), http.MethodGet, "/v1/accounts/ann/events?types="+typ, nil)
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		Events []json.RawMessage `json:"events"`
	}
	if err := json.Unmarshal(answer, &list); err != nil {
		t.Fatal(err)
	}
	return len(list.Events)
}

func (p *process) command(t *testing.T, verb string) {
	t.Helper()
	if _, err := p.client().call(t.Context(), http.MethodPost, "/v1/accounts/ann:"+verb, json.RawMessage("{}")); err != nil {
		t.Fatal(err)
	}
}

func (p *process) awaitTold(t *testing.T, typ string, n int) {
	t.Helper()
	await(t, fmt.Sprintf("%d events %s", n, typ), func() bool { return p.told(t, typ) >= n })
	if got := p.told(t, typ); got != n {
		t.Errorf("%d events %s, want %d", got, typ, n)
	}
}

// Old mail is told of on request, and an account is paused, resumed, reconnected
// and compared anew, all through the front door.
func TestServeBackfillAndCommands(t *testing.T) {
	t.Parallel()
	server := dovecottest.Shared(t)
	username, password := server.User(t)
	server.Deliver(t, username, "INBOX", mail("older"))
	server.Deliver(t, username, "INBOX", mail("old"))
	p := serveIn(t, t.TempDir(), toDovecot)
	_, err := p.client().call(t.Context(), http.MethodPost, "/v1/accounts?accountId=ann", json.RawMessage(fmt.Sprintf(
		`{"email":"ann@example.com","backfill":"ENVELOPES","imap":{"host":%q,"port":%d,"tlsMode":"PLAINTEXT","username":%q,"password":%q}}`,
		server.Host(), server.Port(), username, password)))
	if err != nil {
		t.Fatal(err)
	}
	p.awaitTold(t, "account.sync_completed", 1)
	p.awaitTold(t, "account.sync_started", 1)
	p.awaitArrivals(t, "old", "older")

	p.command(t, "pause")
	p.awaitTold(t, "account.paused", 1)
	server.Deliver(t, username, "INBOX", mail("meanwhile"))
	p.command(t, "resume")
	p.awaitState(t, "CONNECTED")
	p.awaitTold(t, "account.resumed", 1)
	p.awaitArrivals(t, "old", "older", "meanwhile")

	p.command(t, "resync")
	p.awaitTold(t, "account.sync_completed", 2)
	p.command(t, "reconnect")
	p.awaitTold(t, "account.owner_changed", 4)
	p.awaitState(t, "CONNECTED")
	server.Deliver(t, username, "INBOX", mail("new"))
	p.awaitArrivals(t, "old", "older", "meanwhile", "new")
}
