package submit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/kvbucket"
)

const (
	bucket = "postern_submissions"

	submissionPrefix = "submission."
	openPrefix       = "open."
)

// Store keeps submissions and their messages. It is safe for concurrent use, and
// by several nodes.
type Store struct {
	// kv is the first of the shards, which has all that is not of one submission, too.
	kv     jetstream.KeyValue
	shards [shardCount]jetstream.KeyValue
	bodies *bodies
	// waiting are those of this process that wait for submissions.
	waiting *waiting
	quotas  quotas
}

// OpenStore opens the store, and makes it at the first start. replicas is the
// number of NATS servers that keep a copy.
func OpenStore(ctx context.Context, js jetstream.JetStream, replicas int, bounds Bounds) (*Store, error) {
	s := &Store{waiting: newWaiting()}
	s.quotas = s.newQuotas(bounds)
	for i := range s.shards {
		name := bucket
		if i > 0 {
			name += fmt.Sprintf("_%d", i)
		}
		kv, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket:      name,
			Description: "Postern: submissions and what became of them",
			Storage:     jetstream.FileStorage,
			Replicas:    max(replicas, 1),
			History:     1,
			// Markers of deletions are of use to watchers only.
			LimitMarkerTTL: time.Hour,
		})
		if err != nil {
			return nil, fmt.Errorf("open bucket %s: %w", name, err)
		}
		s.shards[i] = kv
	}
	s.kv = s.shards[0]
	var err error
	s.bodies, err = openBodies(ctx, js, replicas, s.quotas.bytes)
	return s, err
}

func submissionKey(account, id string) string { return submissionPrefix + account + "." + id }
func openKey(account, id string) string       { return openPrefix + account + "." + id }

// split takes a key of one of the two kinds apart.
func split(key string) (account, id string) {
	_, rest, _ := strings.Cut(key, ".")
	account, id, _ = strings.Cut(rest, ".")
	return account, id
}

// Get returns a submission. It fails with [ErrNotFound].
func (s *Store) Get(ctx context.Context, account, id string) (*Submission, error) {
	entry, err := s.shard(id).Get(ctx, submissionKey(account, id))
	if errors.Is(err, jetstream.ErrKeyNotFound) || errors.Is(err, jetstream.ErrInvalidKey) {
		return nil, fmt.Errorf("submission %s of account %s: %w", id, account, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read submission %s: %w", id, err)
	}
	return decode(entry)
}

func decode(entry jetstream.KeyValueEntry) (*Submission, error) {
	submission := &Submission{}
	if err := submission.decode(entry.Value()); err != nil {
		return nil, fmt.Errorf("read %s: %w", entry.Key(), err)
	}
	submission.Revision = entry.Revision()
	return submission, nil
}

// List returns the submissions of an account, the newest first, from the one after
// a given id on, and at most as many as asked for. It returns fewer only where
// there are no more.
func (s *Store) List(ctx context.Context, account, after string, limit int) ([]*Submission, error) {
	ids, err := s.ids(ctx, submissionPrefix+account+".*")
	if err != nil {
		return nil, err
	}
	slices.SortFunc(ids, func(a, b string) int { return strings.Compare(b, a) })
	var page []*Submission
	for _, id := range ids {
		if after != "" && id >= after {
			continue
		}
		if len(page) == limit {
			break
		}
		submission, err := s.Get(ctx, account, id)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		page = append(page, submission)
	}
	return page, nil
}

// ids lists the last tokens of the keys that match a pattern.
func (s *Store) ids(ctx context.Context, pattern string) ([]string, error) {
	keys, err := s.keys(ctx, pattern)
	if err != nil {
		return nil, err
	}
	for i, key := range keys {
		_, keys[i] = split(key)
	}
	return keys, nil
}

// keys lists the keys of submissions that match a pattern.
func (s *Store) keys(ctx context.Context, pattern string) ([]string, error) {
	var keys []string
	for _, kv := range s.shards {
		more, err := listKeys(ctx, kv, pattern)
		if err != nil {
			return nil, err
		}
		keys = append(keys, more...)
	}
	return keys, nil
}

func listKeys(ctx context.Context, kv jetstream.KeyValue, pattern string) ([]string, error) {
	lister, err := kv.ListKeysFiltered(ctx, pattern)
	if err != nil {
		return nil, fmt.Errorf("list submissions %s: %w", pattern, err)
	}
	var keys []string
	for key := range lister.Keys() {
		keys = append(keys, key)
	}
	return keys, ctx.Err()
}

// Body opens the message of a submission. It fails with a [*BodyError] where it is
// gone.
func (s *Store) Body(ctx context.Context, account, id string) (io.Reader, error) {
	submission, err := s.Get(ctx, account, id)
	if err != nil {
		return nil, err
	}
	return s.openMessage(ctx, submission)
}

// openMessage is Body for what was read just now.
func (s *Store) openMessage(ctx context.Context, submission *Submission) (io.Reader, error) {
	if submission.message != nil {
		return bytes.NewReader(submission.message), nil
	}
	body, err := s.bodies.open(ctx, submission.bodyRef())
	if errors.Is(err, errNoBody) {
		return nil, &BodyError{Err: err}
	}
	return body, err
}

// write stores the submission in place of the one that it was read as. It fails
// with [ErrConflict].
func (s *Store) write(ctx context.Context, submission *Submission) error {
	value, err := submission.encode()
	if err != nil {
		return err
	}
	key := submissionKey(submission.Account, submission.ID)
	revision, err := s.shard(submission.ID).Update(ctx, key, value, submission.Revision)
	if kvbucket.IsConflict(err) {
		return fmt.Errorf("submission %s: %w: %w", submission.ID, ErrConflict, err)
	}
	if err != nil {
		return fmt.Errorf("write submission %s: %w", submission.ID, err)
	}
	submission.Revision = revision
	s.waiting.tell(submission)
	return nil
}

// Update changes a submission, again if somebody else was faster. It fails with
// [ErrNotFound] or as change does.
func (s *Store) Update(ctx context.Context, account, id string, change func(*Submission) error) (submission *Submission, err error) {
	err = kvbucket.Change(ctx, "change submission "+id, func() error {
		if submission, err = s.Get(ctx, account, id); err != nil {
			return err
		}
		if err := change(submission); err != nil {
			return err
		}
		return s.write(ctx, submission)
	})
	if err != nil {
		return nil, err
	}
	return submission, nil
}
