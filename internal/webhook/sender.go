package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/postern-mail/postern/internal/netguard"
)

const (
	// maxExcerpt is how much of an answer is kept for people to read.
	maxExcerpt = 512
	// maxAnswer is how much of an answer is read at all, so that its connection
	// can be used again; a longer one costs the connection.
	maxAnswer        = 16 << 10
	maxAnswerHeader  = 32 << 10
	contentType      = "application/cloudevents+json; charset=utf-8" // CloudEvents' HTTP binding, section 3.2
	idleConnections  = 512
	idlePerEndpoint  = 16
	idleTimeout      = 30 * time.Second
	connectTimeout   = 5 * time.Second
	handshakeTimeout = 5 * time.Second
)

// sender makes requests to endpoints.
type sender struct {
	client    *http.Client
	timeout   time.Duration
	userAgent string
}

func newSender(config Config) *sender {
	transport := config.Guard.Transport(connectTimeout)
	transport.DialContext = config.Guard.Dialer(connectTimeout)
	transport.TLSHandshakeTimeout = handshakeTimeout
	if config.TLS != nil {
		transport.TLSClientConfig = config.TLS.Clone()
		transport.TLSClientConfig.MinVersion = max(config.TLS.MinVersion, tls.VersionTLS12)
	}
	transport.ResponseHeaderTimeout = config.Timeout
	transport.MaxResponseHeaderBytes = maxAnswerHeader
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost, transport.IdleConnTimeout = idleConnections, idlePerEndpoint, idleTimeout
	transport.DisableCompression = true
	return &sender{
		client: &http.Client{
			Transport: transport,
			// Whoever can redirect a request could send it anywhere.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		timeout: config.Timeout, userAgent: config.UserAgent,
	}
}

// close lets go of the connections that are at rest.
func (s *sender) close() { s.client.CloseIdleConnections() }

// answer is what came of a request.
type answer struct {
	verdict verdict
	wait    time.Duration // that the endpoint asks for
	status  int
	failure string // for people; empty when the event was taken
	excerpt string
	began   time.Time
	latency time.Duration
}

// send makes one request, and ends within the sender's time-out.
func (s *sender) send(ctx context.Context, w *Webhook, id string, body []byte) answer {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	a := answer{verdict: refused, began: time.Now()}
	defer func() { a.latency = time.Since(a.began) }()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL, bytes.NewReader(body))
	if err == nil {
		for name, value := range w.Headers {
			req.Header.Set(name, value.Reveal())
		}
		req.Header.Set("Content-Type", contentType)
		req.Header.Set("User-Agent", s.userAgent)
		err = sign(req.Header, id, a.began, body, w.secrets(a.began))
	}
	if err != nil {
		a.failure = "the request cannot be made: " + scrub(err, w)
		return a
	}
	resp, err := s.client.Do(req)
	if err != nil {
		a.failure = s.explain(ctx, err, w)
		return a
	}
	defer resp.Body.Close()
	a.status = resp.StatusCode
	a.verdict, a.wait = judge(resp.StatusCode, resp.Header, time.Now())
	a.excerpt = excerpt(resp.Body)
	if a.verdict != taken {
		a.failure = complaint(resp.StatusCode)
	}
	a.latency = time.Since(a.began)
	return a
}

// explain says for people why there was no answer.
func (s *sender) explain(ctx context.Context, err error, w *Webhook) string {
	var refused *netguard.RefusedError
	var network net.Error
	switch {
	case errors.As(err, &refused):
		return "the endpoint is not allowed: " + refused.Error()
	case ctx.Err() != nil, errors.As(err, &network) && network.Timeout():
		return "the endpoint did not answer within " + s.timeout.String()
	case strings.Contains(err.Error(), "malformed HTTP"):
		return "what answers at the endpoint does not speak HTTP" // net/http quotes it
	}
	return scrub(err, w)
}

// scrub is an error without the URL, which may hold a token.
func scrub(err error, w *Webhook) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil || !strings.Contains(err.Error(), w.URL) {
			break
		}
		err = inner
	}
	text := strings.ReplaceAll(err.Error(), w.URL, "the URL")
	return cut(oneLine(text), maxExcerpt)
}

// excerpt reads an answer to a limit and gives its beginning as text.
func excerpt(body io.Reader) string {
	start := make([]byte, maxExcerpt)
	n, err := io.ReadFull(body, start)
	if err == nil {
		_, _ = io.CopyN(io.Discard, body, maxAnswer) // for the connection's sake
	}
	text := strings.ToValidUTF8(string(start[:n]), "\uFFFD")
	return cut(strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r == 0x7f {
			return ' '
		}
		return r
	}, text), maxExcerpt)
}

// cut shortens text to n bytes, between characters.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}
