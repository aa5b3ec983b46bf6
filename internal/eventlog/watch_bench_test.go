package eventlog_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/eventlog"
)

// BenchmarkWatchers measures how fast events come through watchers of all
// accounts, from their append to the last watcher, and what a watcher at rest
// costs, its goroutine included. The floor is the bare publish.
func BenchmarkWatchers(b *testing.B) {
	for _, watchers := range []int{1, 1000, 10_000} {
		b.Run(fmt.Sprint(watchers), func(b *testing.B) {
			for range b.N {
				benchWatchers(b, watchers)
			}
		})
	}
}

func benchWatchers(b *testing.B, watchers int) {
	l, floor := benchLog(b)
	w := writer(b, l, "ann")
	events := max(10, min(2000, 100_000/watchers))
	before := inUse()
	var subscriptions []*eventlog.Subscription
	for range watchers {
		s := watch(b, l, eventlog.Filter{}, head(b, l))
		if _, err := s.Next(b.Context()); err != nil {
			b.Fatal(err)
		}
		subscriptions = append(subscriptions, s)
	}
	var running sync.WaitGroup
	for _, s := range subscriptions {
		running.Go(func() {
			for range events {
				if _, err := nextEntry(b.Context(), s); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	memory := inUse() - before
	began := time.Now()
	for i := 1; i <= events; i += 10 {
		mustAppend(b, w, arrived("ann", i, 10)...)
	}
	running.Wait()
	took := time.Since(began)
	body, err := arrived("ann", 1, 1)[0].Encode()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(events)/took.Seconds(), "events/s")
	b.ReportMetric(float64(events*watchers)/took.Seconds(), "frames/s")
	b.ReportMetric(float64(events)/floor(events, body).Seconds(), "bare-publishes/s")
	b.ReportMetric(float64(memory)/float64(watchers)/1024, "KiB/watcher")
}

func inUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}
