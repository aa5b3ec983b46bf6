package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/dovecottest"
)

// The proofs break everything around a real process and judge from outside what
// it did: mail goes in through go-imap's client, which also says in the end what
// is there, and the log is read by a plain NATS client. Without flags they run
// in a short form; `make soak` runs the long one.
var (
	long       = flag.Bool("long", false, "run the proofs in their long form, and hold them to their times")
	proofSeed  = flag.Uint64("seed", 0, "repeat the proofs' run that printed this `SEED`")
	kills      = flag.Int("kills", 0, "kill the process `N` times, where a proof kills it")
	restarts   = flag.Int("restarts", 0, "restart the mail server `N` times")
	accounts   = flag.Int("accounts", 0, "watch `N` accounts")
	deliveries = flag.Int("deliveries", 0, "deliver `N` messages")
	outage     = flag.Duration("outage", 0, "how long links and NATS are away")
)

// inForm is a figure of a proof, in the form that the proofs run in.
func inForm[T int | string | time.Duration](inShort, inLong T) T {
	if *long {
		return inLong
	}
	return inShort
}

// scaled is a figure that a flag may set.
func scaled[T int | time.Duration](given *T, inShort, inLong T) T {
	if *given != 0 {
		return *given
	}
	return inForm(inShort, inLong)
}

// patience bounds the waits of proofs for what has no stated time. A proof that
// fails runs into it once.
const patience = 3 * time.Minute

// proof is a process with mailboxes that it watches, and what was done to them.
type proof struct {
	t      *testing.T
	seed   uint64
	random *rand.Rand
	began  time.Time

	mail *dovecottest.Server
	// dir is the data directory; serve, where the process listens and where its
	// NATS is, and args are what it is started with beside it. natsURL gives
	// where the log can be read.
	dir     string
	serve   []string
	args    []string
	natsURL func() string

	node      *process
	mailboxes []*mailbox
	// port is where accounts are told the mail server is: that of a link in front
	// of it; 0 is the server's own.
	port int
}

// newProof prepares a proof on a mail server of its own.
func newProof(t *testing.T, options ...dovecottest.Option) *proof {
	t.Helper()
	p := &proof{t: t, seed: *proofSeed, began: time.Now(), dir: filepath.Join(t.TempDir(), "data")}
	if p.seed == 0 {
		p.seed = rand.Uint64()
	}
	p.random = p.source(0)
	p.serve = loopback
	p.args = []string{toDovecot, "--poll-interval=2s"}
	p.natsURL = func() string { return readURL(t, p.dir) }
	p.mail = dovecottest.Start(t, options...)
	t.Cleanup(func() {
		t.Logf("seed %d, %s", p.seed, time.Since(p.began).Round(time.Second))
		if t.Failed() && p.node != nil {
			text := p.node.stderr.String()
			t.Logf("log of the last process:\n%s", text[max(0, len(text)-32<<10):])
		}
	})
	return p
}

// source is a source of randomness that follows from the seed.
func (p *proof) source(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(p.seed, stream)) }

// begin starts the process, without waiting for it.
func (p *proof) begin() {
	p.t.Helper()
	args := slices.Concat([]string{"serve", "--data-dir=" + p.dir}, p.serve, p.args)
	p.node = begin(p.t, []string{"POSTERN_ADMIN_TOKEN=" + proofToken}, args...)
	p.node.token = proofToken
}

const proofToken = "0123456789abcdef0123456789abcdef"

// start starts the process and waits until it is ready, which it returns how
// long it took.
func (p *proof) start() time.Duration {
	p.t.Helper()
	began := time.Now()
	p.begin()
	p.node.awaitReady(p.t)
	await(p.t, "readiness", func() bool { return p.get("/readyz", nil) == nil })
	took := time.Since(began)
	if took > readyLimit {
		p.t.Logf("the process was slow to be ready, %s after %s:\n%s", took, began.UTC().Format(time.StampMilli), p.node.stderr)
	}
	return took
}

// readyLimit is how soon a process is to be ready.
const readyLimit = 5 * time.Second

// restart stops the process by a signal, and starts it again.
func (p *proof) restart() {
	p.t.Helper()
	p.node.stop(p.t)
	p.start()
}

// get calls the API and decodes its answer.
func (p *proof) get(path string, into any) error {
	answer, err := p.node.client().call(p.t.Context(), http.MethodGet, path, nil)
	if err != nil || into == nil {
		return err
	}
	return json.Unmarshal(answer, into)
}

// register registers n accounts, each with an empty mailbox, and waits until
// they are watched.
func (p *proof) register(n int) {
	p.t.Helper()
	for range n {
		user, _ := p.mail.User(p.t)
		p.enroll(p.newMailbox(fmt.Sprintf("a%d", len(p.mailboxes)), user))
	}
	p.awaitConnected()
}

// enroll registers a mailbox as an account.
func (p *proof) enroll(m *mailbox) {
	p.t.Helper()
	p.mailboxes = append(p.mailboxes, m)
	port := p.port
	if port == 0 {
		port = p.mail.Port()
	}
	_, err := p.node.client().call(p.t.Context(), http.MethodPost, "/v1/accounts?accountId="+m.id, json.RawMessage(fmt.Sprintf(
		`{"email":"ann@example.com","imap":{"host":"127.0.0.1","port":%d,"tlsMode":"PLAINTEXT","username":%q,"password":%q}}`,
		port, m.user, p.mail.Password())))
	if err != nil {
		p.t.Fatal(err)
	}
}

// states counts the accounts in each state.
func (p *proof) states() map[string]int {
	var list struct {
		Accounts []struct{ State string }
	}
	states := map[string]int{}
	if p.get("/v1/accounts?pageSize=500", &list) == nil {
		for _, a := range list.Accounts {
			states[a.State]++
		}
	}
	return states
}

// awaitConnected waits until all accounts are watched, and returns how long that
// took.
func (p *proof) awaitConnected() time.Duration {
	p.t.Helper()
	began := time.Now()
	p.await("all accounts to be watched", patience, func() bool { return p.states()["CONNECTED"] == len(p.mailboxes) })
	return time.Since(began)
}

// await waits for a condition that may take a while and costs something to look
// at.
func (p *proof) await(what string, limit time.Duration, condition func() bool) {
	p.t.Helper()
	end := time.Now().Add(limit)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		if time.Now().After(end) {
			p.t.Fatalf("waited %s in vain for %s", limit, what)
		}
		<-tick.C
	}
}

// pause lets a random time pass, up to a limit: the moment of a fault is what is
// random.
func (p *proof) pause(limit time.Duration) {
	<-time.After(time.Duration(p.random.Int64N(int64(limit))))
}

// within reports the times, and in the long form fails the test if one is over
// the limit: the short form shares its machine with other tests, where a time
// proves nothing.
func (p *proof) within(limit time.Duration, what string, took ...time.Duration) {
	p.t.Helper()
	var longest, sum time.Duration
	for _, d := range took {
		longest, sum = max(longest, d), sum+d
	}
	if len(took) > 0 {
		p.t.Logf("%s: %d times, mean %s, at most %s (limit %s)", what, len(took),
			(sum / time.Duration(len(took))).Round(time.Millisecond), longest.Round(time.Millisecond), limit)
	}
	if *long && longest > limit {
		p.t.Errorf("%s took %s, the limit is %s", what, longest, limit)
	}
}
