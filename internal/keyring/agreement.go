package keyring

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/kvbucket"
	"github.com/postern-mail/postern/internal/secret"
)

// Bucket is where the agreement is kept, and derived keys.
const Bucket = "postern_keys"

// agreementKey is the key of the agreement.
const agreementKey = "agreement"

// agreement is what all nodes have agreed on.
type agreement struct {
	// Check is a check value, sealed with the key that seals.
	Check secret.Sealed `json:"check"`
	// Next is the key that is about to take its place, 0 for none. A node that does
	// not have it takes it back.
	Next secret.KeyID `json:"next,omitempty"`
	// Former are those that have sealed before. None of them does again, so that
	// nodes with an older file do not turn the wheel back.
	Former []secret.KeyID `json:"former,omitempty"`

	revision uint64
}

// active is the key that seals.
func (a *agreement) active() secret.KeyID {
	id, _ := secret.SealedBy(a.Check)
	return id
}

func decodeAgreement(entry jetstream.KeyValueEntry) (*agreement, error) {
	a := &agreement{revision: entry.Revision()}
	if err := json.Unmarshal(entry.Value(), a); err != nil {
		return nil, fmt.Errorf("the record of the key that seals (%s in %s) is damaged", agreementKey, Bucket)
	}
	return a, nil
}

// read gives the agreement. It fails with [jetstream.ErrKeyNotFound].
func (r *Ring) read(ctx context.Context) (*agreement, error) {
	entry, err := r.kv.Get(ctx, agreementKey)
	if err != nil {
		return nil, fmt.Errorf("read which key seals: %w", err)
	}
	return decodeAgreement(entry)
}

// write replaces the agreement unless somebody else has.
func (r *Ring) write(ctx context.Context, a *agreement) error {
	value, err := json.Marshal(a)
	if err != nil {
		return err
	}
	a.revision, err = r.kv.Update(ctx, agreementKey, value, a.revision)
	if err != nil {
		return fmt.Errorf("record which key seals: %w", err)
	}
	return nil
}

// join has the box seal with the key that all nodes have agreed on, and makes the
// agreement at the first start. It fails with [*secret.WrongKeyError].
func (r *Ring) join(ctx context.Context) error {
	for {
		a, err := r.read(ctx)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			a, err = r.begin(ctx)
		}
		if err != nil {
			return err
		}
		if err := r.box.Check(a.Check); err != nil {
			return err
		}
		again, err := r.veto(ctx, a)
		if !again {
			return err
		}
	}
}

// begin makes the first agreement: on the key of the check value that an earlier
// version kept with the accounts, or else on the primary key.
func (r *Ring) begin(ctx context.Context) (*agreement, error) {
	a := &agreement{}
	var err error
	if a.Check, err = r.inherit(ctx); err != nil {
		return nil, err
	}
	if a.Check == nil {
		_, primary := r.box.Keys()
		if a.Check, err = r.box.NewCheck(primary); err != nil {
			return nil, err
		}
	}
	value, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	a.revision, err = r.kv.Create(ctx, agreementKey, value)
	if kvbucket.IsConflict(err) { // another node was faster
		return r.read(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("record which key seals: %w", err)
	}
	return a, nil
}

// inherit gives the check value of an earlier version, nil if there is none.
func (r *Ring) inherit(ctx context.Context) (secret.Sealed, error) {
	kv, err := r.js.KeyValue(ctx, "postern_accounts")
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil, nil
	}
	if err == nil {
		var entry jetstream.KeyValueEntry
		if entry, err = kv.Get(ctx, "check"); err == nil {
			return entry.Value(), nil
		}
	}
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, nil
	}
	return nil, fmt.Errorf("read the check value of the sealing key: %w", err)
}

// veto takes the next key back if this node does not have it: whoever is about to
// seal with it then finds this node among those to wait for. Again says that
// somebody else was faster.
func (r *Ring) veto(ctx context.Context, a *agreement) (again bool, err error) {
	if ids, _ := r.box.Keys(); a.Next == 0 || slices.Contains(ids, a.Next) {
		return false, nil
	}
	a.Next = 0
	err = r.write(ctx, a)
	return kvbucket.IsConflict(err), err
}

// advance takes the next step from the key that seals to the primary one of this
// node's key set, if there is one to be taken. Done says that this node seals with
// another key than before.
//
// The steps: every node that runs says which keys it has. When all have the new one
// it is noted as the next; whoever starts after that and lacks it takes it back.
// After a while in which nodes that were not heard of could be heard again, and if
// all have the key still, it is the one that seals.
func (r *Ring) advance(ctx context.Context) (done bool, err error) {
	a, err := r.read(ctx)
	if err != nil {
		return false, err
	}
	_, primary := r.box.Keys()
	if primary == a.active() || slices.Contains(a.Former, primary) {
		return false, nil
	}
	missing, err := r.lacking(ctx, primary)
	if err != nil {
		return false, err
	}
	if r.tellWaiting(primary, missing); len(missing) > 0 {
		return false, nil
	}
	switch {
	case a.Next != primary:
		a.Next = primary
		r.agreedAt.Reset()
		return false, r.write(ctx, a)
	case r.nodes != nil && !r.agreedAt.Passed(r.settle):
		return false, nil
	}
	a.Former = append(a.Former, a.active())
	a.Next = 0
	if a.Check, err = r.box.NewCheck(primary); err != nil {
		return false, err
	}
	if err := r.write(ctx, a); err != nil {
		return false, err
	}
	return true, r.box.Use(primary)
}
