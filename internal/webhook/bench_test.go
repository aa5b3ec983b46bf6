package webhook

import (
	"bytes"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

func percentile(of []time.Duration, percent int) time.Duration {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[min(len(sorted)-1, len(sorted)*percent/100)]
}

// BenchmarkRatioDeliver measures how many events a second reach an endpoint,
// beside bare POST requests of the same bytes to the same endpoint, as many at
// a time, and bare publishes to JetStream.
func BenchmarkRatioDeliver(b *testing.B) {
	const events = 2000
	for range b.N {
		h := newHouse(b, nil)
		s := newSink(b, nil)
		h.hook(s.URL, func(w *Webhook) { w.MaxConcurrency = 16 })
		h.happen("ann", events)
		began := time.Now()
		stop := h.run()
		s.until(b, "all events", func() bool { return len(s.accepted) == events })
		delivered := time.Since(began)
		stop()
		posted := posts(b, s, events)
		published := publishes(b, h, events)
		b.ReportMetric(events/delivered.Seconds(), "deliveries/s")
		b.ReportMetric(events/posted.Seconds(), "bare-POSTs/s")
		b.ReportMetric(events/published.Seconds(), "bare-publishes/s")
		b.ReportMetric(float64(delivered)/float64(posted), "of-bare-POST")
	}
}

// posts is how long n bare requests take, 16 at a time.
func posts(b *testing.B, s *sink, n int) time.Duration {
	body := s.requests()[0].body
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
	defer client.CloseIdleConnections()
	work := make(chan struct{}, n)
	for range n {
		work <- struct{}{}
	}
	close(work)
	done := make(chan error)
	began := time.Now()
	for range 16 {
		go func() {
			for range work {
				resp, err := client.Post(s.URL, contentType, bytes.NewReader(body))
				if err != nil {
					done <- err
					return
				}
				_ = resp.Body.Close()
			}
			done <- nil
		}()
	}
	for range 16 {
		if err := <-done; err != nil {
			b.Error(err)
		}
	}
	return time.Since(began)
}

func publishes(b *testing.B, h *house, n int) time.Duration {
	body := bytes.Repeat([]byte("x"), 600)
	began := time.Now()
	for range n {
		// To a stream that has no reader.
		if _, err := h.js.PublishMsg(b.Context(), &nats.Msg{Subject: deadPrefix + "none.none", Data: body}); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(began)
}

// BenchmarkThousandEndpoints measures what a thousand webhooks cost a node: at
// rest, and when an event goes to all of them.
func BenchmarkThousandEndpoints(b *testing.B) {
	const hooks = 1000
	for range b.N {
		h := newHouse(b, nil)
		s := newSink(b, nil)
		for i := range hooks {
			h.hook(fmt.Sprintf("%s/%d", s.URL, i), nil)
		}
		memory, goroutines := resident(), runtime.NumGoroutine()
		began := time.Now()
		stop := h.run()
		h.happen("ann", 1)
		s.until(b, "an event at every endpoint", func() bool { return len(s.got) == hooks })
		first := time.Since(began)
		began = time.Now()
		h.happen("ann", 1)
		s.until(b, "a second one", func() bool { return len(s.got) == 2*hooks })
		second := time.Since(began)
		b.ReportMetric(float64(first.Milliseconds()), "start-ms")
		b.ReportMetric(float64(second.Milliseconds()), "fan-out-ms")
		b.ReportMetric(float64(runtime.NumGoroutine()-goroutines)/hooks, "goroutines/endpoint")
		b.ReportMetric(float64(resident()-memory)/hooks/1024, "KiB/endpoint")
		stop()
	}
}

// resident is the memory that is in use, endpoints of the test included.
func resident() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}
