package jwt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/postern-mail/postern/internal/access"
)

const (
	// maxDocument bounds a key set. Certificates beside the keys make it long.
	maxDocument = 1 << 20
	// fetchTimeout bounds one request for it, and findTimeout how long a call
	// waits for one.
	fetchTimeout = 10 * time.Second
	findTimeout  = 5 * time.Second
	// refreshEvery is how often the keys are asked for without a reason. Issuers
	// show new keys before they use them.
	refreshEvery = 5 * time.Minute
	// leastWait is between two requests, whatever tokens say: who makes up ids of
	// keys must not have us ask for each.
	leastWait = 10 * time.Second
	// retryFirst and retryMost bound the waits after failures while there are no
	// keys.
	retryFirst = time.Second
	retryMost  = time.Minute
	// maxAge is for how long keys are believed that could not be asked for again.
	// A key that was taken back must not count for ever because its issuer is
	// kept from saying so.
	maxAge = 24 * time.Hour
)

// remote is keys that a server gives out. Run alone asks it.
type remote struct {
	url    string
	client *http.Client
	log    *slog.Logger
	ring   ring
	wake   chan struct{}

	mu sync.Mutex
	// asked is when the last request began, got when the last good answer came.
	asked, got time.Time
	asking     bool
	// answered is closed when the next request has ended.
	answered chan struct{}
	failed   error
	// wait is leastWait, except in tests.
	wait time.Duration
}

func newRemote(address string, log *slog.Logger) *remote {
	return &remote{
		url: address, log: log, wake: make(chan struct{}, 1), answered: make(chan struct{}), wait: leastWait,
		client: &http.Client{
			Timeout: fetchTimeout,
			// A redirect may lead to where nothing is encrypted, or out of the
			// issuer's hands.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// checkURL wants keys to come by HTTPS, or from this machine: whoever can change
// them on their way can let anybody in.
func checkURL(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return errors.New("the URL of the keys is none, or has a user or a fragment")
	}
	host := u.Hostname()
	addr, err := netip.ParseAddr(host)
	loopback := host == "localhost" || err == nil && addr.Unmap().IsLoopback()
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback) {
		return fmt.Errorf("the URL of the keys is %s: give one with https, or with http on loopback", u.Redacted())
	}
	return nil
}

// find implements source. A key that is not known may be a new one.
func (r *remote) find(ctx context.Context, id string, algorithm jose.SignatureAlgorithm) ([]*key, error) {
	if found := r.ring.find(id, algorithm); len(found) > 0 {
		return found, nil
	}
	r.mu.Lock()
	answered, asking, mayAsk := r.answered, r.asking, time.Since(r.asked) >= r.wait
	r.mu.Unlock()
	if mayAsk && !asking {
		select {
		case r.wake <- struct{}{}:
		default: // somebody else has
		}
	}
	if mayAsk || asking {
		timer := time.NewTimer(findTimeout)
		defer timer.Stop()
		select {
		case <-answered:
		case <-timer.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if found := r.ring.find(id, algorithm); len(found) > 0 {
			return found, nil
		}
	}
	if r.ring.empty() {
		return nil, &access.UnavailableError{Err: r.reason()}
	}
	return nil, access.ErrInvalid
}

// reason is why there are no keys.
func (r *remote) reason() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed != nil {
		return r.failed
	}
	return fmt.Errorf("the keys at %s are not there yet", r.url)
}

// Run implements source.
func (r *remote) Run(ctx context.Context) error {
	failures := 0
	for ctx.Err() == nil {
		if r.refresh(ctx) == nil {
			failures = 0
		} else {
			failures++
		}
		timer := time.NewTimer(r.pause(failures))
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				waiting = false
			case <-timer.C:
				waiting = false
			case <-r.wake:
				waiting = !r.mayAsk()
			}
		}
		timer.Stop()
	}
	return nil
}

// mayAsk reports whether the last request was long enough ago.
func (r *remote) mayAsk() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Since(r.asked) >= r.wait
}

// pause is until the next request without a reason: a few minutes, or less while
// there are no keys. It varies, so that nodes do not ask together.
func (r *remote) pause(failures int) time.Duration {
	pause := refreshEvery
	if failures > 0 && r.ring.empty() {
		pause = min(retryFirst<<min(failures-1, 10), retryMost)
	}
	return pause - rand.N(pause/5) //nolint:gosec // it spreads requests and guards nothing
}

// refresh asks for the keys and puts them in force.
func (r *remote) refresh(ctx context.Context) error {
	r.mu.Lock()
	r.asked, r.asking = time.Now(), true
	r.mu.Unlock()
	keys, said, err := r.fetch(ctx)
	if err == nil {
		r.ring.replace(keys)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	former := r.failed
	r.asking, r.failed = false, err
	close(r.answered)
	r.answered = make(chan struct{})
	switch {
	case err == nil:
		if former != nil || r.got.IsZero() {
			r.log.Info("the keys of JSON Web Tokens are there", "from", r.url, "keys", len(keys))
			mention(r.log, said, r.url)
		}
		r.got = time.Now()
	case ctx.Err() != nil: // the process ends
	case r.ring.empty():
		r.log.Warn("the keys of JSON Web Tokens cannot be had, so such tokens are refused until they can", "error", err)
	case time.Since(r.got) > maxAge:
		r.ring.replace(nil)
		r.log.Error("the keys of JSON Web Tokens are too old to be believed, so such tokens are refused", "had", r.got, "error", err)
	case former == nil:
		r.log.Warn("the keys of JSON Web Tokens cannot be asked for again; the former are believed for a while", "until", r.got.Add(maxAge), "error", err)
	}
	return err
}

// fetch makes one request.
func (r *remote) fetch(ctx context.Context) (keys []*key, said []string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, http.NoBody)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("GET %s: the server answers %s", r.url, resp.Status)
	}
	document, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	if err != nil {
		return nil, nil, fmt.Errorf("GET %s: %w", r.url, err)
	}
	if len(document) > maxDocument {
		return nil, nil, fmt.Errorf("GET %s: the answer is longer than %d bytes", r.url, maxDocument)
	}
	keys, said, err = parseKeys(document)
	if err != nil {
		return nil, nil, fmt.Errorf("GET %s: %w", r.url, err)
	}
	return keys, said, nil
}
