package gateway_test

import (
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/postern-mail/postern/internal/smtptest"
)

// benchCallers is how many send at a time.
const benchCallers = 16

// benchSender is an account of a benchmark that sends to a server of it, with the
// default settings: it has fewer connections than there are callers.
func benchSender(b *testing.B) (h *house, name string, sink *smtptest.Server) {
	b.Helper()
	h = sharedHouse(b)
	name, _, _ = h.dovecot(b)
	sink = smtptest.Start(b, smtptest.Config{SizeOnly: true})
	h.do(b, http.MethodPatch, "/v1/"+name, object{
		"smtp": object{"host": sink.Host, "port": sink.Port, "tlsMode": "PLAINTEXT", "username": smtptest.Username, "password": smtptest.Password},
	}).ok(b)
	return h, name, sink
}

// bareClient is go-smtp's, logged in.
func bareClient(b *testing.B, sink *smtptest.Server) *smtp.Client {
	b.Helper()
	c, err := smtp.Dial(net.JoinHostPort(sink.Host, strconv.Itoa(sink.Port)))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	if err := c.Auth(sasl.NewPlainClient("", smtptest.Username, smtptest.Password)); err != nil {
		b.Fatal(err)
	}
	return c
}

const bareMessage = "From: ann@example.org\r\nTo: bob@example.com\r\nSubject: Hi\r\n\r\nHello\r\n"

// BenchmarkRatioSend compares sending by 16 callers, each of which waits until its
// message is sent, with as many bare SMTP clients.
func BenchmarkRatioSend(b *testing.B) {
	h, name, sink := benchSender(b)
	clients := make([]*smtp.Client, benchCallers)
	for i := range clients {
		clients[i] = bareClient(b, sink)
	}
	var sent int
	var ours, floor time.Duration
	for b.Loop() {
		const each = 4
		ours += took(func() {
			inParallel(func(int) {
				for range each {
					a := h.do(b, http.MethodPost, "/v1/"+name+"/submissions", object{
						"to": to("bob@example.com"), "text": "Hello", "saveToSent": "NEVER", "wait": "30s",
					})
					if a.status != http.StatusOK || !strings.Contains(string(a.body), `"SENT"`) {
						b.Errorf("%d: %s", a.status, a.body)
					}
				}
			})
		})
		floor += took(func() {
			inParallel(func(i int) {
				for range each {
					if err := clients[i].SendMail("ann@example.org", []string{"bob@example.com"}, strings.NewReader(bareMessage)); err != nil {
						b.Error(err)
					}
				}
			})
		})
		sent += each * benchCallers
	}
	b.ReportMetric(float64(sent)/ours.Seconds(), "ours/s")
	b.ReportMetric(float64(sent)/floor.Seconds(), "bare/s")
	b.ReportMetric(ours.Seconds()/floor.Seconds(), "ratio")
}

// inParallel runs f for each of the callers.
func inParallel(f func(i int)) {
	var callers sync.WaitGroup
	for i := range benchCallers {
		callers.Go(func() { f(i) })
	}
	callers.Wait()
}

// BenchmarkRatioSendLatency measures from the call to the acceptance of the message
// by the server, of one caller, beside that of a bare client.
func BenchmarkRatioSendLatency(b *testing.B) {
	h, name, sink := benchSender(b)
	bare := bareClient(b, sink)
	var ours, answers, floor []time.Duration
	taken := 0
	for b.Loop() {
		start := time.Now()
		h.do(b, http.MethodPost, "/v1/"+name+"/submissions", object{"to": to("bob@example.com"), "text": "Hello", "saveToSent": "NEVER"}).ok(b)
		answers = append(answers, time.Since(start))
		sink.Wait(b, taken+1)
		ours = append(ours, time.Since(start))
		floor = append(floor, took(func() {
			if err := bare.SendMail("ann@example.org", []string{"bob@example.com"}, strings.NewReader(bareMessage)); err != nil {
				b.Fatal(err)
			}
		}))
		taken = len(sink.Wait(b, taken+2))
	}
	b.ReportMetric(median(answers), "answer-µs")
	b.ReportMetric(median(ours), "ours-µs")
	b.ReportMetric(median(floor), "bare-µs")
	b.ReportMetric(median(ours)/median(floor), "ratio")
}
