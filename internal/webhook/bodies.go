package webhook

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// MaxBody bounds each of the texts of a [Body].
const MaxBody = 256 << 10

// Body is what a person reads of a message.
type Body struct {
	Text      string `json:"text"`
	HTML      string `json:"html"`
	Truncated bool   `json:"truncated,omitempty"`
}

// ErrMessageGone says that a message is not there any more, which is settled.
// Any other error of [Bodies] may pass.
var ErrMessageGone = errors.New("the message is gone")

// Bodies reads messages from their mailboxes. Each text is cut at limit.
type Bodies func(ctx context.Context, message string, limit int) (Body, error)

const (
	// keptBodies and keptFor bound the cache: it serves several webhooks, and
	// quick tries, that want one message at nearly the same time.
	keptBodies   = 64
	keptFor      = time.Minute
	keptFailures = 5 * time.Second
	// bodyTimeout bounds one reading of a message.
	bodyTimeout = 30 * time.Second
)

// bodyCache reads each message once for all who want it at the time.
type bodyCache struct {
	read Bodies

	flight singleflight.Group
	mu     sync.Mutex
	kept   map[string]keptBody
	order  []string // the oldest first
}

type keptBody struct {
	body    *Body
	err     error
	expires time.Time
}

func newBodyCache(read Bodies) *bodyCache {
	return &bodyCache{read: read, kept: make(map[string]keptBody)}
}

// get gives the body of a message. It fails with [ErrMessageGone], or with what
// may pass. The reading itself outlives a caller that leaves, for the others.
func (c *bodyCache) get(ctx context.Context, message string) (*Body, error) {
	if found, ok := c.look(message); ok {
		return found.body, found.err
	}
	done := c.flight.DoChan(message, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), bodyTimeout)
		defer cancel()
		body, err := c.read(ctx, message, MaxBody)
		found := keptBody{body: &body, expires: time.Now().Add(keptFor)}
		if err != nil {
			found = keptBody{err: err, expires: time.Now().Add(keptFailures)}
		}
		c.keep(message, found)
		return found.body, found.err
	})
	select {
	case result := <-done:
		body, _ := result.Val.(*Body)
		return body, result.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *bodyCache) look(message string) (keptBody, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found, ok := c.kept[message]
	return found, ok && time.Now().Before(found.expires)
}

func (c *bodyCache) keep(message string, found keptBody) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.kept[message]; !known {
		c.order = append(c.order, message)
	}
	c.kept[message] = found
	for len(c.order) > keptBodies {
		delete(c.kept, c.order[0])
		c.order = c.order[1:]
	}
}
