package main

import (
	"testing"

	"github.com/postern-mail/postern/internal/dovecottest"
	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/natsdtest"
)

// Of two nodes on one NATS one watches. The other serves the API all the same,
// and takes over when the first is gone; nothing is announced twice.
func TestServeStandby(t *testing.T) {
	t.Parallel()
	store := natsdtest.Start(t, natsd.Config{})
	server := dovecottest.Shared(t)
	username, password := server.User(t)
	env := []string{"POSTERN_ADMIN_TOKEN=0123456789abcdef0123456789abcdef"}
	key := t.TempDir() + "/secret.key" // both nodes open the same credentials
	node := func() *process {
		p := launch(t, env, "serve", "--http=127.0.0.1:0", "--grpc=127.0.0.1:0", "--data-dir="+t.TempDir(),
			"--key-file="+key, "--nats-url="+store.URL().Reveal(), toDovecot)
		p.token = "0123456789abcdef0123456789abcdef"
		return p
	}
	first := node()
	first.register(t, server, username, password)
	second := node()
	server.Deliver(t, username, "INBOX", mail("one"))
	second.awaitArrivals(t, "one")
	first.kill(t)
	server.Deliver(t, username, "INBOX", mail("two"))
	second.awaitArrivals(t, "one", "two")
	third := node()
	server.Deliver(t, username, "INBOX", mail("three"))
	third.awaitArrivals(t, "one", "two", "three")
	second.stop(t) // gives the lease back, so that nobody waits for its end
	server.Deliver(t, username, "INBOX", mail("four"))
	third.awaitArrivals(t, "one", "two", "three", "four")
}
