package gateway

import (
	"errors"

	"google.golang.org/grpc/codes"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/submit"
)

// classifySubmissions knows the errors of the outbox.
func classifySubmissions(err error) *failure {
	var state *submit.StateError
	var gone *submit.BodyError
	switch {
	case errors.Is(err, account.ErrNoSMTP):
		return refuse(codes.FailedPrecondition, reasonSMTPNotConfigured,
			"The account has no SMTP server: update it with smtp, the server that its mail is sent through.")
	case errors.Is(err, submit.ErrNotFound):
		return refuse(codes.NotFound, reasonSubmissionNotFound, "There is no such submission, or it is no longer kept.").because(err)
	case errors.Is(err, submit.ErrBlockNotFound):
		return refuse(codes.NotFound, reasonBlockNotFound, "There is no such block: the address is not blocked, or not any more.").because(err)
	case errors.Is(err, submit.ErrUploadNotFound):
		return refuse(codes.NotFound, reasonUploadNotFound, "There is no such upload for this account, or a message was made of it, or it is older than a day: upload the file again.").because(err)
	case errors.As(err, &state):
		return refuse(codes.FailedPrecondition, reasonSubmissionState, "The submission is %s; for this it would have to be %s.", state.State, state.Want).
			with("state", string(state.State))
	case errors.As(err, &gone):
		return refuse(codes.FailedPrecondition, reasonSubmissionState, "The message of the submission is no longer kept: send it anew.").because(err)
	}
	return nil
}
