package idle

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/dovecottest"
	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/linktest"
	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/natsdtest"
)

const (
	// chaosSeed names the environment variable with the seed of a run that is to
	// be repeated.
	chaosSeed = "POSTERN_CHAOS_SEED"
	// chaosFaults is how many faults a run has.
	chaosFaults = 25
)

// seeded gives a source of randomness and logs how to have the same again.
func seeded(t *testing.T) *rand.Rand {
	seed := rand.Uint64()
	if text := os.Getenv(chaosSeed); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%s=%d", chaosSeed, seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// chaos is a mailbox that gets mail, with everything around its owner breaking.
type chaos struct {
	*world
	random    *rand.Rand
	nats      *natsd.Server
	config    natsd.Config
	natsLine  *linktest.Link
	imapLine  *linktest.Link
	mailbox   *dovecottest.Server
	user      string
	stop      func()
	delivered int
}

// Links to the mail server and to NATS are cut and frozen, NATS is restarted,
// owners come and go and overlap, while mail arrives. Each message is announced
// once.
func TestChaos(t *testing.T) {
	t.Parallel()
	c := &chaos{random: seeded(t), config: natsd.Config{DataDir: t.TempDir()}}
	c.nats = natsdtest.Start(t, c.config)
	c.natsLine = linktest.New(t, c.nats.Addr(), nil)
	c.world = openWorld(t, jetStreamOver(t, c.natsLine, c.nats), t.TempDir()+"/secret.key")
	c.retryCap = 300 * time.Millisecond
	c.mailbox = dovecottest.Shared(t)
	c.imapLine = linktest.New(t, c.mailbox.Addr(), nil)
	var password string
	c.user, password = c.mailbox.User(t)
	c.register("ann", "127.0.0.1", c.imapLine.Port(), c.user, password)
	c.stop = c.start()
	c.awaitState("ann", account.Connected)

	for range chaosFaults {
		for range c.random.IntN(6) {
			c.deliver(pick(c.random, "INBOX", "INBOX", "Archive", "Work"))
		}
		pick(c.random, c.cutIMAP, c.freezeIMAP, c.cutNATS, c.freezeNATS, c.restartNATS, c.restartOwner, c.twoOwners)()
	}
	for _, name := range []string{"INBOX", "Archive", "Work"} {
		c.deliver(name)
	}
	c.awaitCreated("ann", c.delivered)
	c.stop()
	c.checkExactlyOnce("ann", c.mailbox, c.user, "INBOX", "Archive", "Work")
	if gaps := c.events("ann", event.TypeAccountGap); len(gaps) > 0 {
		t.Errorf("gaps were announced: %+v", gaps[0].Data)
	}
}

func (c *chaos) deliver(name string) {
	c.mailbox.Deliver(c.t, c.user, name, mail(fmt.Sprintf("number %d", c.delivered)))
	c.delivered++
}

// moment is how long a fault lasts. It is what the test is about, not a way to
// wait for something.
func (c *chaos) moment() {
	<-time.After(time.Duration(c.random.IntN(150)) * time.Millisecond)
}

func (c *chaos) cutIMAP() {
	c.moment()
	c.imapLine.Cut()
}

func (c *chaos) freezeIMAP() {
	c.imapLine.Freeze()
	c.moment()
	c.deliver("INBOX")
	pick(c.random, c.imapLine.Cut, func() {})()
	c.imapLine.Thaw()
}

func (c *chaos) cutNATS() {
	c.moment()
	c.natsLine.Cut()
}

func (c *chaos) freezeNATS() {
	c.natsLine.Freeze()
	c.deliver("INBOX")
	c.moment()
	pick(c.random, c.natsLine.Cut, func() {})()
	c.natsLine.Thaw()
}

func (c *chaos) restartNATS() {
	c.moment()
	natsdtest.Stop(c.t, c.nats)
	c.deliver("INBOX")
	c.nats = natsdtest.Start(c.t, c.config)
	c.natsLine.Lead(c.nats.Addr())
}

func (c *chaos) restartOwner() {
	c.moment()
	c.stop()
	c.deliver("Archive")
	c.stop = c.start()
}

// twoOwners lets a second owner take the account from the first, which still
// believes in itself, until one of them is stopped.
func (c *chaos) twoOwners() {
	first, second := c.stop, c.start()
	c.moment()
	c.deliver("INBOX")
	if c.random.IntN(2) == 0 {
		first, second = second, first
	}
	first()
	c.stop = second
}
