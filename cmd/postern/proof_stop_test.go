package main

import (
	"context"
	"sync"
	"testing"
	"time"
)

// The process is told to end while mail arrives, requests are answered and
// streams are open. It ends soon, in good order.
func TestProofStopUnderLoad(t *testing.T) {
	t.Parallel()
	p := newProof(t)
	p.start()
	p.register(scaled(accounts, 4, 50))
	times := scaled(kills, 2, 20)
	traffic := p.traffic(scaled(deliveries, 300, 5_000), time.Duration(times)*inForm(2*time.Second, 5*time.Second), (*mailbox).act)
	var took []time.Duration
	for range times {
		load := p.load()
		p.pause(inForm(2*time.Second, 5*time.Second))
		began := time.Now()
		p.node.stop(t)
		took = append(took, time.Since(began))
		load()
		p.start()
	}
	t.Logf("%d stops, %d deliveries and changes", times, traffic.wait())
	p.within(10*time.Second, "stopped", took...)
	p.verdict()
}

// load reads and watches through the API, until the returned function is called.
func (p *proof) load() (end func()) {
	ctx, cancel := context.WithCancel(p.t.Context())
	var clients sync.WaitGroup
	client := p.node.client()
	for i := range 3 {
		m := p.mailboxes[i%len(p.mailboxes)]
		clients.Go(func() {
			for ctx.Err() == nil {
				_, _ = client.call(ctx, "GET", "/v1/accounts/"+m.id+"/messages?pageSize=50", nil) // until the process ends
			}
		})
		clients.Go(func() {
			if stream, err := client.watch(ctx, "/v1/events:watch?accounts=accounts/"+m.id); err == nil {
				defer stream.close()
				for err == nil {
					_, err = stream.next()
				}
			}
		})
	}
	return func() {
		cancel()
		clients.Wait()
	}
}
