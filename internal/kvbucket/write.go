package kvbucket

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// IsConflict reports whether a write was refused because the record is not, or no
// longer, as the writer expects: somebody else was faster.
//
// It goes by the server's codes, of which a bucket with replicas has one of its own.
// The client's errors do not always tell: ErrKeyExists does not stand for that one
// after an Update, nor after a Create over a record that was deleted.
func IsConflict(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// Now is the time as records keep it: in microseconds.
func Now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// Etag stands for a record that was created at a time, and changed so many times
// since. The revision of its key will not do where the key is written without a change
// of what users see, as when it is sealed anew.
func Etag(created time.Time, changes uint64) string {
	return strconv.FormatInt(created.UnixMicro(), 36) + "-" + strconv.FormatUint(changes, 36)
}

const (
	// maxWrites bounds how often a change is tried because somebody else was faster.
	maxWrites = 20
	// firstPause bounds the pause after the first attempt. It doubles up to maxPause.
	firstPause = time.Millisecond
	maxPause   = 256 * time.Millisecond
)

// Change calls try, which reads a record and writes it changed, until nobody else was
// faster. What else goes wrong ends it; act says in an error what was to be done.
//
// In between it waits a moment: where a bucket has replicas, others are refused for as
// long as a write is under way, and who looks again at once finds the record as it was.
func Change(ctx context.Context, act string, try func() error) error {
	longest := firstPause
	for range maxWrites {
		err := try()
		if !IsConflict(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", act, ctx.Err())
		case <-time.After(rand.N(longest)): //nolint:gosec // spreads attempts, hides nothing
		}
		longest = min(2*longest, maxPause)
	}
	return fmt.Errorf("%s: others changed it %d times in a row", act, maxWrites)
}
