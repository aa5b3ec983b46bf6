package eventlog_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/eventlog"
	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/natsdtest"
)

// benchLog is a log and, on the same server, the floor: a stream without
// expectations, headers or ids, and the time of one publish into it.
func benchLog(b *testing.B) (l *eventlog.Log, floor func(n int, body []byte) time.Duration) {
	js := connect(b, natsdtest.Start(b, natsd.Config{}), "")
	_, err := js.CreateStream(b.Context(), jetstream.StreamConfig{Name: "BARE", Subjects: []string{"bare"}})
	if err != nil {
		b.Fatal(err)
	}
	return open(b, js, eventlog.Config{}), func(n int, body []byte) time.Duration {
		start := time.Now()
		for range n {
			if _, err := js.Publish(b.Context(), "bare", body); err != nil {
				b.Fatal(err)
			}
		}
		return time.Since(start)
	}
}

// BenchmarkRatioAppend tells what an event costs, alone and in batches, as a
// ratio to a bare JetStream publish of the same body on the same server.
func BenchmarkRatioAppend(b *testing.B) {
	for _, size := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("%d at a time", size), func(b *testing.B) {
			l, floor := benchLog(b)
			w := writer(b, l, "ann")
			body, err := arrived("ann", 1, 1)[0].Encode()
			if err != nil {
				b.Fatal(err)
			}
			events := 0
			var spent, bare time.Duration
			for b.Loop() {
				batch := arrived("ann", events+1, size)
				start := time.Now()
				mustAppend(b, w, batch...)
				spent += time.Since(start)
				events += size
				bare += floor(1, body)
			}
			perEvent := float64(spent) / float64(events)
			b.ReportMetric(perEvent/1e3, "µs/event")
			b.ReportMetric(perEvent/(float64(bare)/float64(b.N)), "x-bare-publish")
		})
	}
}

// BenchmarkRatioWatch tells how long an event takes from the start of its
// append to a watcher, as a ratio to a bare publish and its acknowledgement.
func BenchmarkRatioWatch(b *testing.B) {
	for _, watchers := range []int{1, 1000} {
		b.Run(fmt.Sprintf("%d watchers", watchers), func(b *testing.B) {
			l, floor := benchLog(b)
			w := writer(b, l, "ann")
			for i := range watchers - 1 { // of other accounts
				s := watch(b, l, eventlog.Filter{Accounts: []string{fmt.Sprintf("other%d", i)}}, eventlog.Cursor{})
				if _, err := s.Next(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			s := watch(b, l, eventlog.Filter{Accounts: []string{"ann"}}, eventlog.Cursor{})
			body, err := arrived("ann", 1, 1)[0].Encode()
			if err != nil {
				b.Fatal(err)
			}
			n := 0
			var spent, bare time.Duration
			for b.Loop() {
				n++
				event := arrived("ann", n, 1)[0]
				start := time.Now()
				mustAppend(b, w, event)
				if _, err := nextEntry(b.Context(), s); err != nil {
					b.Fatal(err)
				}
				spent += time.Since(start)
				bare += floor(1, body)
			}
			b.ReportMetric(float64(spent)/float64(n)/1e3, "µs/event")
			b.ReportMetric(float64(spent)/float64(bare), "x-bare-publish")
		})
	}
}
