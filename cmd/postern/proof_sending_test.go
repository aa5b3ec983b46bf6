package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/postern-mail/postern/internal/smtptest"
)

// The process is killed again and again while it is given messages and sends them.
// Every message that it took reaches the server; one that nobody can know of is held,
// and only those may arrive twice, after somebody has said so.
func TestProofSendingKilled(t *testing.T) {
	t.Parallel()
	p := newProof(t)
	p.start()
	p.register(scaled(accounts, 2, 6))
	o := newOutgoing(p)
	times, n := scaled(kills, 4, 100), scaled(deliveries, 100, 5_000)
	for round := range times {
		o.offer(n * (round + 1) / times)
		p.pause(600 * time.Millisecond)
		p.node.kill(t)
		if p.random.IntN(4) == 0 { // in the midst of its start
			p.begin()
			p.pause(500 * time.Millisecond)
			p.node.kill(t)
		}
		p.start()
		o.base.Store(&p.node.base)
	}
	o.finish()
	p.awaitConnected()

	held := o.judge(n)
	t.Logf("%d kills, %d messages taken after %d calls, %d in doubt, of which %d had arrived",
		times, n, o.calls.Load(), len(held), o.arrived(held))
	o.release(held)
	o.judgeEvents(n)
}

// outgoing sends messages from all of a proof's accounts, as many callers that each
// repeat a call until it is answered.
type outgoing struct {
	proof *proof
	sink  *smtptest.Server
	base  atomic.Pointer[string] // of the API
	calls atomic.Int64

	jobs    chan int
	offered int
	callers sync.WaitGroup

	mu sync.Mutex
	// taken are the submissions that the API gave for each message.
	taken  map[int]string
	faults []string
}

// callersOfProof is how many calls are made at a time.
const callersOfProof = 16

func newOutgoing(p *proof) *outgoing {
	p.t.Helper()
	o := &outgoing{proof: p, jobs: make(chan int, 10_000), taken: map[int]string{}}
	var mu sync.Mutex
	random := p.source(1 << 33)
	o.sink = smtptest.Start(p.t, smtptest.Config{
		Rcpt: func(to string) error {
			if strings.HasPrefix(to, "nobody@") {
				return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
			}
			return nil
		},
		// The time in which a kill leaves a doubt.
		Data: func(*smtptest.Delivery) error {
			mu.Lock()
			wait := time.Duration(random.Int64N(int64(100 * time.Millisecond)))
			mu.Unlock()
			<-time.After(wait)
			return nil
		},
	})
	for _, m := range p.mailboxes {
		body := json.RawMessage(fmt.Sprintf(`{"smtp":{"host":%q,"port":%d,"tlsMode":"PLAINTEXT","username":%q,"password":%q}}`,
			o.sink.Host, o.sink.Port, smtptest.Username, smtptest.Password))
		if _, err := p.node.client().call(p.t.Context(), http.MethodPatch, "/v1/accounts/"+m.id, body); err != nil {
			p.t.Fatal(err)
		}
	}
	o.base.Store(&p.node.base)
	for i := range callersOfProof {
		random := p.source(1<<34 + uint64(i))
		o.callers.Go(func() {
			for job := range o.jobs {
				o.send(job, random)
			}
		})
	}
	return o
}

// offer has the callers send messages until there are n.
func (o *outgoing) offer(n int) {
	for ; o.offered < n; o.offered++ {
		o.jobs <- o.offered
	}
}

// finish waits until all messages are taken.
func (o *outgoing) finish() {
	close(o.jobs)
	o.callers.Wait()
}

// account is the account that a message is sent from.
func (o *outgoing) account(job int) string {
	return o.proof.mailboxes[job%len(o.proof.mailboxes)].id
}

// subjectOf tells messages apart, saved those of which a copy is put into Sent.
func subjectOf(job int) string { return fmt.Sprintf("message %d", job) }
func saved(job int) bool       { return job%10 == 0 }

