package template

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/kvbucket"
	"github.com/postern-mail/postern/internal/limit"
)

const (
	bucket = "postern_templates"
	// markerTTL is for how long the bucket remembers a deletion.
	markerTTL = time.Hour
	// maxPage bounds a list in bytes of content, so that clients take it.
	maxPage = 2 << 20
)

// Stored is a template that has a name.
type Stored struct {
	ID          string
	DisplayName string
	Content     Content
	CreateTime  time.Time
	UpdateTime  time.Time
	// Etag stands for the template as it is.
	Etag string
}

// record is how a template is stored. The parts are bytes, which JSON has as base64:
// so their size in the store is bounded by their size.
type record struct {
	DisplayName string    `json:"display_name,omitempty"`
	Subject     []byte    `json:"subject,omitempty"`
	Text        []byte    `json:"text,omitempty"`
	HTML        []byte    `json:"html,omitempty"`
	CreateTime  time.Time `json:"create_time"`
	UpdateTime  time.Time `json:"update_time"`
}

// Store keeps templates in the KV bucket postern_templates. It is safe for concurrent
// use, and by several nodes.
type Store struct {
	kv   jetstream.KeyValue
	most int
}

// Open opens the store, and makes its bucket at the first start. replicas is the
// number of NATS servers that keep a copy, most how many templates there may be; 0
// means any number, and those that are created at the same moment may go beyond it.
func Open(ctx context.Context, js jetstream.JetStream, replicas, most int) (*Store, error) {
	kv, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket:         bucket,
		Description:    "Postern: templates of mail",
		Storage:        jetstream.FileStorage,
		Replicas:       max(replicas, 1),
		History:        1,
		LimitMarkerTTL: markerTTL,
	})
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", bucket, err)
	}
	return &Store{kv: kv, most: most}, nil
}

// Create stores a new template. It fails with [ErrExists], [*SyntaxError] and
// [*limit.FullError].
func (s *Store) Create(ctx context.Context, t *Stored) (*Stored, error) {
	if err := s.room(ctx); err != nil {
		return nil, err
	}
	made := *t
	made.CreateTime = kvbucket.Now()
	made.UpdateTime = made.CreateTime
	value, err := encode(&made)
	if err != nil {
		return nil, err
	}
	revision, err := s.kv.Create(ctx, made.ID, value)
	if kvbucket.IsConflict(err) {
		return nil, fmt.Errorf("template %s: %w", made.ID, ErrExists)
	}
	if err != nil {
		return nil, fmt.Errorf("create template %s: %w", made.ID, err)
	}
	made.Etag = etagOf(revision)
	return &made, nil
}

// room fails when there are too many templates.
func (s *Store) room(ctx context.Context) error {
	status, err := s.kv.Status(ctx)
	if err != nil {
		return fmt.Errorf("count the templates: %w", err)
	}
	if status.Values() < uint64(max(0, s.most)) || s.most <= 0 {
		return nil
	}
	// Marks of deletions are counted there, too.
	ids, err := s.ids(ctx)
	if err != nil {
		return err
	}
	return limit.Room("max-templates", "templates", len(ids), s.most)
}

func (s *Store) ids(ctx context.Context) (ids []string, err error) {
	lister, err := s.kv.ListKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the templates: %w", err)
	}
	for id := range lister.Keys() {
		ids = append(ids, id)
	}
	return ids, ctx.Err()
}

// Get reads a template. It fails with [ErrNotFound].
func (s *Store) Get(ctx context.Context, id string) (*Stored, error) {
	t, _, err := s.load(ctx, id)
	return t, err
}

