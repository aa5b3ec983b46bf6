package token

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/kvbucket"
	"github.com/postern-mail/postern/internal/limit"
)

const (
	bucket = "postern_tokens"
	stream = "KV_" + bucket

	tokenPrefix = "token."
	usePrefix   = "use."

	// markerTTL is for how long the bucket remembers a deletion, for watchers that
	// were away.
	markerTTL = time.Hour
	// storeTimeout bounds a change: a NATS server that cannot be reached does not
	// answer, and who asked has to be told that it is not their own deadline which
	// was too short.
	storeTimeout = 10 * time.Second
)

// Config says how to open a [Store].
type Config struct {
	// Box seals the records.
	Box sealer
	// Replicas is the number of copies of each record in a NATS cluster; 0 means 1.
	Replicas int
	// Limit is how many tokens can be in use; 0 means [DefaultLimit].
	Limit int
	// Logger is told of what cannot be read or written; nil means nobody is.
	Logger *slog.Logger
}

// DefaultLimit is how many tokens can be in use unless the operator says otherwise.
const DefaultLimit = 10000

// Store keeps the tokens, and is the [access.Authenticator] of who shows one. It
// is safe for concurrent use.
//
// While NATS is there, a change made on one node is known to all within a second,
// normally within milliseconds. A node that is cut off from NATS answers from what
// it knows for half a minute; then it takes no tokens any more, because it cannot
// know which were revoked meanwhile, until it has caught up.
type Store struct {
	kv     jetstream.KeyValue
	bucket jetstream.Stream
	config Config
	cache  *cache

	// confirmed is when last the cache was known to be the bucket, as time since
	// opened.
	confirmed atomic.Int64
	opened    time.Time
	// loaded says that the watch has brought all that there was when it began;
	// again tells it to begin anew.
	loaded atomic.Bool
	again  chan struct{}

	stop context.CancelFunc
	work sync.WaitGroup
}

// Open opens the store, and makes its bucket at the first start. Close ends it.
func Open(ctx context.Context, js jetstream.JetStream, config Config) (*Store, error) {
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	if config.Limit == 0 {
		config.Limit = DefaultLimit
	}
	kv, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket:         bucket,
		Description:    "Postern: API tokens, sealed, without their secrets",
		Storage:        jetstream.FileStorage,
		Replicas:       max(config.Replicas, 1),
		History:        1,
		LimitMarkerTTL: markerTTL,
	})
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", bucket, err)
	}
	s := &Store{kv: kv, config: config, cache: newCache(), opened: time.Now(), again: make(chan struct{}, 1)}
	if s.bucket, err = js.Stream(ctx, stream); err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", bucket, err)
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	loaded := make(chan struct{})
	s.work.Go(func() { s.feed(running, js.Conn(), sync.OnceFunc(func() { close(loaded) })) })
	select {
	case <-loaded:
	case <-ctx.Done():
		s.Close()
		return nil, fmt.Errorf("load the tokens: %w", ctx.Err())
	}
	s.work.Go(func() { s.listen(running) })
	s.work.Go(func() { s.tend(running) })
	return s, nil
}

// Close writes down when tokens were last used, and ends the store's watch on the
// bucket.
func (s *Store) Close() {
	s.stop()
	s.work.Wait()
}

// Create stores a new token under the id of its secret, and returns it as it is
// stored. Made again with the same secret it is the same token. It fails with
// [*limit.FullError].
func (s *Store) Create(ctx context.Context, secret Secret, t *Token) (*Token, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if e, _ := s.cache.get(secret.ID()); e == nil {
		if err := limit.Room("max-tokens", "tokens in use", s.inUse(), s.config.Limit); err != nil {
			return nil, err
		}
	}
	made := t.clone()
	made.ID, made.CreateTime, made.RevokeTime = secret.ID(), kvbucket.Now(), time.Time{}
	made.UpdateTime = made.CreateTime
	made.normalize()
	hash := secret.hash()
	value, err := encode(s.config.Box, made, hash, 1)
	if err != nil {
		return nil, err
	}
	revision, err := s.kv.Create(ctx, tokenPrefix+made.ID, value)
	if kvbucket.IsConflict(err) {
		there, err := s.load(ctx, made.ID)
		if err == nil && there.hash != hash {
			err = fmt.Errorf("create token %s: there is another one with this id", made.ID)
		}
		if err != nil {
			return nil, err
		}
		return s.cached(there), nil
	}
	if err != nil {
		return nil, fmt.Errorf("create token %s: %w", made.ID, err)
	}
	return s.remember(made.ID, value, revision)
}

