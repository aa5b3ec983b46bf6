// Package lease lets one of several nodes do what must be done by one alone. A
// lease is a key in a JetStream bucket whose values expire: the node that made
// the key holds the lease for as long as it renews it.
//
// A lease keeps nodes from getting in each other's way; it is not what keeps
// the event log right. A holder that was paused may go on for a moment after
// its lease has passed to another, and is then refused by the log.
package lease

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/kvbucket"
)

// Bucket is the key-value bucket of leases.
const Bucket = "postern_leases"

// DefaultTTL is how long a lease outlives its last renewal.
const DefaultTTL = 10 * time.Second

// OpenBucket makes or opens the bucket. A ttl of 0 means [DefaultTTL]; replicas
// is the number of NATS servers that keep a copy.
func OpenBucket(ctx context.Context, js jetstream.JetStream, ttl time.Duration, replicas int) (jetstream.KeyValue, error) {
	if ttl == 0 {
		ttl = DefaultTTL
	}
	kv, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket:      Bucket,
		Description: "Which node does what",
		TTL:         ttl,
		Storage:     jetstream.FileStorage,
		Replicas:    max(replicas, 1),
	})
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", Bucket, err)
	}
	return kv, nil
}

// Config names a lease and who wants it.
type Config struct {
	KV jetstream.KeyValue
	// Name is the lease, a token of a NATS subject. Node says who holds it, for
	// people.
	Name, Node string
	// TTL is the bucket's; 0 means [DefaultTTL].
	TTL time.Duration
	// Logger is told when the lease is taken and lost; nil means nobody is.
	Logger *slog.Logger
}

// Hold waits until the lease is free, takes it, and runs fn while it is held.
// The context that fn gets ends when the lease is lost; Hold then waits for it
// anew. It returns nil when ctx ends, and fn's error if fn fails while the
// lease is held. The lease is given back when fn has returned.
func Hold(ctx context.Context, config Config, fn func(context.Context) error) error {
	if config.TTL == 0 {
		config.TTL = DefaultTTL
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	for ctx.Err() == nil {
		revision, taken := config.take(ctx)
		if !taken {
			break
		}
		config.Logger.Info("took the lease", "lease", config.Name)
		lost, err := config.holdTaken(ctx, revision, fn)
		switch {
		case ctx.Err() != nil: // what fn says to that is no failure
		case lost:
			config.Logger.Warn("lost the lease", "lease", config.Name)
		default:
			return err
		}
	}
	return nil
}

// renewals is how often a lease is renewed in the time it lasts.
const renewals = 4

// take creates the key as soon as there is none. Only the context's end keeps
// it from doing so.
func (c Config) take(ctx context.Context) (revision uint64, taken bool) {
	ticker := time.NewTicker(c.TTL / renewals)
	defer ticker.Stop()
	waiting := false
	for {
		revision, err := c.KV.Create(ctx, c.Name, []byte(c.Node))
		if err == nil {
			return revision, true
		}
		if !waiting && ctx.Err() == nil {
			waiting = true
			c.Logger.Info("wait for the lease", "lease", c.Name, "holder", c.holder(ctx), "error", reason(err))
		}
		select {
		case <-ctx.Done():
			return 0, false
		case <-ticker.C:
		}
	}
}

// reason is an error worth telling: that the key exists is what waiting means.
func reason(err error) error {
	if kvbucket.IsConflict(err) {
		return nil
	}
	return err
}

// holder names who has the lease, as far as can be told.
func (c Config) holder(ctx context.Context) string {
	entry, err := c.KV.Get(ctx, c.Name)
	if err != nil {
		return ""
	}
	return string(entry.Value())
}

// holdTaken runs fn and renews the lease beside it. lost says that fn was ended
// because the lease was.
func (c Config) holdTaken(ctx context.Context, revision uint64, fn func(context.Context) error) (lost bool, err error) {
	held, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- fn(held) }()
	revision, lost, err = c.renew(revision, done)
	if lost {
		cancel()
		return true, <-done
	}
	// Another node need not wait until it expires. The context may have ended.
	release, stop := context.WithTimeout(context.WithoutCancel(ctx), c.TTL)
	defer stop()
	if deleteErr := c.KV.Delete(release, c.Name, jetstream.LastRevision(revision)); deleteErr != nil {
		c.Logger.Warn("give the lease back", "lease", c.Name, "error", deleteErr)
	}
	return false, err
}

// renew renews the lease until fn is done, or until the lease may have passed
// to another node.
func (c Config) renew(revision uint64, done <-chan error) (last uint64, lost bool, err error) {
	ticker := time.NewTicker(c.TTL / renewals)
	defer ticker.Stop()
	renewed := time.Now()
	for {
		select {
		case err := <-done:
			return revision, false, err
		case <-ticker.C:
		}
		began := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), c.TTL/renewals)
		next, err := c.KV.Update(ctx, c.Name, []byte(c.Node), revision)
		cancel()
		switch {
		case err == nil:
			revision, renewed = next, began
		case kvbucket.IsConflict(err) || time.Since(renewed) > c.TTL*(renewals-1)/renewals:
			// Somebody else has it, or may have it before the next attempt.
			return revision, true, nil
		}
	}
}
