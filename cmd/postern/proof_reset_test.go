package main

import (
	"fmt"
	"testing"
	"time"
)

// A folder with much mail, half of it older than the account, gets another
// UIDVALIDITY, and new mail meanwhile. That is one event, and the new mail; what
// was known is not announced again.
func TestProofReset(t *testing.T) {
	t.Parallel()
	p := newProof(t)
	p.start()
	half := scaled(deliveries, 600, 10_000) / 2
	user, _ := p.mail.User(t)
	m := p.newMailbox("a0", user)
	fill := func(n int) {
		for range n {
			if !m.deliver("INBOX") {
				t.Fatal("the mail server does not take the mail")
			}
		}
	}
	fill(half)
	p.enroll(m)
	p.awaitConnected()
	fill(half)
	reader := p.readLog()
	o := newOracle()
	await := func(what string, condition func() bool) {
		p.await(what, patience, func() bool {
			facts, err := reader.next()
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range facts {
				o.take(f)
			}
			return condition()
		})
	}
	await("the mail to be announced", func() bool { return o.counts["message.created"] >= half })
	m.close()
	reset := time.Now()
	p.mail.Doveadm(t, "mailbox", "update", "-u", user, "--uid-validity", fmt.Sprint(time.Now().Unix()+1_000_000), "INBOX")
	const fresh = 3
	fill(fresh)
	await("the reset and the new mail", func() bool {
		return o.counts["folder.reset"] > 0 && o.counts["message.created"] >= half+fresh
	})
	took := time.Since(reset)
	p.restart()
	p.awaitConnected()
	<-time.After(settle)
	reader, o = p.readLog(), newOracle()
	await("the log", func() bool { return o.counts["account.connected"] > 1 && o.counts["message.created"] >= half+fresh })
	if o.counts["folder.reset"] != 1 || o.counts["message.created"] != half+fresh {
		t.Errorf("%d resets and %d messages were announced, want 1 and %d", o.counts["folder.reset"], o.counts["message.created"], half+fresh)
	}
	p.fail("contradiction", o.faults)
	subjects := map[string]int{}
	for _, subject := range o.account(m.id).announced {
		subjects[subject]++
	}
	for i := range 2*half + fresh {
		subject, want := fmt.Sprintf("%s.%d", m.id, i), 1
		if i < half {
			want = 0 // older than the account
		}
		if subjects[subject] != want {
			t.Errorf("message %q was announced %d times, want %d", subject, subjects[subject], want)
		}
	}
	t.Logf("%d messages, half of them older than the account", 2*half)
	p.within(time.Minute, "the reset and the mail of its time announced", took)
}
