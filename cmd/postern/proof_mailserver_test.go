package main

import (
	"testing"
	"time"
)

// The mail server is stopped and started while mail is delivered. All accounts
// are idling again soon, without a storm of logins.
func TestProofMailServerRestarts(t *testing.T) {
	t.Parallel()
	p := newProof(t)
	w := p.wired(false)
	p.start()
	p.register(scaled(accounts, 6, 50))
	times := scaled(restarts, 3, 50)
	var idle []time.Duration
	traffic := p.traffic(scaled(deliveries, 200, 5_000), time.Duration(times)*inForm(2*time.Second, 72*time.Second), (*mailbox).act)
	for range times {
		// An account that fails waits longer each time, until it has worked for a
		// minute.
		<-time.After(inForm(0, time.Minute))
		p.pause(inForm(time.Second, 10*time.Second))
		p.mail.Stop(t)
		p.pause(inForm(time.Second, 4*time.Second))
		p.await("the connections to be gone", patience, func() bool { return w.idles() == 0 })
		p.mail.Restart(t)
		back := time.Now()
		p.await("all to idle again", patience, func() bool { return w.idles() == len(p.mailboxes) })
		idle = append(idle, time.Since(back))
	}
	t.Logf("%d restarts, %d deliveries and changes", times, traffic.wait())
	p.within(30*time.Second, "all idling again", idle...)
	most, all := w.densest()
	t.Logf("%d logins, at most %d of them within a second (limit 10)", all, most)
	if most > 10 {
		t.Errorf("there were %d logins within a second, the limit is 10", most)
	}
	p.verdict()
}
