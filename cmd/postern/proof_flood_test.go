package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/smtptest"
)

// One token asks for all that it can get: it reads, sends, sends nonsense, and wrong
// tokens besides. Another one's calls are all answered, and hardly later.
func TestProofFlood(t *testing.T) {
	t.Parallel()
	p := newProof(t)
	p.start()
	p.register(2)
	sink := smtptest.Start(t, smtptest.Config{SizeOnly: true})
	for _, m := range p.mailboxes {
		body := json.RawMessage(fmt.Sprintf(`{"smtp":{"host":%q,"port":%d,"tlsMode":"PLAINTEXT","username":%q,"password":%q}}`,
			sink.Host, sink.Port, smtptest.Username, smtptest.Password))
		if _, err := p.node.client().call(t.Context(), http.MethodPatch, "/v1/accounts/"+m.id, body); err != nil {
			t.Fatal(err)
		}
		for i := range 40 {
			p.mail.Deliver(t, m.user, "INBOX", fmt.Appendf(nil, "From: bob@example.com\r\nSubject: message %d\r\n\r\nHello.\r\n", i))
		}
	}
	calm := &asker{base: p.node.base, token: p.newToken("calm"), account: p.mailboxes[0].id}
	n := inForm(300, 3000)
	for range 50 { // what is opened on first use
		calm.ask(t.Context(), t)
	}
	quiet := calm.measure(t, n)
	for _, where := range []struct{ name, account string }{{"another account", p.mailboxes[1].id}, {"the same account", p.mailboxes[0].id}} {
		token := p.newToken("flood")
		stop := p.flood(token, where.account)
		p.await("the flood", patience, func() bool {
			return strings.Count(p.node.stderr.String(), "principal=tokens/"+idOf(token)) > floodersOfProof
		})
		flooded := calm.measure(t, n)
		t.Logf("%s: p50 %s quiet, %s in the flood; p99 %s quiet, %s in the flood: ratio %.2f (limit 2). The flood: %s", where.name,
			quantile(quiet, 50), quantile(flooded, 50), quantile(quiet, 99), quantile(flooded, 99),
			float64(quantile(flooded, 99))/float64(quantile(quiet, 99)), stop())
		if *long && quantile(flooded, 99) > 2*quantile(quiet, 99) {
			t.Errorf("%s: the flood has more than doubled the p99 of another token", where.name)
		}
	}
}

// newToken makes an API token that may read and send.
func (p *proof) newToken(name string) string {
	p.t.Helper()
	answer, err := p.node.client().call(p.t.Context(), http.MethodPost, "/v1/tokens", json.RawMessage(fmt.Sprintf(
		`{"displayName":%q,"scopes":["accounts:read","messages:write","submissions:send"]}`, name)))
	if err != nil {
		p.t.Fatal(err)
	}
	var made struct{ Token string }
	if err := json.Unmarshal(answer, &made); err != nil || made.Token == "" {
		p.t.Fatalf("%v: %s", err, answer)
	}
	return made.Token
}

// idOf is the id of an API token, which stands between its prefix and its secret.
func idOf(token string) string { return strings.Split(token, "_")[1] }

// asker makes everyday calls with a token, one after the other.
type asker struct {
	base, token, account string
	calls                int
}

// ask makes a call: two of three read a page of messages, one sends a message.
func (a *asker) ask(ctx context.Context, t *testing.T) time.Duration {
	t.Helper()
	a.calls++
	began := time.Now()
	var status int
	if a.calls%3 == 0 {
		status = answered(ctx, a.base+"/v1/accounts/"+a.account+"/submissions", a.token, message)
	} else {
		status = answered(ctx, a.base+"/v1/accounts/"+a.account+"/messages?pageSize=20", a.token, "")
	}
	if status != http.StatusOK {
		t.Fatalf("a call of the calm token is answered with %d", status)
	}
	return time.Since(began)
}

const message = `{"to":[{"address":"bob@example.com"}],"subject":"Hello","text":"Hello.\n","saveToSent":"NEVER"}`

// measure makes n calls, at a pace that leaves time between them, and tells how long
// each took.
func (a *asker) measure(t *testing.T, n int) []time.Duration {
	t.Helper()
	pace := time.NewTicker(10 * time.Millisecond)
	defer pace.Stop()
	took := make([]time.Duration, n)
	for i := range took {
		<-pace.C
		took[i] = a.ask(t.Context(), t)
	}
	slices.Sort(took)
	return took
}

// quantile is one of sorted times.
func quantile(sorted []time.Duration, percent int) time.Duration {
	return sorted[(len(sorted)-1)*percent/100].Round(10 * time.Microsecond)
}

// answered makes a request, by GET where there is nothing to send, and gives the status
// of its answer, 0 where there is none.
func answered(ctx context.Context, url, token, body string) int {
	method := http.MethodPost
	if body == "" {
		method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// asFlood makes a copy of the test binary flood a gateway: its base URL, a token and
// an account, separated by blanks.
const asFlood = "POSTERN_TEST_AS_FLOOD"

// flood has another process flood the gateway, until the returned function is called,
// which says what it was answered. In the long form it gets the processor time that
// nobody else wants, as the machine of who floods is usually another one.
func (p *proof) flood(token, account string) (stop func() string) {
	p.t.Helper()
	cmd := exec.Command("nice", "-n", inForm("0", "19"), os.Args[0])
	cmd.Env = append(os.Environ(), asFlood+"="+strings.Join([]string{p.node.base, token, account}, " "))
	var said bytes.Buffer
	cmd.Stdout = &said
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	ended := sync.OnceValue(func() error {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		return cmd.Wait()
	})
	p.t.Cleanup(func() { _ = ended() })
	return func() string {
		if err := ended(); err != nil {
			p.t.Errorf("the flood: %v", err)
		}
		return strings.TrimSpace(said.String())
	}
}

// floodersOfProof is how many calls the flood makes at a time.
const floodersOfProof = 64

// runFlood is the process that floods.
func runFlood(ctx context.Context, what string) {
	var base, token, account string
	if _, err := fmt.Sscan(what, &base, &token, &account); err != nil {
		panic(err)
	}
	http.DefaultTransport.(*http.Transport).MaxIdleConnsPerHost = floodersOfProof
	parent := base + "/v1/accounts/" + account
	kinds := []func() int{
		func() int { return answered(ctx, parent+"/messages?pageSize=100", token, "") },
		func() int { return answered(ctx, parent+"/submissions", token, message) },
		func() int { return answered(ctx, parent+"/messages?filter=body:nothing", token, "") },
		func() int {
			return answered(ctx, parent+"/submissions", token, `{"to":[`+strings.Repeat("{},", 3000)+`{}]}`)
		},
		func() int { return answered(ctx, parent+"/folders", "wrong", "") },
	}
	var mu sync.Mutex
	answers := map[int]int{}
	var all sync.WaitGroup
	for i := range floodersOfProof {
		all.Go(func() {
			for ctx.Err() == nil {
				status := kinds[i%len(kinds)]()
				mu.Lock()
				answers[status]++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	fmt.Println("answers by status:", answers)
}
