package idle

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/event"
)

// changed is where others leave news for an owner at work.
type changed struct {
	mu      sync.Mutex
	last    *account.Account // as far as the supervisor knows
	pending *account.Account // not yet taken over by the owner
	folders bool             // they have changed: see hint
	// submissions are those of which there may be something to tell.
	submissions submissionSet
	interrupt   func()          // ends the wait of the connection, nil without one
	named       map[string]bool // names of folders that something has changed in
	// wake ends a wait without a connection's.
	wake chan struct{}
}

// rouse makes the owner see to what is handed over. The caller holds mu.
func (c *changed) rouse() {
	if c.interrupt != nil {
		c.interrupt()
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// folder tells the owner that something has changed in a folder. Any goroutine may call it.
func (c *changed) folder(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.named == nil {
		c.named = make(map[string]bool)
	}
	c.named[name] = true
	c.rouse()
}

// takeNamed gives the names of the folders that something has changed in, once.
func (c *changed) takeNamed() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	names := slices.Collect(maps.Keys(c.named))
	c.named = nil
	return names
}

// interruptBy sets what wakes the owner, nil when nothing has to.
func (c *changed) interruptBy(interrupt func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.interrupt = interrupt
}

// update hands new settings to a running owner. It returns false when they need
// another owner, because of how the mailbox is to be watched. Any goroutine may
// call it.
func (o *owner) update(a *account.Account) bool {
	c := &o.changed
	c.mu.Lock()
	defer c.mu.Unlock()
	if !sameWatch(c.last, a) {
		return false
	}
	c.last, c.pending = a, a
	c.rouse()
	return true
}

// hint tells the owner that the account's folders have changed. Any goroutine may
// call it.
func (o *owner) hint() {
	c := &o.changed
	c.mu.Lock()
	defer c.mu.Unlock()
	c.folders = true
	c.rouse()
}

// follow makes the owner announce what changed since the settings that the
// owner before it knew.
func (o *owner) follow(before *owner) {
	if o == nil {
		return
	}
	before.changed.mu.Lock()
	defer before.changed.mu.Unlock()
	o.known = before.changed.last
}

// sameWatch reports whether an owner can go on although the account changed.
func sameWatch(a, b *account.Account) bool {
	return a.ConnectionRevision == b.ConnectionRevision && a.Reconnects == b.Reconnects && a.Paused == b.Paused &&
		a.CreateTime.Equal(b.CreateTime) && a.Watch.Equal(b.Watch)
}

// takeUpdate takes the news over, and announces what changed in the settings for
// those who use the account.
func (o *owner) takeUpdate(ctx context.Context) error {
	o.changed.mu.Lock()
	if o.changed.pending != nil {
		o.account, o.changed.pending = o.changed.pending, nil
	}
	o.elsewhere = o.elsewhere || o.changed.folders
	o.changed.folders = false
	submissions := o.changed.submissions
	o.changed.submissions = submissionSet{}
	o.changed.mu.Unlock()
	if fields := changedFields(o.known, o.account); len(fields) > 0 {
		err := o.tell(ctx, &event.AccountUpdated{AccountRef: event.AccountAt(o.id()), Fields: fields})
		if err != nil {
			return err
		}
	}
	o.known = o.account
	if o.first.Folders != nil && o.first.SyncStarted < o.wantedSync() {
		o.elsewhere = true // somebody asks for a look at everything
	}
	if !submissions.any() {
		return nil
	}
	err := o.tellSubmissions(ctx, submissions.list())
	if err != nil {
		o.changed.allSubmitted() // so that it is tried again
	}
	return err
}

// sameServer reports whether two settings lead to the same mailbox. New
// connections may have been asked for without any change.
func sameServer(a, b *account.Account) bool {
	return a.ConnectionRevision == b.ConnectionRevision || a.Reconnects != b.Reconnects && a.IMAP.Equal(&b.IMAP)
}

// changedFields names the settings that differ, as the API spells them.
func changedFields(a, b *account.Account) []string {
	var fields []string
	for _, field := range []struct {
		name string
		same bool
	}{
		{"displayName", a.DisplayName == b.DisplayName},
		{"email", a.Email == b.Email},
		{"imap", sameServer(a, b)},
		{"smtp", a.SMTP.Equal(b.SMTP)},
		{"labels", maps.Equal(a.Labels, b.Labels)},
		{"watch", a.Watch.Equal(b.Watch)},
		{"sending", a.Sending == b.Sending},
	} {
		if !field.same {
			fields = append(fields, field.name)
		}
	}
	return fields
}