// send gives a message to the API until that says that it has it.
func (o *outgoing) send(job int, random *rand.Rand) {
	content := map[string]any{
		"to": []any{map[string]string{"address": "bob@example.com"}}, "subject": subjectOf(job), "text": "Hello.\n", "saveToSent": "NEVER",
	}
	if saved(job) {
		content["saveToSent"] = "AUTO"
	}
	if job%7 == 0 {
		content["cc"] = []any{map[string]string{"address": "nobody@example.com"}}
	}
	body, err := json.Marshal(content)
	if err != nil {
		panic(err)
	}
	for end := time.Now().Add(patience); ; {
		name, err := o.post(job, body)
		switch {
		case err == nil:
			o.mu.Lock()
			defer o.mu.Unlock()
			o.taken[job] = name
			return
		case time.Now().After(end):
			o.mu.Lock()
			defer o.mu.Unlock()
			o.faults = append(o.faults, fmt.Sprintf("message %d was not taken: %v", job, err))
			return
		}
		<-time.After(time.Duration(random.Int64N(int64(100 * time.Millisecond))))
	}
}

// post makes one call.
func (o *outgoing) post(job int, body []byte) (name string, err error) {
	o.calls.Add(1)
	url := *o.base.Load() + "/v1/accounts/" + o.account(job) + "/submissions"
	req, err := http.NewRequestWithContext(o.proof.t.Context(), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+proofToken)
	req.Header.Set("Idempotency-Key", fmt.Sprintf("key-%d", job))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	var made struct{ Name string }
	if err := json.Unmarshal(answer, &made); err != nil || resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", resp.Status, answer)
	}
	return made.Name, nil
}

// listed is a submission as the API lists it.
type listed struct{ Name, State, MessageID, Subject string }

// submissions lists all submissions of all accounts.
func (o *outgoing) submissions() []listed {
	o.proof.t.Helper()
	var all []listed
	for _, m := range o.proof.mailboxes {
		for token := ""; ; {
			var page struct {
				Submissions   []listed
				NextPageToken string
			}
			if err := o.proof.get("/v1/accounts/"+m.id+"/submissions?pageSize=500&pageToken="+token, &page); err != nil {
				o.proof.t.Fatal(err)
			}
			all = append(all, page.Submissions...)
			if token = page.NextPageToken; token == "" {
				break
			}
		}
	}
	return all
}

// settled waits until nothing is left to be sent, and gives all submissions.
func (o *outgoing) settled() (all []listed) {
	o.proof.t.Helper()
	o.proof.await("all messages to be sent or held", patience, func() bool {
		all = o.submissions()
		return !slices.ContainsFunc(all, func(s listed) bool {
			return !slices.Contains([]string{"SENT", "PARTIALLY_REJECTED", "UNCERTAIN"}, s.State)
		})
	})
	return all
}

var messageID = regexp.MustCompile(`(?im)^Message-ID: <(.*)>\r$`)

// delivered counts what the server has taken, by Message-ID.
func (o *outgoing) delivered() map[string]int {
	counts := map[string]int{}
	for _, d := range o.sink.Deliveries() {
		found := messageID.FindSubmatch(d.Data)
		if found == nil {
			o.proof.t.Fatalf("a message without a Message-ID:\n%s", d.Data)
		}
		counts[string(found[1])]++
	}
	return counts
}

