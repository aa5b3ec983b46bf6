package imapconn

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/postern-mail/postern/internal/limit"
)

// DoOptions says what kind of connection is needed.
type DoOptions struct {
	// ReadOnly lets the mailbox be opened by EXAMINE.
	ReadOnly bool
	// Once says that the request must not be sent twice, because doing it twice
	// would have another effect than doing it once, as with APPEND. It is then
	// sent only on a connection that has just proved to be alive, and never
	// again.
	Once bool
	// Again lets fn be called anew, on a new connection, when a FETCH has cost the
	// one that it had and is worth repeating: see [Suspects].
	Again bool
	// Slow says that somebody else sets the pace of fn, such as a client that
	// downloads. Slow requests wait for each other while only one connection is
	// left, so that a few of them cannot hold up all else that the account's
	// pool is for. A pool of one connection has none to spare.
	Slow bool
	// For says on whose behalf a connection is needed. Those who wait get theirs by
	// turns, and while several ask nobody gets all.
	For string
	// Wait bounds the wait for a connection to be free; 0 means that ctx alone
	// does. Do then fails with a [*BusyError].
	Wait time.Duration
}

// BusyError says that all connections that an account or a host may have were
// in use for too long.
type BusyError struct {
	// Waited is how long was waited for one.
	Waited time.Duration
}

func (e *BusyError) Error() string {
	return fmt.Sprintf("all connections are in use since %s", e.Waited)
}

func acquire(ctx context.Context, opts *DoOptions, slots *limit.Line) error {
	turn := limit.TurnOf(ctx)
	turn.Pause()
	defer turn.Resume()
	return patiently(ctx, opts.Wait, func(ctx context.Context) error {
		if err := slots.Enter(ctx, opts.For); err != nil {
			return fmt.Errorf("wait for a connection: %w", err)
		}
		return nil
	})
}

// patiently runs a wait that is bounded by patience, unless that is 0, and by
// ctx, and tells which of the two ended it.
func patiently(ctx context.Context, patience time.Duration, wait func(context.Context) error) error {
	if patience <= 0 {
		return wait(ctx)
	}
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := wait(bounded)
	if err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return &BusyError{Waited: patience}
	}
	return err
}
