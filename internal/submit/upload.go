package submit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// UploadTTL is for how long an upload is kept for a message to be made of it.
const UploadTTL = 24 * time.Hour

const uploadPrefix = "upload."

func uploadKey(account, id string) string { return uploadPrefix + account + "." + id }

// ErrUploadNotFound says that there is no such upload, or that it was used or is too
// old.
var ErrUploadNotFound = errors.New("no such upload")

// Upload is a file that was given to become an attachment.
type Upload struct {
	ID          string    `json:"id"`
	Account     string    `json:"account"`
	Filename    string    `json:"filename,omitempty"`
	ContentType string    `json:"content_type,omitempty"`
	Size        int64     `json:"size"`
	ExpireTime  time.Time `json:"expire_time"`
}

// CreateUpload stores a file. Its size is given where it is known before, else 0.
// write writes it, and when that fails nothing of it is kept. It fails as write does,
// and with a [*limit.FullError], before anything is written where that can be known.
func (s *Store) CreateUpload(ctx context.Context, upload Upload, write func(io.Writer) error) (_ *Upload, err error) {
	hold := s.quotas.uploads.Hold(upload.Account)
	defer func() { hold.Done(err == nil) }()
	if err := hold.Take(ctx, 1); err != nil {
		return nil, err
	}
	if err := s.quotas.bytes.Room(ctx, upload.Account, max(1, upload.Size)); err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	upload.ID, upload.ExpireTime = NewID(now), now.Add(UploadTTL)
	if _, upload.Size, err = s.bodies.put(ctx, uploadRef(upload.Account, upload.ID), -1, write); err != nil {
		return nil, err
	}
	value, err := json.Marshal(upload)
	if err != nil {
		return nil, err
	}
	if _, err := s.kv.Create(ctx, uploadKey(upload.Account, upload.ID), value, jetstream.KeyTTL(UploadTTL)); err != nil {
		return nil, fmt.Errorf("note the upload: %w", err)
	}
	return &upload, nil
}

// Upload returns what is known of an upload. It fails with [ErrUploadNotFound].
func (s *Store) Upload(ctx context.Context, account, id string) (*Upload, error) {
	entry, err := s.kv.Get(ctx, uploadKey(account, id))
	if errors.Is(err, jetstream.ErrKeyNotFound) || errors.Is(err, jetstream.ErrInvalidKey) {
		return nil, fmt.Errorf("upload %s: %w", id, ErrUploadNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read upload %s: %w", id, err)
	}
	var upload Upload
	if err := json.Unmarshal(entry.Value(), &upload); err != nil {
		return nil, fmt.Errorf("read upload %s: %w", id, err)
	}
	return &upload, nil
}

// OpenUpload opens the content of an upload. It fails with [ErrUploadNotFound].
func (s *Store) OpenUpload(ctx context.Context, account, id string) (io.Reader, error) {
	content, err := s.bodies.open(ctx, uploadRef(account, id))
	if errors.Is(err, errNoBody) {
		return nil, fmt.Errorf("upload %s: %w", id, ErrUploadNotFound)
	}
	return content, err
}

// DropUpload forgets an upload that has become part of a message.
func (s *Store) DropUpload(ctx context.Context, account, id string) error {
	if err := s.kv.Purge(ctx, uploadKey(account, id), jetstream.PurgeTTL(time.Hour)); err != nil {
		return fmt.Errorf("forget upload %s: %w", id, err)
	}
	return s.bodies.drop(ctx, uploadRef(account, id))
}

// forgetUploads drops the uploads of an account.
func (s *Store) forgetUploads(ctx context.Context, account string) error {
	keys, err := listKeys(ctx, s.kv, uploadKey(account, "*"))
	if err != nil {
		return err
	}
	for _, key := range keys {
		_, id := split(key)
		if err := s.DropUpload(ctx, account, id); err != nil {
			return err
		}
	}
	return nil
}

// sweepBodies drops what nobody refers to any more: uploads that are too old, and
// messages of which no submission came to be, begun before a point in time.
func (s *Store) sweepBodies(ctx context.Context, before time.Time) error {
	refs, err := s.bodies.before(ctx, before)
	if err != nil {
		return err
	}
	for _, ref := range refs {
		needed, err := s.refers(ctx, ref)
		if err != nil || needed {
			continue
		}
		if err := s.bodies.drop(ctx, ref); err != nil {
			return err
		}
	}
	return nil
}

// refers reports whether a body is that of something.
func (s *Store) refers(ctx context.Context, ref bodyRef) (bool, error) {
	if ref.kind == uploadRef("", "").kind {
		_, err := s.Upload(ctx, ref.account, ref.id)
		return err == nil, ignore(err, ErrUploadNotFound)
	}
	id, _, _ := strings.Cut(ref.id, bodySeparator)
	submission, err := s.Get(ctx, ref.account, id)
	return err == nil && submission.bodyRef() == ref && !submission.messageDone(), ignore(err, ErrNotFound)
}

// ignore gives an error unless it is one that is expected.
func ignore(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}
