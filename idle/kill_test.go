package idle

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/dovecottest"
	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/natsdtest"
)

// kills is how often the watching process is killed.
const kills = 10

// A process that watches is killed at random moments while mail arrives in many
// accounts. Each message is announced once.
func TestKilled(t *testing.T) {
	t.Parallel()
	random := seeded(t)
	server := natsdtest.Start(t, natsd.Config{})
	keyFile := t.TempDir() + "/secret.key"
	w := openWorld(t, natsdtest.JetStream(t, server), keyFile)
	const accounts = 4
	users := make([]string, accounts)
	delivered := make([]int, accounts)
	id := func(i int) string { return fmt.Sprint("user", i) }
	var mailServer *dovecottest.Server
	for i := range users {
		mailServer, users[i] = w.mailbox(id(i))
	}
	deliver := func(i int, name string) {
		mailServer.Deliver(t, users[i], name, mail(fmt.Sprintf("number %d", delivered[i])))
		delivered[i]++
	}
	watch := func() (kill func()) {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), childRole+"="+roleWatch, childNATS+"="+server.URL().Reveal(), childKey+"="+keyFile)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait() // it was killed
		}
	}
	// The mailboxes have to be known before there is new mail.
	kill := watch()
	for i := range users {
		w.awaitState(id(i), account.Connected)
	}
	for range kills {
		for range 1 + random.IntN(12) {
			deliver(random.IntN(accounts), pick(random, "INBOX", "INBOX", "Archive"))
		}
		<-time.After(time.Duration(random.IntN(250)) * time.Millisecond) // the moment is what is random
		kill()
		deliver(random.IntN(accounts), "INBOX")
		kill = watch()
	}
	for i := range users {
		deliver(i, "INBOX")
		deliver(i, "Archive")
	}
	for i := range users {
		w.awaitCreated(id(i), delivered[i])
	}
	kill()
	for i := range users {
		w.checkExactlyOnce(id(i), mailServer, users[i], "INBOX", "Archive")
	}
}