// inUse counts the tokens that have not ended.
func (s *Store) inUse() int {
	at, n := time.Now(), 0
	for _, t := range s.cache.all() {
		if t.State(at) == Active {
			n++
		}
	}
	return n
}

// Get gives a token. It fails with [ErrNotFound].
func (s *Store) Get(ctx context.Context, id string) (*Token, error) {
	if e, use := s.cache.get(id); e != nil {
		return joined(e, use), nil
	}
	// Perhaps another node has just made it.
	there, err := s.load(ctx, id)
	if err != nil {
		return nil, err
	}
	return s.cached(there), nil
}

// All gives all tokens, the newest first, and of the same time the highest id.
func (s *Store) All() []*Token { return s.cache.all() }

// Update applies change to a token as it is now and stores the result; change may be
// called several times. It fails with [ErrNotFound], [ErrEnded], [ErrEtagMismatch]
// unless the etag is empty or the present one, and as change does.
func (s *Store) Update(ctx context.Context, id, etag string, change func(*Token) error) (*Token, error) {
	return s.change(ctx, id, etag, func(t *Token) error {
		if t.State(time.Now()) != Active {
			return fmt.Errorf("token %s: %w", id, ErrEnded)
		}
		return change(t)
	})
}

// Revoke ends a token for good. One that was revoked already stays as it is. It
// fails with [ErrNotFound] and [ErrEtagMismatch].
func (s *Store) Revoke(ctx context.Context, id, etag string) (*Token, error) {
	return s.change(ctx, id, etag, func(t *Token) error {
		if t.RevokeTime.IsZero() {
			t.RevokeTime = kvbucket.Now()
		}
		return nil
	})
}

func (s *Store) change(ctx context.Context, id, etag string, change func(*Token) error) (*Token, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	act := "change token " + id
	var changed *Token
	err := kvbucket.Change(ctx, act, func() error {
		current, err := s.load(ctx, id)
		if err != nil {
			return err
		}
		if etag != "" && etag != current.Etag {
			return fmt.Errorf("token %s: %w", id, ErrEtagMismatch)
		}
		next := current.clone()
		if err := change(next); err != nil {
			return err
		}
		next.normalize()
		if next.sameRights(current.Token) && next.DisplayName == current.DisplayName {
			changed = s.cached(current)
			return nil
		}
		next.UpdateTime = kvbucket.Now()
		value, err := encode(s.config.Box, next, current.hash, current.changes+1)
		if err != nil {
			return err
		}
		revision, err := s.kv.Update(ctx, tokenPrefix+id, value, current.revision)
		if err != nil {
			return fmt.Errorf("%s: %w", act, err)
		}
		changed, err = s.remember(id, value, revision)
		return err
	})
	return changed, err
}

// Delete revokes a token and forgets it. It fails with [ErrNotFound] and
// [ErrEtagMismatch].
func (s *Store) Delete(ctx context.Context, id, etag string) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	act := "delete token " + id
	return kvbucket.Change(ctx, act, func() error {
		current, err := s.load(ctx, id)
		if err != nil {
			return err
		}
		if etag != "" && etag != current.Etag {
			return fmt.Errorf("token %s: %w", id, ErrEtagMismatch)
		}
		err = s.kv.Purge(ctx, tokenPrefix+id, jetstream.LastRevision(current.revision), jetstream.PurgeTTL(markerTTL))
		if err != nil {
			return fmt.Errorf("%s: %w", act, err)
		}
		// Its revision is higher, and another token never has this id.
		s.cache.remove(id, current.revision)
		s.forgetUse(ctx, id)
		return nil
	})
}

// load reads a token from the bucket and brings the cache up to date.
func (s *Store) load(ctx context.Context, id string) (*stored, error) {
	got, err := s.kv.Get(ctx, tokenPrefix+id)
	if errors.Is(err, jetstream.ErrKeyNotFound) || errors.Is(err, jetstream.ErrInvalidKey) {
		return nil, fmt.Errorf("token %q: %w", id, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read token %s: %w", id, err)
	}
	there, err := decode(s.config.Box, id, got.Value(), got.Revision())
	if err != nil {
		return nil, err
	}
	s.cache.put(there)
	return there, nil
}

// remember puts what was just written into the cache.
func (s *Store) remember(id string, value []byte, revision uint64) (*Token, error) {
	written, err := decode(s.config.Box, id, value, revision)
	if err != nil {
		return nil, err
	}
	s.cache.put(written)
	return s.cached(written), nil
}

// cached is a token that was read or written, with its use.
func (s *Store) cached(t *stored) *Token {
	_, use := s.cache.get(t.ID)
	return joined(&entry{stored: t}, use)
}
