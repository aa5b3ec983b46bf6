package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"

	"github.com/postern-mail/postern/internal/access"
	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/eventlog"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/invalid"
	"github.com/postern-mail/postern/internal/limit"
	"github.com/postern-mail/postern/internal/netguard"
	"github.com/postern-mail/postern/internal/query"
	"github.com/postern-mail/postern/internal/requestid"
)

// inProgressRetry is when to ask for the answer of a call that is under way.
const inProgressRetry = 2 * time.Second

// keysRetry is when to try again with a token whose issuer's keys are not there.
const keysRetry = 5 * time.Second

// classify turns any error into what a client sees. It is the one place where
// the typed errors of the packages below become statuses; what none of the
// rules knows is INTERNAL, with the details in the log only.
func classify(ctx context.Context, err error) *failure {
	if f, ok := asFailure(err); ok {
		return f
	}
	for _, rule := range []func(error) *failure{
		classifyGuard, classifyInvalid, classifyAccounts, classifyFolders, classifyQuery, classifyEvents, classifyWebhooks, classifySubmissions, classifyTemplates,
		classifyAccess, classifyTokens, classifyFull,
	} {
		if f := rule(err); f != nil {
			return f
		}
	}
	if f := classifyContext(ctx, err); f != nil {
		return f
	}
	if f := classifyIMAP(err); f != nil {
		return f
	}
	if f := classifyStore(err); f != nil {
		return f
	}
	return refuse(codes.Internal, reasonInternal,
		"Something went wrong inside Postern. Its log has the details under the id %s.", requestID(ctx)).
		with("id", requestID(ctx)).because(err)
}

// classifyAccess: who calls may be for another server to say.
func classifyAccess(err error) *failure {
	if _, ok := errors.AsType[*access.UnavailableError](err); ok {
		return refuse(codes.Unavailable, reasonUnavailable,
			"The token cannot be checked at present, because the keys of its issuer are not there. Try again in a moment.").
			retryAfter(keysRetry).because(err)
	}
	return nil
}

// classifyContext: the caller's patience ended, not the server's. The state of
// the context decides and not the error alone, because a time-out of the
// network calls itself a DeadlineExceeded too.
func classifyContext(ctx context.Context, err error) *failure {
	var canceled *imapconn.CanceledError
	if ctx.Err() == nil && !errors.As(err, &canceled) {
		return nil
	}
	switch {
	case errors.Is(err, context.Canceled):
		return refuse(codes.Canceled, reasonCanceled, "The call was canceled.").because(err)
	case errors.Is(err, context.DeadlineExceeded):
		return refuse(codes.DeadlineExceeded, reasonDeadlineExceeded, "The deadline of the call has passed.").because(err)
	}
	return nil
}

func classifyQuery(err error) *failure {
	var syntax *query.SyntaxError
	var unsupported *query.UnsupportedError
	switch {
	case errors.As(err, &syntax):
		return refuseField("filter", reasonFilterInvalid, "The filter cannot be understood: %v.", syntax).
			with("position", strconv.Itoa(syntax.Pos)).with("column", strconv.Itoa(syntax.Column))
	case errors.As(err, &unsupported):
		return refuseField("filter", reasonFilterUnsupported, "The filter cannot be carried out: %v.", unsupported).
			with("position", strconv.Itoa(unsupported.Pos)).with("column", strconv.Itoa(unsupported.Column))
	}
	return nil
}

func classifyEvents(err error) *failure {
	var expired *eventlog.CursorExpiredError
	var slow *eventlog.SlowConsumerError
	switch {
	case errors.As(err, &expired):
		return refuse(codes.OutOfRange, reasonCursorExpired,
			"The events after this cursor are no longer in the log: read the folders anew and go on from the cursor \"head\", or accept the gap and go on from \"oldest\".").
			with("oldest", expired.Oldest.String()).with("head", expired.Head.String())
	case errors.As(err, &slow):
		return refuse(codes.ResourceExhausted, reasonSlowConsumer,
			"Events were not taken as fast as they came: go on from the cursor in the details.").
			with("cursor", slow.Cursor.String())
	}
	return nil
}

// classifyFolders: an id that cannot have been given out names nothing.
func classifyFolders(err error) *failure {
	var id *folder.IDError
	var path *folder.PathError
	switch {
	case errors.As(err, &path):
		field := "folder.path"
		if path.Segment >= 0 {
			field += fmt.Sprintf("[%d]", path.Segment)
		}
		return refuseField(field, reasonArgumentInvalid, "No folder can have this path: %s.", path.Problem)
	case errors.As(err, &id) && id.Kind == "message":
		return refuse(codes.NotFound, reasonMessageGone, "There is no message %q.", said(id.Value))
	case errors.As(err, &id):
		return refuse(codes.NotFound, reasonFolderNotFound, "There is no folder %q.", said(id.Value))
	case errors.Is(err, folder.ErrNotFound):
		return refuse(codes.NotFound, reasonFolderNotFound, "There is no such folder, or it is gone: list the folders to see what there is.").because(err)
	}
	return nil
}

// unreadableMessage is about a record whose secrets do not open.
const unreadableMessage = "What is stored of the %[1]s cannot be read: it is damaged or was sealed with a key that Postern does not have. " +
	"The operator can restore the key set; otherwise delete the %[1]s and create it again."

