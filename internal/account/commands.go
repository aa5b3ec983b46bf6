package account

import (
	"context"
	"fmt"
)

// SetPaused has an account watched, or not any more. It fails with
// [ErrNotFound].
func (r *Registry) SetPaused(ctx context.Context, id string, paused bool) (*Account, error) {
	return r.Update(ctx, id, "", func(a *Account) error {
		a.Paused = paused
		return nil
	})
}

// Reconnect asks for new connections in place of those that there are. It fails
// with [ErrNotFound] and [ErrPaused].
func (r *Registry) Reconnect(ctx context.Context, id string) (*Account, error) {
	return r.command(ctx, id, func(a *Account) { a.Reconnects++ })
}

// Resync asks for a comparison of all that is known of the mailbox with what the
// server has. It fails with [ErrNotFound] and [ErrPaused].
func (r *Registry) Resync(ctx context.Context, id string) (*Account, error) {
	return r.command(ctx, id, func(a *Account) { a.Resyncs++ })
}

func (r *Registry) command(ctx context.Context, id string, ask func(*Account)) (*Account, error) {
	return r.Update(ctx, id, "", func(a *Account) error {
		if a.Paused {
			return fmt.Errorf("account %s: %w", id, ErrPaused)
		}
		ask(a)
		return nil
	})
}
