package account

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// State is how the watching connection of an account is.
type State string

// The states, as the API has them.
const (
	Connecting   State = "CONNECTING"    // a connection is being made
	Syncing      State = "SYNCING"       // connected, reading what has changed meanwhile
	Connected    State = "CONNECTED"     // all that was noticed is in the log
	Degraded     State = "DEGRADED"      // connected, but not all of it can be watched
	AuthRequired State = "AUTH_REQUIRED" // credentials refused; nothing is tried until they change
	Paused       State = "PAUSED"        // not watched, because somebody asked for that
	Failed       State = "ERROR"         // cannot be reached; tried again by itself
)

// Status is what the owner of the watching connection says about an account.
type Status struct {
	State State `json:"state"`
	// Detail says why the state is what it is and what to do about it, for a
	// person to read. Empty while all is well.
	Detail string `json:"detail,omitempty"`
	// Capabilities are what the server listed after the last login.
	Capabilities []string `json:"capabilities,omitempty"`
	// Notify says that the server tells of all folders by NOTIFY.
	Notify        bool      `json:"notify,omitempty"`
	LastEventTime time.Time `json:"last_event_time,omitzero"`
	// SinceTime is when the state began.
	SinceTime time.Time `json:"since_time,omitzero"`
	Counters  Counters  `json:"counters"`
}

// Counters count what has happened since the account was created.
type Counters struct {
	Events   int64 `json:"events"`   // events written into the log
	Connects int64 `json:"connects"` // watching connections that could log in
	Failures int64 `json:"failures"` // watching connections that failed or broke
}

// statusRecord is the stored form. Created ties a status to one life of an id:
// what a former owner still writes after the account was deleted and registered
// anew says nothing of the new one.
type statusRecord struct {
	Created time.Time `json:"created"`
	Status
}

// PutStatus stores the status of an account. Only the owner of the watching
// connection calls it, and not more often than readers profit from. It fails
// with [ErrNotFound] when the account is gone.
func (r *Registry) PutStatus(ctx context.Context, a *Account, status Status) error {
	if cached, ok := r.cache.get(a.ID); !ok || !cached.account.CreateTime.Equal(a.CreateTime) {
		return fmt.Errorf("status of account %s: %w", a.ID, ErrNotFound)
	}
	status.Capabilities = slices.Clone(status.Capabilities) // the cache keeps it
	record := statusRecord{Created: a.CreateTime, Status: status}
	value, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("status of account %s: %w", a.ID, err)
	}
	// A node whose storage fails shows what it knows all the same.
	r.cache.holdStatus(a.ID, &record)
	revision, err := r.kv.Put(ctx, statusKey(a.ID), value)
	if err != nil {
		return fmt.Errorf("store status of account %s: %w", a.ID, err)
	}
	r.cache.putStatus(a.ID, revision, &record)
	return nil
}

// joined gives the status that a reader is to see. A pause or its end shows at
// once, before the owner has taken notice.
func (s *statusRecord) joined(a *Account) Status {
	status := Status{State: Connecting}
	if s != nil && s.Created.Equal(a.CreateTime) {
		status = s.Status
	}
	switch {
	case a.Paused && status.State != Paused:
		status.State, status.Detail, status.SinceTime = Paused, "", a.UpdateTime
	case !a.Paused && status.State == Paused:
		status.State, status.Detail, status.SinceTime = Connecting, "", a.UpdateTime
	}
	return status
}
