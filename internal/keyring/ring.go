package keyring

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/secret"
)

// Config says how to open a [Ring].
type Config struct {
	// Box has the keys.
	Box *secret.Box
	// Kinds are all kinds of records that are sealed with it.
	Kinds []Kind
	// Shared says that other nodes may use the same NATS. Node names this one, for
	// people.
	Shared bool
	Node   string
	// Replicas is the number of NATS servers that keep a copy; 0 means 1.
	Replicas int
	// Logger is told what becomes of the keys; nil means nobody is.
	Logger *slog.Logger
}

// Ring keeps the keys of one node in order.
type Ring struct {
	js     jetstream.JetStream
	kv     jetstream.KeyValue
	nodes  jetstream.KeyValue // nil where no other node can be
	box    *secret.Box
	kinds  []Kind
	logger *slog.Logger
	// settle is shorter in tests.
	settle time.Duration
	// id tells this node from others in the bucket, name is for people.
	id, name string

	// trouble says why this node cannot open what others seal.
	trouble atomic.Pointer[secret.MissingKeyError]
	// agreedAt and waiting belong to Own.
	agreedAt stopwatch
	waiting  string
}

// Open joins the agreement on the key that seals, before anything is sealed or
// opened. It fails with [*secret.WrongKeyError], and changes nothing, if the stored
// secrets were sealed with a key that the box does not have.
func Open(ctx context.Context, js jetstream.JetStream, config Config) (*Ring, error) {
	kv, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket:      Bucket,
		Description: "Postern: which key seals, and keys that are sealed themselves",
		Storage:     jetstream.FileStorage,
		Replicas:    max(config.Replicas, 1),
		History:     1,
	})
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", Bucket, err)
	}
	r := &Ring{
		js: js, kv: kv, box: config.Box, kinds: append([]Kind{derivedKind}, config.Kinds...), logger: config.Logger,
		settle: defaultSettle, id: strings.ToLower(rand.Text()[:16]), name: config.Node,
	}
	if r.logger == nil {
		r.logger = slog.New(slog.DiscardHandler)
	}
	if config.Shared {
		if r.nodes, err = openNodes(ctx, js, config.Replicas); err != nil {
			return nil, err
		}
		// Before the agreement is read: see advance.
		if err := r.announce(ctx); err != nil {
			return nil, err
		}
	}
	if err := r.join(ctx); err != nil {
		r.leave(ctx)
		return nil, err
	}
	return r, nil
}

// Ready says why this node cannot open what others seal, nil if it can.
func (r *Ring) Ready() error {
	if trouble := r.trouble.Load(); trouble != nil {
		return fmt.Errorf("%w: copy the key set there from a node that has it", trouble)
	}
	return nil
}

// look is how often the source of the key set is looked at, and the agreement.
const look = time.Second

// Run follows changes of the key set and of the agreement until ctx ends.
func (r *Ring) Run(ctx context.Context) error {
	defer r.leave(ctx)
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	spoken := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		changed := r.reload(ctx)
		changed = r.follow(ctx) || changed
		if r.nodes == nil || !changed && time.Since(spoken) < beat {
			continue
		}
		spoken = time.Now()
		if err := r.announce(ctx); err != nil && ctx.Err() == nil {
			r.logger.Warn("sealing keys", "error", err)
		}
	}
}

// reload reads the key set again if it has changed.
func (r *Ring) reload(ctx context.Context) (changed bool) {
	changed, err := r.box.Reload(ctx)
	switch {
	case err != nil && ctx.Err() == nil:
		r.logger.Error("the key set cannot be read again", "error", err)
	case changed:
		ids, primary := r.box.Keys()
		r.logger.Info("read the changed key set", "source", r.box.Source(), "keys", ids, "primary", primary)
	}
	return changed
}

// follow has the box seal with the key that the nodes have agreed on.
func (r *Ring) follow(ctx context.Context) (changed bool) {
	if r.nodes == nil {
		return false
	}
	a, err := r.read(ctx)
	if err == nil {
		_, err = r.veto(ctx, a)
	}
	if err != nil {
		// The loss of NATS is told by others; the next look is soon.
		return false
	}
	before := r.box.Uses()
	if a.active() == before {
		r.trouble.Store(nil)
		return false
	}
	if err := r.box.Check(a.Check); err != nil {
		trouble := &secret.MissingKeyError{Source: r.box.Source(), Key: a.active()}
		if r.trouble.Swap(trouble) == nil {
			r.logger.Error("what other nodes seal does not open here", "error", trouble)
		}
		return false
	}
	r.trouble.Store(nil)
	r.logger.Info("seal with another key", "key", a.active(), "before", before)
	return true
}

// leaveTimeout bounds the word that a node ends.
const leaveTimeout = 2 * time.Second

// leave says that this node ends, so that nobody waits for it.
func (r *Ring) leave(ctx context.Context) {
	if r.nodes == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	// If it is not heard, the word of this node ends by itself.
	_ = r.nodes.Purge(ctx, r.id)
}

// tellWaiting tells once which nodes a new key waits for.
func (r *Ring) tellWaiting(key secret.KeyID, missing []string) {
	names := strings.Join(missing, ", ")
	if names != "" && names != r.waiting {
		r.logger.Info("a new key waits for nodes that do not have it yet", "key", key, "nodes", names)
	}
	r.waiting = names
}
