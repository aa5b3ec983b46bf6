package main

import (
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/dovecottest"
)

// The process is killed at random moments while mail arrives, is moved, marked
// and deleted in many accounts.
func TestProofKilled(t *testing.T) {
	t.Parallel()
	// Without the index, which some versions damage when folders are made and renamed
	// by several sessions at once: all sessions that are open go on listing what they
	// read before, so that no client but a new one can know of a new folder.
	p := newProof(t, dovecottest.Setting("mailbox_list_index", "no"))
	times, n := scaled(kills, 8, 200), scaled(deliveries, 400, 20_000)
	ready := []time.Duration{p.start()}
	p.register(scaled(accounts, 6, 50))
	traffic := p.traffic(n, time.Duration(times)*inForm(1500*time.Millisecond, 2800*time.Millisecond), (*mailbox).act)
	for range times {
		p.pause(inForm(2*time.Second, 4*time.Second))
		p.node.kill(t)
		if p.random.IntN(4) == 0 { // in the midst of its start
			p.begin()
			p.pause(500 * time.Millisecond)
			p.node.kill(t)
		}
		ready = append(ready, p.start())
	}
	t.Logf("%d kills, %d deliveries and changes", times, traffic.wait())
	p.within(readyLimit, "ready", ready...)
	p.verdict()
}

// The process is down for longer than NATS recognises what it has stored.
func TestProofDownForLong(t *testing.T) {
	t.Parallel()
	const window = 20 * time.Second // of the stream
	p := newProof(t)
	times, n := scaled(kills, 1, 20), scaled(deliveries, 150, 2_000)
	ready := []time.Duration{p.start()}
	p.register(scaled(accounts, 4, 50))
	traffic := p.traffic(n, time.Duration(times)*(window+3*time.Second), (*mailbox).act)
	for range times {
		p.pause(4 * time.Second)
		p.node.kill(t)
		<-time.After(window + time.Second)
		ready = append(ready, p.start())
	}
	t.Logf("%d kills, each for over %s; %d deliveries and changes", times, window, traffic.wait())
	p.within(readyLimit, "ready", ready...)
	p.verdict()
}