// judge compares what the API took with what it has and what the server got. It
// returns the submissions that are held.
func (o *outgoing) judge(n int) (held []listed) {
	p := o.proof
	p.t.Helper()
	all := o.settled()
	p.fail("message not taken", o.faults)
	if len(all) != n || len(o.taken) != n {
		p.t.Errorf("there are %d submissions for %d messages, %d were answered", len(all), n, len(o.taken))
	}
	bySubject := map[string]listed{}
	for _, s := range all {
		bySubject[s.Subject] = s
	}
	var wrong []string
	counts := o.delivered()
	for job, name := range o.taken {
		s := bySubject[subjectOf(job)]
		arrived := counts[s.MessageID]
		delete(counts, s.MessageID)
		switch {
		case s.Name != name:
			wrong = append(wrong, fmt.Sprintf("message %d is %q and was answered as %s", job, s.Name, name))
		case s.State == "UNCERTAIN":
			held = append(held, s)
			if arrived > 1 {
				wrong = append(wrong, fmt.Sprintf("%s is held, and arrived %d times", name, arrived))
			}
		case arrived != 1:
			wrong = append(wrong, fmt.Sprintf("%s is %s, and arrived %d times", name, s.State, arrived))
		}
	}
	for id, times := range counts {
		wrong = append(wrong, fmt.Sprintf("a message that nobody has, %s, arrived %d times", id, times))
	}
	p.fail("contradiction", wrong)
	return held
}

// arrived counts those that the server got.
func (o *outgoing) arrived(held []listed) (n int) {
	counts := o.delivered()
	for _, s := range held {
		n += counts[s.MessageID]
	}
	return n
}

// release has the messages that are held sent after all: they arrive, and once more
// than before.
func (o *outgoing) release(held []listed) {
	p := o.proof
	p.t.Helper()
	before := o.delivered()
	for _, s := range held {
		if _, err := p.node.client().call(p.t.Context(), http.MethodPost, "/v1/"+s.Name+":retry", struct{}{}); err != nil {
			p.t.Fatal(err)
		}
	}
	for _, s := range o.settled() {
		if s.State == "UNCERTAIN" {
			p.t.Errorf("%s is in doubt without a kill", s.Name)
		}
	}
	after := o.delivered()
	for _, s := range held {
		before[s.MessageID]++
	}
	for id, n := range after {
		if n != before[id] {
			p.t.Errorf("message %s arrived %d times, want %d", id, n, before[id])
		}
	}
}

// judgeEvents waits until the log tells of each submission how it ended, and checks
// that it tells each step once, in order. A copy is in Sent once.
func (o *outgoing) judgeEvents(n int) {
	p := o.proof
	p.t.Helper()
	reader := p.readLog()
	replayed := newOracle()
	steps, copies := map[string][]string{}, map[string]int{}
	wantCopies := 0
	for job := range n {
		if saved(job) {
			wantCopies++
		}
	}
	ended := func() (done int) {
		for _, told := range steps {
			if last := told[len(told)-1]; last == "submission.sent" {
				done++
			}
		}
		return done
	}
	defer func() {
		if t := p.t; t.Failed() {
			t.Logf("%d of %d submissions have ended by the log, %d of %d copies are in Sent", ended(), n, len(copies), wantCopies)
		}
	}()
	p.await("the log to tell of all", patience, func() bool {
		facts, err := reader.next()
		if err != nil {
			p.t.Fatal(err)
		}
		for _, f := range facts {
			replayed.take(f)
			if f.Type == "message.created" {
				copies[f.Data.Envelope.Subject]++
			}
			if name := f.Data.Submission; name != "" {
				steps[name] = append(steps[name], f.Type)
				if want := fmt.Sprint(len(steps[name])); f.Data.Number != want {
					replayed.fault(f, "%s: it has number %s, want %s", name, f.Data.Number, want)
				}
			}
		}
		return ended() == n && len(copies) == wantCopies
	})
	p.fail("contradiction", replayed.faults)
	for name, told := range steps {
		if text := strings.Join(told, " "); text != "submission.queued submission.sent" &&
			text != "submission.queued submission.uncertain submission.queued submission.sent" {
			p.t.Errorf("%s: %s", name, text)
		}
	}
	for subject, times := range copies {
		if times != 1 {
			p.t.Errorf("%d copies of %q are in Sent", times, subject)
		}
	}
}
