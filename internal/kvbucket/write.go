package kvbucket

import (
	"errors"

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
