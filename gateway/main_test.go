package gateway_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/dovecottest"
	"github.com/postern-mail/postern/internal/eventlog"
	"github.com/postern-mail/postern/internal/sandbox"
)

// The house and the sandbox that most tests share. Each test takes accounts of
// its own, so they do not see each other.
var shared struct {
	house   func() (*house, error)
	sandbox *sandbox.Server
	down    []func()
}

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "postern-gateway")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if shared.sandbox, err = sandbox.Start(context.Background(), sandbox.Config{}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer shared.sandbox.Close()
	defer closeMemories()
	shared.house = sync.OnceValues(func() (*house, error) {
		h, down, err := build(dir, options{events: eventlog.Config{Heartbeat: 400 * time.Millisecond}})
		if err == nil {
			shared.down = append(shared.down, down)
		}
		return h, err
	})
	defer func() {
		for _, down := range shared.down {
			down()
		}
	}()
	return m.Run()
}

// sharedHouse is the house for tests that do not stop or fill it.
func sharedHouse(t testing.TB) *house {
	t.Helper()
	h, err := shared.house()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// register registers a mailbox over REST and gives the account's name.
func (h *house) register(t testing.TB, host string, port int, username, password string) string {
	t.Helper()
	id := freshID()
	a := h.do(t, http.MethodPost, "/v1/accounts?accountId="+id, object{
		"email": username,
		"imap":  object{"host": host, "port": port, "tlsMode": "PLAINTEXT", "username": username, "password": password},
	})
	if name := a.ok(t)["name"]; name != "accounts/"+id {
		t.Fatalf("created %v, want %s", name, id)
	}
	return "accounts/" + id
}

// demo is an account over the sandbox's sample mail.
func (h *house) demo(t testing.TB) string {
	t.Helper()
	return h.register(t, shared.sandbox.Host(), shared.sandbox.Port(), sandbox.Username, sandbox.Password)
}

// demoUser is an account over an empty mailbox of the sandbox.
func (h *house) demoUser(t testing.TB) string {
	t.Helper()
	user := freshID() + "@example.org"
	if err := shared.sandbox.AddUser(user, "secret"); err != nil {
		t.Fatal(err)
	}
	return h.register(t, shared.sandbox.Host(), shared.sandbox.Port(), user, "secret")
}

// dovecot is an account over an empty mailbox of a real Dovecot.
func (h *house) dovecot(t testing.TB) (name, username string, server *dovecottest.Server) {
	t.Helper()
	server = dovecottest.Shared(t)
	username, password := server.User(t)
	return h.register(t, server.Host(), server.Port(), username, password), username, server
}