func (s *Store) load(ctx context.Context, id string) (*Stored, uint64, error) {
	entry, err := s.kv.Get(ctx, id)
	if errors.Is(err, jetstream.ErrKeyNotFound) || errors.Is(err, jetstream.ErrInvalidKey) {
		return nil, 0, fmt.Errorf("template %q: %w", id, ErrNotFound)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read template %s: %w", id, err)
	}
	var r record
	if err := json.Unmarshal(entry.Value(), &r); err != nil {
		return nil, 0, fmt.Errorf("read template %s: %w", id, err)
	}
	return &Stored{
		ID: id, DisplayName: r.DisplayName, CreateTime: r.CreateTime, UpdateTime: r.UpdateTime, Etag: etagOf(entry.Revision()),
		Content: Content{Subject: string(r.Subject), Text: string(r.Text), HTML: string(r.HTML)},
	}, entry.Revision(), nil
}

// List reads the templates with an id above after, in the order of their ids, and at
// most limit, fewer where they are large. more says that there are further ones.
func (s *Store) List(ctx context.Context, after string, limit int) (templates []*Stored, more bool, err error) {
	ids, err := s.ids(ctx)
	if err != nil {
		return nil, false, err
	}
	ids = slices.DeleteFunc(ids, func(id string) bool { return id <= after })
	slices.Sort(ids)
	size := 0
	for _, id := range ids {
		if len(templates) == limit || size >= maxPage {
			return templates, true, nil
		}
		t, err := s.Get(ctx, id)
		if errors.Is(err, ErrNotFound) {
			continue // deleted just now
		}
		if err != nil {
			return nil, false, err
		}
		templates = append(templates, t)
		size += len(t.Content.Subject) + len(t.Content.Text) + len(t.Content.HTML)
	}
	return templates, false, nil
}

// Update applies change to a template as it is now and stores the result; change may
// be called several times. It fails with [ErrNotFound], [ErrEtagMismatch] unless the
// etag is empty or the present one, [*SyntaxError], and as change does.
func (s *Store) Update(ctx context.Context, id, etag string, change func(*Stored) error) (*Stored, error) {
	act := "update template " + id
	var next Stored
	err := kvbucket.Change(ctx, act, func() error {
		current, revision, err := s.load(ctx, id)
		if err != nil {
			return err
		}
		if etag != "" && etag != current.Etag {
			return fmt.Errorf("template %s: %w", id, ErrEtagMismatch)
		}
		next = *current
		if err := change(&next); err != nil || next == *current {
			return err
		}
		next.ID, next.CreateTime, next.UpdateTime = current.ID, current.CreateTime, kvbucket.Now()
		value, err := encode(&next)
		if err != nil {
			return err
		}
		if revision, err = s.kv.Update(ctx, id, value, revision); err != nil {
			return fmt.Errorf("%s: %w", act, err)
		}
		next.Etag = etagOf(revision)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &next, nil
}

// Delete forgets a template. It fails with [ErrNotFound], and [ErrEtagMismatch] unless
// the etag is empty or the present one.
func (s *Store) Delete(ctx context.Context, id, etag string) error {
	act := "delete template " + id
	return kvbucket.Change(ctx, act, func() error {
		current, revision, err := s.load(ctx, id)
		if err != nil {
			return err
		}
		if etag != "" && etag != current.Etag {
			return fmt.Errorf("template %s: %w", id, ErrEtagMismatch)
		}
		err = s.kv.Purge(ctx, id, jetstream.LastRevision(revision), jetstream.PurgeTTL(markerTTL))
		if err != nil {
			return fmt.Errorf("%s: %w", act, err)
		}
		return nil
	})
}

// encode checks that a template can be parsed, and writes it down.
func encode(t *Stored) ([]byte, error) {
	if _, err := Parse(t.Content); err != nil {
		return nil, err
	}
	return json.Marshal(record{
		DisplayName: t.DisplayName, CreateTime: t.CreateTime, UpdateTime: t.UpdateTime,
		Subject: []byte(t.Content.Subject), Text: []byte(t.Content.Text), HTML: []byte(t.Content.HTML),
	})
}

func etagOf(revision uint64) string { return strconv.FormatUint(revision, 36) }
