package submit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/kvbucket"
)

// markerTTL is how long it is remembered that a key was removed, for those who watch.
const markerTTL = time.Hour

// openEntry is the value of an open key.
type openEntry struct {
	// Told is how many transitions have been told of.
	Told int `json:"told"`
}

// open notes that something is left to do for a submission. told is how many
// transitions were told of, where that is not noted yet.
func (s *Store) open(ctx context.Context, account, id string, told int) error {
	value, err := json.Marshal(openEntry{Told: told})
	if err != nil {
		return err
	}
	_, err = s.shard(id).Create(ctx, openKey(account, id), value)
	if err != nil && !kvbucket.IsConflict(err) {
		return fmt.Errorf("open submission %s: %w", id, err)
	}
	return nil
}

// Untold is a transition that is to be told of.
type Untold struct {
	Submission *Submission
	// Number counts the transitions of the submission, from 1.
	Number int
	Transition
}

// Untold returns what is to be told of an account's submissions with the given ids, nil
// for all, each one's transitions in their order, at most as many as asked for. To look
// at all takes a while where many were sent in the last hour.
func (s *Store) Untold(ctx context.Context, account string, ids []string, limit int) ([]Untold, error) {
	if ids == nil {
		var err error
		if ids, err = s.ids(ctx, openPrefix+account+".*"); err != nil {
			return nil, err
		}
	}
	var untold []Untold
	for _, id := range ids {
		entry, _, err := s.openEntry(ctx, account, id)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			continue // closed meanwhile: all was told
		}
		if err != nil {
			return nil, err
		}
		submission, err := s.Get(ctx, account, id)
		if errors.Is(err, ErrNotFound) {
			continue // about to be created
		}
		if err != nil {
			return nil, err
		}
		for n := entry.Told; n < len(submission.Transitions); n++ {
			if len(untold) == limit {
				return untold, nil
			}
			untold = append(untold, Untold{Submission: submission, Number: n + 1, Transition: submission.Transitions[n]})
		}
	}
	return untold, nil
}

// openEntry reads what is noted of a submission that something is left to do for. It
// fails with jetstream's ErrKeyNotFound where nothing is.
func (s *Store) openEntry(ctx context.Context, account, id string) (noted openEntry, at jetstream.KeyValueEntry, err error) {
	at, err = s.shard(id).Get(ctx, openKey(account, id))
	if err == nil {
		err = json.Unmarshal(at.Value(), &noted)
	}
	if err != nil {
		return noted, nil, fmt.Errorf("read what was told of submission %s: %w", id, err)
	}
	return noted, at, nil
}

// Told notes that the transitions of a submission up to a number were told of, unless
// that is noted.
// Only the owner of the account's events calls it.
func (s *Store) Told(ctx context.Context, account, id string, number int) error {
	// A retry opens a submission anew meanwhile, and what it noted stays.
	return kvbucket.Change(ctx, "note what was told of submission "+id, func() error { return s.told(ctx, account, id, number) })
}

func (s *Store) told(ctx context.Context, account, id string, number int) error {
	noted, at, err := s.openEntry(ctx, account, id)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	revision := at.Revision()
	// At its end nothing has to be noted any more.
	closed, err := s.closeIfDone(ctx, account, id, revision, max(number, noted.Told))
	if err != nil || closed || noted.Told >= number {
		return err
	}
	value, err := json.Marshal(openEntry{Told: number})
	if err != nil {
		return err
	}
	revision, err = s.shard(id).Update(ctx, openKey(account, id), value, revision)
	if err != nil {
		return fmt.Errorf("note what was told of submission %s: %w", id, err)
	}
	// Whoever ended it meanwhile saw that something was still to be told.
	_, err = s.closeIfDone(ctx, account, id, revision, number)
	return err
}

// closeIfDone forgets that there is something to do, if there is not. A retry
// opens the submission before it changes it, and so changes the revision.
func (s *Store) closeIfDone(ctx context.Context, account, id string, revision uint64, told int) (closed bool, err error) {
	submission, err := s.Get(ctx, account, id)
	if errors.Is(err, ErrNotFound) {
		return false, nil // the outbox forgets the rest of it
	}
	if err != nil {
		return false, err
	}
	if !submission.State.Final() || !submission.Saved || told < len(submission.Transitions) {
		return false, nil
	}
	err = s.shard(id).Purge(ctx, openKey(account, id), jetstream.LastRevision(revision), jetstream.PurgeTTL(markerTTL))
	if kvbucket.IsConflict(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("close submission %s: %w", id, err)
	}
	return true, nil
}

// closeDone forgets that there is something to do for a submission that has ended
// and was told of.
func (s *Store) closeDone(ctx context.Context, account, id string) error {
	noted, at, err := s.openEntry(ctx, account, id)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = s.closeIfDone(ctx, account, id, at.Revision(), noted.Told)
	return err
}

// openedAt is when it was last noted that something is to do for a submission, zero
// where it is not.
func (s *Store) openedAt(ctx context.Context, account, id string) (time.Time, error) {
	_, at, err := s.openEntry(ctx, account, id)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	return at.Created(), nil
}
