package submit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

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
	_, err = s.kv.Create(ctx, openKey(account, id), value)
	if err != nil && !isConflict(err) {
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

// Untold returns what is to be told of an account's submissions, each one's
// transitions in their order, at most as many as asked for.
func (s *Store) Untold(ctx context.Context, account string, limit int) ([]Untold, error) {
	ids, err := s.ids(ctx, openPrefix+account+".*")
	if err != nil {
		return nil, err
	}
	var untold []Untold
	for _, id := range ids {
		entry, err := s.openEntry(ctx, account, id)
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

func (s *Store) openEntry(ctx context.Context, account, id string) (openEntry, error) {
	var value openEntry
	entry, err := s.kv.Get(ctx, openKey(account, id))
	if err != nil {
		return value, fmt.Errorf("read what was told of submission %s: %w", id, err)
	}
	return value, json.Unmarshal(entry.Value(), &value)
}

// Told notes that the transitions of a submission up to a number were told of, unless
// that is noted.
// Only the owner of the account's events calls it.
func (s *Store) Told(ctx context.Context, account, id string, number int) error {
	entry, err := s.kv.Get(ctx, openKey(account, id))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read what was told of submission %s: %w", id, err)
	}
	var noted openEntry
	if err := json.Unmarshal(entry.Value(), &noted); err != nil {
		return fmt.Errorf("read what was told of submission %s: %w", id, err)
	}
	if noted.Told >= number {
		return s.closeIfDone(ctx, account, id, entry.Revision(), noted.Told)
	}
	value, err := json.Marshal(openEntry{Told: number})
	if err != nil {
		return err
	}
	revision, err := s.kv.Update(ctx, openKey(account, id), value, entry.Revision())
	if err != nil {
		return fmt.Errorf("note what was told of submission %s: %w", id, err)
	}
	return s.closeIfDone(ctx, account, id, revision, number)
}

// closeIfDone forgets that there is something to do, if there is not. A retry
// opens the submission before it changes it, and so changes the revision.
func (s *Store) closeIfDone(ctx context.Context, account, id string, revision uint64, told int) error {
	submission, err := s.Get(ctx, account, id)
	if errors.Is(err, ErrNotFound) {
		return nil // the outbox forgets the rest of it
	}
	if err != nil {
		return err
	}
	if !submission.State.Final() || !submission.Saved || told < len(submission.Transitions) {
		return nil
	}
	err = s.kv.Delete(ctx, openKey(account, id), jetstream.LastRevision(revision))
	if err != nil && !isConflict(err) {
		return fmt.Errorf("close submission %s: %w", id, err)
	}
	return nil
}

// closeDone forgets that there is something to do for a submission that has ended
// and was told of.
func (s *Store) closeDone(ctx context.Context, account, id string) error {
	entry, err := s.kv.Get(ctx, openKey(account, id))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read what was told of submission %s: %w", id, err)
	}
	var value openEntry
	if err := json.Unmarshal(entry.Value(), &value); err != nil {
		return fmt.Errorf("read what was told of submission %s: %w", id, err)
	}
	return s.closeIfDone(ctx, account, id, entry.Revision(), value.Told)
}

// openedAt is when it was last noted that something is to do for a submission, zero
// where it is not.
func (s *Store) openedAt(ctx context.Context, account, id string) (time.Time, error) {
	entry, err := s.kv.Get(ctx, openKey(account, id))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("read when submission %s was opened: %w", id, err)
	}
	return entry.Created(), nil
}
