package submit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

// claim says which submission a request id stands for.
type claim struct {
	ID     string `json:"id"`
	Digest string `json:"digest"`
}

// Create stores a submission with its message and returns it once both are
// synced. The account, the envelope and Digest are the caller's, the id, the times
// and the state are not.
//
// A request id makes it safe to repeat: the same one with the same Digest returns
// the submission that there is. It fails with [ErrRequestIDReused] where the Digest
// is another, and as write does.
func (s *Store) Create(ctx context.Context, submission *Submission, request string, giveUp time.Duration, write WriteFunc) (*Submission, error) {
	now := time.Now().UTC()
	made := submission.clone()
	made.ID, made.CreateTime = newID(now), now
	if request != "" {
		earlier, err := s.claim(ctx, made, request)
		if err != nil || earlier != nil {
			return earlier, err
		}
	}
	if err := s.putBody(ctx, made, write); err != nil {
		return nil, err
	}
	start(made, now, giveUp)
	if err := s.open(ctx, made.Account, made.ID, 0); err != nil {
		return nil, err
	}
	value, err := json.Marshal(made)
	if err != nil {
		return nil, err
	}
	made.Revision, err = s.kv.Create(ctx, submissionKey(made.Account, made.ID), value)
	if isConflict(err) { // the same request at the same time
		return s.Get(ctx, made.Account, made.ID)
	}
	if err != nil {
		return nil, fmt.Errorf("store the submission: %w", err)
	}
	return made, nil
}

// start gives a new submission its first state.
func start(s *Submission, now time.Time, giveUp time.Duration) {
	s.NextAttempt = now
	state := Queued
	if s.SendTime.After(now) {
		state, s.NextAttempt = Scheduled, s.SendTime
	}
	s.GiveUpTime = s.NextAttempt.Add(giveUp)
	for i := range s.Recipients {
		s.Recipients[i].State = RecipientPending
	}
	s.become(state, now, "")
}

// claim ties a request id to the submission that is about to be stored. Where the
// id was used before, the submission that it led to is returned; if there is none,
// because the process died in between, the new one gets its id.
func (s *Store) claim(ctx context.Context, made *Submission, request string) (*Submission, error) {
	hash := sha256.Sum256([]byte(request))
	key := requestPrefix + made.Account + "." + hex.EncodeToString(hash[:16])
	value, err := json.Marshal(claim{ID: made.ID, Digest: made.Digest})
	if err != nil {
		return nil, err
	}
	_, err = s.kv.Create(ctx, key, value, jetstream.KeyTTL(requestTTL))
	if err == nil {
		return nil, nil
	}
	if !isConflict(err) {
		return nil, fmt.Errorf("claim the request id: %w", err)
	}
	entry, err := s.kv.Get(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("read the claim of the request id: %w", err)
	}
	var earlier claim
	if err := json.Unmarshal(entry.Value(), &earlier); err != nil {
		return nil, fmt.Errorf("read the claim of the request id: %w", err)
	}
	if earlier.Digest != made.Digest {
		return nil, ErrRequestIDReused
	}
	made.ID = earlier.ID
	submission, err := s.Get(ctx, made.Account, made.ID)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return submission, err
}

// WriteFunc writes the message of a submission.
type WriteFunc func(w io.Writer, made *Submission) error

// putBody stores a message, and notes its size. What is stored in part, because
// write fails, is dropped.
func (s *Store) putBody(ctx context.Context, made *Submission, write WriteFunc) error {
	r, w := io.Pipe()
	var writer errgroup.Group
	writer.Go(func() error {
		err := write(w, made)
		w.CloseWithError(err) // nil is the end
		return err
	})
	info, err := s.bodies.Put(ctx, jetstream.ObjectMeta{Name: bodyName(made.Account, made.ID)}, r)
	_ = r.Close() // so that a write that nobody reads any more ends
	if writeErr := writer.Wait(); writeErr != nil && !errors.Is(writeErr, io.ErrClosedPipe) {
		return writeErr
	}
	if err != nil {
		return fmt.Errorf("store the message: %w", err)
	}
	made.Size = int64(info.Size)
	return nil
}
