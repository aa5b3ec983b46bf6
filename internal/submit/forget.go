package submit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// forget drops all that is kept of a submission, last that there is one.
func (s *Store) forget(ctx context.Context, account, id string) error {
	submission, err := s.Get(ctx, account, id)
	if errors.Is(err, ErrNotFound) {
		submission, err = &Submission{Account: account, ID: id}, nil // the body is swept away
	}
	if err != nil {
		return err
	}
	if submission.message == nil {
		if err := s.bodies.drop(ctx, submission.bodyRef()); err != nil {
			return err
		}
	}
	for _, key := range []string{submissionKey(account, id), openKey(account, id)} {
		if err := s.shard(id).Purge(ctx, key, jetstream.PurgeTTL(markerTTL)); err != nil && !errors.Is(err, jetstream.ErrKeyNotFound) {
			return fmt.Errorf("forget submission %s: %w", id, err)
		}
	}
	return nil
}

// Forget drops all submissions of an account, its uploads and its blocklist.
func (s *Store) Forget(ctx context.Context, account string) error {
	for _, prefix := range []string{submissionPrefix, openPrefix} {
		ids, err := s.ids(ctx, prefix+account+".*")
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := s.forget(ctx, account, id); err != nil {
				return err
			}
		}
	}
	if err := s.forgetUploads(ctx, account); err != nil {
		return err
	}
	if err := s.forgetBlocks(ctx, account); err != nil {
		return err
	}
	return s.forgetIndex(ctx, account)
}

// forgetIndex drops what mail that comes back to an account is matched by.
func (s *Store) forgetIndex(ctx context.Context, account string) error {
	keys, err := listKeys(ctx, s.kv, sentPrefix+account+".*")
	if err != nil {
		return err
	}
	for _, key := range keys {
		if err := s.kv.Purge(ctx, key, jetstream.PurgeTTL(time.Hour)); err != nil && !errors.Is(err, jetstream.ErrKeyNotFound) {
			return fmt.Errorf("forget what was sent: %w", err)
		}
	}
	return nil
}

// forgetOld drops the submissions that ended before a point in time.
func (s *Store) forgetOld(ctx context.Context, before time.Time) error {
	keys, err := s.keys(ctx, submissionPrefix+">")
	if err != nil {
		return err
	}
	for _, key := range keys {
		account, id := split(key)
		if !olderThan(id, before) { // the creation is before the end
			continue
		}
		submission, err := s.Get(ctx, account, id)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if !submission.State.Final() || submission.EndTime.After(before) {
			continue
		}
		if err := s.forget(ctx, account, id); err != nil {
			return err
		}
	}
	return nil
}
