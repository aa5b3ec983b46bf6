package kvbucket

import (
	"errors"
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
