package gateway

import (
	"errors"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"google.golang.org/grpc/codes"

	"github.com/postern-mail/postern/internal/imapconn"
)

// unavailableRetry is what a client is told to wait when a mail server is out
// of reach and has not said for how long.
const unavailableRetry = 10 * time.Second

// rateLimitedRetry is what a client is told to wait that found all connections
// in use.
const rateLimitedRetry = 5 * time.Second

// classifyIMAP turns the errors of the IMAP client into failures; nil when err
// is none of them. The text of the server is passed on: it is the explanation
// that a person needs, and it was meant for the user of the mailbox.
func classifyIMAP(err error) *failure {
	var (
		auth       *imapconn.AuthError
		tlsError   *imapconn.TLSError
		bye        *imapconn.ByeError
		protocol   *imapconn.ProtocolError
		timeout    *imapconn.TimeoutError
		network    *imapconn.NetworkError
		closed     *imapconn.ClosedError
		capability *imapconn.CapabilityError
		refusal    *imapconn.Error
	)
	var charset *imapconn.BadCharsetError
	var remain *imapconn.RemainError
	var busy *imapconn.BusyError
	var stale *imapconn.StaleListError
	switch {
	case errors.As(err, &stale):
		return unavailable("The mail server does not list its folders as they are.").because(err)
	case errors.As(err, &remain):
		if f := classifyIMAP(remain.Err); f != nil {
			f.message = "The message was copied, and could not be removed from where it was. " + f.message
			return f
		}
	case errors.As(err, &busy):
		return refuse(codes.ResourceExhausted, reasonRateLimited,
			"All connections that Postern may have to this account's mail server are in use since %s: make fewer requests at once.", busy.Waited).
			with("limit", limitAccountConnections).retryAfter(rateLimitedRetry).because(err)
	case errors.As(err, &charset):
		return refuseField("filter", reasonFilterUnsupported,
			"This account's mail server searches for US-ASCII text only: leave the other characters out of the filter.").because(err)
	case errors.As(err, &auth):
		return refuse(codes.FailedPrecondition, reasonIMAPAuthFailed,
			"The mail server refused the credentials of this account: update them. It said: %s", detailOf(auth.Err)).because(err)
	case errors.As(err, &tlsError):
		return refuse(codes.FailedPrecondition, reasonIMAPTLSFailed,
			"The connection to the mail server could not be protected: %s. Check imap.host and imap.tls_mode; for a private server, name its authority or its key in imap.tls. accounts:verify shows the certificate.", said(tlsError.Err.Error())).because(err)
	case errors.As(err, &refusal):
		return classifyRefusal(err, refusal.Code, refusal.Text)
	case errors.As(err, &bye):
		return classifyBye(err, bye)
	case errors.As(err, &timeout):
		return unavailable("The mail server does not answer: try again later.").because(err)
	case errors.As(err, &protocol):
		return refuse(codes.Internal, reasonIMAPProtocolError,
			"The mail server sent something that is not IMAP: %v", protocol.Err).because(err)
	case errors.As(err, &capability):
		return refuse(codes.FailedPrecondition, reasonIMAPCannot,
			"The mail server does not have the extension %s.", capability.Cap).because(err)
	case errors.As(err, &network), errors.As(err, &closed):
		return unavailable("The mail server cannot be reached: try again later. If that lasts, accounts:verify tells at which step it fails.").because(err)
	}
	return nil
}

func unavailable(message string) *failure {
	return refuse(codes.Unavailable, reasonIMAPUnavailable, "%s", message).retryAfter(unavailableRetry)
}

// classifyBye: a session that the server ends is to be tried again, except for
// the reasons that time does not cure.
func classifyBye(err error, bye *imapconn.ByeError) *failure {
	if bye.Code == imap.ResponseCodeOverQuota {
		return classifyRefusal(err, bye.Code, bye.Text)
	}
	if f := throttled(err, bye.Text); f != nil {
		return f
	}
	return unavailable("The mail server ended the session: " + said(bye.Text)).because(err)
}

// throttled is the failure of a server that asks to be left alone for a while.
func throttled(err error, text string) *failure {
	wait, ok := imapconn.RetryAfter(err)
	if !ok {
		return nil
	}
	if imapconn.IsConnectionLimit(err) {
		return refuse(codes.ResourceExhausted, reasonIMAPConnectionLimit,
			"The mail server allows no more connections for this account: %s", said(text)).retryAfter(wait).because(err)
	}
	return refuse(codes.ResourceExhausted, reasonIMAPThrottled,
		"The mail server asks for fewer requests: %s", said(text)).retryAfter(wait).because(err)
}

// classifyRefusal goes by the response codes of RFC 5530, RFC 9051 section 7.1
// and RFC 9208.
func classifyRefusal(err error, code imap.ResponseCode, text string) *failure {
	switch code {
	case imap.ResponseCodeUnavailable, imap.ResponseCodeInUse, imap.ResponseCodeServerBug:
		// Not throttling: what failed is behind the server, or will be free soon.
		wait, ok := imapconn.RetryAfter(err)
		if !ok {
			wait = unavailableRetry
		}
		return refuse(codes.Unavailable, reasonIMAPUnavailable,
			"The mail server cannot do this at the moment: %s", said(text)).retryAfter(wait).because(err)
	case imap.ResponseCodeOverQuota:
		return refuse(codes.ResourceExhausted, reasonMailboxOverQuota,
			"The mailbox is full: %s", said(text)).because(err)
	case imap.ResponseCodeTooBig, imap.ResponseCodeLimit:
		var e *imapconn.Error
		if errors.As(err, &e) && e.Command == "APPEND" {
			return refuse(codes.InvalidArgument, reasonMessageTooLarge,
				"The message is larger than the mail server takes: %s", said(text)).because(err)
		}
	case imap.ResponseCodeNoPerm, imap.ResponseCodeContactAdmin:
		return refuse(codes.PermissionDenied, reasonIMAPNoPerm,
			"The mail server does not allow this: %s", said(text)).because(err)
	case imap.ResponseCodeNonExistent, imap.ResponseCodeTryCreate:
		return refuse(codes.NotFound, reasonFolderNotFound, "The folder is not there: %s", said(text)).because(err)
	case imap.ResponseCodeAlreadyExists:
		return refuse(codes.AlreadyExists, reasonFolderExists, "The folder is there already: %s", said(text)).because(err)
	case imap.ResponseCodeHasChildren:
		return notEmpty("There are folders below this one: delete them first, or delete it with force. The mail server said: %s", said(text)).because(err)
	case imap.ResponseCodePrivacyRequired:
		return refuse(codes.FailedPrecondition, reasonIMAPTLSFailed,
			"The mail server insists on TLS: set tls_mode. It said: %s", said(text)).because(err)
	}
	if f := throttled(err, text); f != nil {
		return f
	}
	var e *imapconn.Error
	if errors.As(err, &e) && e.Type == imap.StatusResponseTypeBad {
		return refuse(codes.Internal, reasonIMAPProtocolError,
			"The mail server did not understand a command: %s", said(text)).because(err)
	}
	return refuse(codes.FailedPrecondition, reasonIMAPCannot, "The mail server refused: %s", said(text)).because(err)
}

// detailOf is the text of a server's answer without the command in front.
func detailOf(err error) string {
	var e *imap.Error
	if errors.As(err, &e) {
		return said(e.Text)
	}
	return err.Error()
}

// said bounds a server's words: they go into answers, logs and headers.
func said(text string) string {
	const most = 500
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	if text == "" {
		return "(no explanation)"
	}
	return text
}