// classifyInvalid names the fields as the requests do that store a resource.
func classifyInvalid(err error) *failure {
	wrong, ok := errors.AsType[*invalid.Error](err)
	if !ok {
		return nil
	}
	bad := &errdetails.BadRequest{}
	for _, f := range wrong.Fields {
		bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{
			Field: wrong.Resource + "." + f.Name, Description: f.Description, Reason: string(reasonArgumentInvalid),
		})
	}
	return refuse(codes.InvalidArgument, reasonArgumentInvalid, "The %s is not valid: %s.", wrong.Resource, wrong.Problems()).detail(bad)
}

func classifyAccounts(err error) *failure {
	var missing *account.NotFoundError
	var refused *account.TokenRefusedError
	var unavailableToken *account.TokenUnavailableError
	switch {
	case errors.As(err, &refused):
		return refuse(codes.FailedPrecondition, reasonIMAPAuthFailed,
			"The provider issues no more access tokens for this account: authorize it anew and update its oauth2. It said: %s", said(refused.Description)).because(err)
	case errors.As(err, &unavailableToken):
		return refuse(codes.Unavailable, reasonIMAPUnavailable,
			"The provider's token endpoint cannot be reached or does not answer sensibly.").retryAfter(unavailableToken.RetryAfter).because(err)
	case errors.As(err, &missing):
		return refuse(codes.NotFound, reasonAccountNotFound, "There is no account %q.", said(missing.ID)).because(err)
	case errors.Is(err, account.ErrNotFound):
		return refuse(codes.NotFound, reasonAccountNotFound, "There is no such account.").because(err)
	case errors.Is(err, account.ErrExists):
		return refuse(codes.AlreadyExists, reasonAccountExists, "There is an account with this id already: choose another one.").because(err)
	case errors.Is(err, account.ErrUnreadable):
		return refuse(codes.DataLoss, reasonRecordUnreadable, unreadableMessage, "account").because(err)
	case errors.Is(err, account.ErrPaused):
		return refuse(codes.FailedPrecondition, reasonAccountPaused, "The account is paused: resume it first.").because(err)
	case errors.Is(err, account.ErrEtagMismatch):
		return refuse(codes.Aborted, reasonEtagMismatch,
			"Somebody else has changed the account meanwhile: get it again, and repeat the change with its new etag.").because(err)
	case errors.Is(err, requestid.ErrInProgress):
		return refuse(codes.Aborted, reasonRequestInProgress,
			"A call with this request id is under way: ask again with it for its answer.").retryAfter(inProgressRetry).because(err)
	case errors.Is(err, requestid.ErrReused):
		return refuseField("request_id", reasonRequestIDReused,
			"This request id was used for another request, or for something that is gone: use a fresh one for each new request.")
	}
	return nil
}

// classifyGuard: the address is closed to everyone, or to passwords in clear, so
// trying again is of no use until the operator opens it.
func classifyGuard(err error) *failure {
	var refused *netguard.RefusedError
	var inClear *account.PlaintextError
	if errors.As(err, &inClear) {
		return refuse(codes.FailedPrecondition, reasonPlaintextNotAllowed, "The connection to the mail server is not protected: %v.", inClear).because(err)
	}
	if !errors.As(err, &refused) {
		return nil
	}
	return refuse(codes.FailedPrecondition, reasonHostNotAllowed, "A server that the account names may not be connected to: %v.", refused).because(err)
}

// classifyFull: waiting is of no use, making room is.
func classifyFull(err error) *failure {
	full, ok := errors.AsType[*limit.FullError](err)
	if !ok {
		return nil
	}
	return refuse(codes.ResourceExhausted, reasonLimitReached,
		"There are %d %s already, and this gateway takes no more: %s, or have its operator raise --%s.",
		full.Most, full.What, cmp.Or(full.Instead, "delete some"), full.Setting).
		with("limit", full.Setting).with("value", strconv.Itoa(full.Most)).because(err)
}

// classifyStore knows the ways in which NATS is out of reach. The caller may
// try again; whether a write was made is what request_id is for.
func classifyStore(err error) *failure {
	for _, gone := range []error{
		nats.ErrConnectionClosed, nats.ErrNoServers, nats.ErrNoResponders, nats.ErrTimeout, nats.ErrDisconnected,
		nats.ErrConnectionReconnecting, nats.ErrConnectionDraining, jetstream.ErrJetStreamNotEnabled,
	} {
		if errors.Is(err, gone) {
			return refuse(codes.Unavailable, reasonStoreUnavailable, "Postern's own storage is out of reach.").
				retryAfter(unavailableRetry).because(err)
		}
	}
	var api *jetstream.APIError
	if errors.As(err, &api) && isStoreFull(api) {
		return storeFull().because(err)
	}
	if errors.As(err, &api) && api.Code >= 500 {
		return refuse(codes.Unavailable, reasonStoreUnavailable, "Postern's own storage cannot do this at the moment.").
			retryAfter(unavailableRetry).because(err)
	}
	// The client library answers a request that got no answer with its
	// context's error; the caller's own context is fine, or it would have been
	// told above.
	if errors.Is(err, context.DeadlineExceeded) {
		return refuse(codes.Unavailable, reasonStoreUnavailable, "Postern's own storage does not answer.").
			retryAfter(unavailableRetry).because(err)
	}
	return nil
}
