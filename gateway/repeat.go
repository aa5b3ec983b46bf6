package gateway

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/protobuf/proto"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/requestid"
)

// once gives what came of a request with this id and content, or runs it. again
// says that it may have been done already.
func (s *messageService) once(ctx context.Context, accountID, method, id string, content []byte,
	run func(ctx context.Context, again bool) (string, error),
) (string, error) {
	return s.requests.Do(ctx, accountID+"/"+method, id, content, func(ctx context.Context, again bool) (string, error) {
		outcome, err := run(ctx, again)
		if err != nil && !isCertain(err) {
			err = &requestid.UncertainError{Err: err}
		}
		return outcome, err
	})
}

// begin begins an attempt at a request that makes something.
func begin(ctx context.Context, requests *requestid.Store, accountID, method, id string, req proto.Message, plan string) (*requestid.Attempt, error) {
	return requests.Begin(ctx, accountID+"/"+method, id, contentOf(req), plan)
}

// contentOf is what two requests with the same id must have in common.
func contentOf(req proto.Message) []byte {
	same := proto.Clone(req)
	m := same.ProtoReflect()
	m.Clear(m.Descriptor().Fields().ByName("request_id"))
	content, err := proto.MarshalOptions{Deterministic: true}.Marshal(same)
	if err != nil {
		return nil // what was received can be encoded
	}
	return content
}

// isCertain tells the errors with which a request was refused from those after
// which nobody knows what the server has made of it.
func isCertain(err error) bool {
	if _, ok := asFailure(err); ok {
		return true
	}
	var refused *imapconn.Error
	var busy *imapconn.BusyError
	var auth *imapconn.AuthError
	var tls *imapconn.TLSError
	return errors.As(err, &refused) || errors.As(err, &busy) || errors.As(err, &auth) || errors.As(err, &tls)
}

// outcomeOf is what is kept of the answer with a message: its name, or where
// that is not known, its folder's.
func outcomeOf(m *posternv1.Message) string {
	if m.GetName() == "" {
		return m.GetFolder()
	}
	return m.GetName()
}

// recall answers with a message that was made before.
func (s *messageService) recall(ctx context.Context, outcome string, in folder.Folder) *posternv1.Message {
	if !strings.Contains(outcome, "/messages/") {
		return &posternv1.Message{Folder: outcome}
	}
	return s.describe(ctx, outcome, in)
}
