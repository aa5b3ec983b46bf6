package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/nats-io/nats.go"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/eventlog"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/invalid"
	"github.com/postern-mail/postern/internal/netguard"
	"github.com/postern-mail/postern/internal/query"
	"github.com/postern-mail/postern/internal/requestid"
	"github.com/postern-mail/postern/internal/secret"
)

func no(code imap.ResponseCode, text string) error {
	return &imapconn.Error{Command: "X", Type: imap.StatusResponseTypeNo, Code: code, Text: text}
}

func TestClassify(t *testing.T) {
	t.Parallel()
	timeout := &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}
	tests := []struct {
		name   string
		err    error
		code   codes.Code
		reason reason
		retry  bool
	}{
		{"account missing", account.ErrNotFound, codes.NotFound, reasonAccountNotFound, false},
		{"account exists", account.ErrExists, codes.AlreadyExists, reasonAccountExists, false},
		{"etag", account.ErrEtagMismatch, codes.Aborted, reasonEtagMismatch, false},
		{"request id", requestid.ErrReused, codes.InvalidArgument, reasonRequestIDReused, false},
		{"account invalid", &invalid.Error{Resource: "account", Fields: invalid.Fields{{Name: "email"}}}, codes.InvalidArgument, reasonArgumentInvalid, false},
		{"grant revoked", &account.TokenRefusedError{}, codes.FailedPrecondition, reasonIMAPAuthFailed, false},
		{"token endpoint down", &account.TokenUnavailableError{RetryAfter: time.Second, Err: io.EOF}, codes.Unavailable, reasonIMAPUnavailable, true},
		{"folder missing", folder.ErrNotFound, codes.NotFound, reasonFolderNotFound, false},
		{"folder id", &folder.IDError{Kind: "folder"}, codes.NotFound, reasonFolderNotFound, false},
		{"message id", &folder.IDError{Kind: "message"}, codes.NotFound, reasonMessageGone, false},
		{"filter", &query.SyntaxError{}, codes.InvalidArgument, reasonFilterInvalid, false},
		{"filter that cannot be", &query.UnsupportedError{}, codes.InvalidArgument, reasonFilterUnsupported, false},
		{"charset", &imapconn.BadCharsetError{Err: &imapconn.Error{}}, codes.InvalidArgument, reasonFilterUnsupported, false},
		{"old cursor", &eventlog.CursorExpiredError{}, codes.OutOfRange, reasonCursorExpired, false},
		{"slow", &eventlog.SlowConsumerError{}, codes.ResourceExhausted, reasonSlowConsumer, false},
		{"closed network", &imapconn.NetworkError{Err: &netguard.RefusedError{Addr: netip.MustParseAddr("10.0.0.1")}}, codes.FailedPrecondition, reasonHostNotAllowed, false},

		{"wrong password", &imapconn.AuthError{Err: no(imap.ResponseCodeAuthenticationFailed, "no")}, codes.FailedPrecondition, reasonIMAPAuthFailed, false},
		{"certificate", &imapconn.TLSError{Err: io.EOF}, codes.FailedPrecondition, reasonIMAPTLSFailed, false},
		{"TLS demanded", no(imap.ResponseCodePrivacyRequired, ""), codes.FailedPrecondition, reasonIMAPTLSFailed, false},
		{"silence", &imapconn.TimeoutError{Err: timeout}, codes.Unavailable, reasonIMAPUnavailable, true},
		{"no network", &imapconn.NetworkError{Err: timeout}, codes.Unavailable, reasonIMAPUnavailable, true},
		{"closed", &imapconn.ClosedError{Err: net.ErrClosed}, codes.Unavailable, reasonIMAPUnavailable, true},
		{"bye", &imapconn.ByeError{Text: "Autologout"}, codes.Unavailable, reasonIMAPUnavailable, true},
		{"bye, too many", &imapconn.ByeError{Text: "Too many simultaneous connections"}, codes.ResourceExhausted, reasonIMAPConnectionLimit, true},
		{"bye, quota", &imapconn.ByeError{Code: imap.ResponseCodeOverQuota}, codes.ResourceExhausted, reasonMailboxOverQuota, false},
		{"throttled", no(imap.ResponseCodeLimit, "Rate limit hit"), codes.ResourceExhausted, reasonIMAPThrottled, true},
		{"backoff", &imapconn.Error{Type: imap.StatusResponseTypeBad, Text: "Request is throttled. Suggested Backoff Time: 3000"}, codes.ResourceExhausted, reasonIMAPThrottled, true},
		{"in use", no(imap.ResponseCodeInUse, ""), codes.Unavailable, reasonIMAPUnavailable, true},
		{"backend down", no(imap.ResponseCodeUnavailable, ""), codes.Unavailable, reasonIMAPUnavailable, true},
		{"server bug", no(imap.ResponseCodeServerBug, ""), codes.Unavailable, reasonIMAPUnavailable, true},
		{"quota", no(imap.ResponseCodeOverQuota, ""), codes.ResourceExhausted, reasonMailboxOverQuota, false},
		{"no right", no(imap.ResponseCodeNoPerm, ""), codes.PermissionDenied, reasonIMAPNoPerm, false},
		{"no such mailbox", no(imap.ResponseCodeNonExistent, ""), codes.NotFound, reasonFolderNotFound, false},
		{"mailbox exists", no(imap.ResponseCodeAlreadyExists, ""), codes.AlreadyExists, reasonFolderExists, false},
		{"cannot", no(imap.ResponseCodeCannot, ""), codes.FailedPrecondition, reasonIMAPCannot, false},
		{"no without a code", no("", "Sorry"), codes.FailedPrecondition, reasonIMAPCannot, false},
		{"extension missing", &imapconn.CapabilityError{Cap: "SORT"}, codes.FailedPrecondition, reasonIMAPCannot, false},
		{"garbage", &imapconn.ProtocolError{Err: io.EOF}, codes.Internal, reasonIMAPProtocolError, false},
		{"bad", &imapconn.Error{Type: imap.StatusResponseTypeBad, Text: "Syntax"}, codes.Internal, reasonIMAPProtocolError, false},

		{"canceled", &imapconn.CanceledError{Err: context.Canceled}, codes.Canceled, reasonCanceled, false},
		{"deadline", &imapconn.CanceledError{Err: context.DeadlineExceeded}, codes.DeadlineExceeded, reasonDeadlineExceeded, false},
		{"store gone", nats.ErrNoResponders, codes.Unavailable, reasonStoreUnavailable, true},
		{"store silent", context.DeadlineExceeded, codes.Unavailable, reasonStoreUnavailable, true},
		{"anything else", errors.New("what"), codes.Internal, reasonInternal, false},
		{"foreign status", status.Error(codes.Unimplemented, "unknown method"), codes.Unimplemented, reasonRouteNotFound, false},
		{"our own", refuse(codes.NotFound, reasonMessageGone, "gone"), codes.NotFound, reasonMessageGone, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, err := range []error{tt.err, fmt.Errorf("select %q: %w", "INBOX", tt.err)} {
				s := classify(t.Context(), err).GRPCStatus()
				if s.Code() != tt.code || reasonOf(s) != tt.reason {
					t.Errorf("%v: %s %s, want %s %s", err, s.Code(), reasonOf(s), tt.code, tt.reason)
				}
				if _, ok := retryDelay(s); ok != tt.retry {
					t.Errorf("%v: RetryInfo there: %v, want %v", err, ok, tt.retry)
				}
				infos := 0
				for _, d := range s.Details() {
					if _, ok := d.(*errdetails.ErrorInfo); ok {
						infos++
					}
				}
				if infos != 1 {
					t.Errorf("%v: %d ErrorInfos", err, infos)
				}
			}
		})
	}
}

// The caller's own deadline is not the server's failure.
func TestClassifyEndedContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if f := classify(ctx, fmt.Errorf("wait: %w", ctx.Err())); f.reason != reasonCanceled {
		t.Errorf("got %s", f.reason)
	}
}

// A message for people must not be a way for a server to write into logs and
// headers, nor grow without bound.
func TestSaid(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain": "plain", "": "(no explanation)", "a\r\nSet-Cookie: x": "a  Set-Cookie: x", "\xff": "\uFFFD",
	} {
		if got := said(in); got != want {
			t.Errorf("said(%q) = %q, want %q", in, got, want)
		}
	}
	if got := said(string(make([]byte, 10_000))); len(got) > 600 {
		t.Errorf("%d bytes", len(got))
	}
}

func TestAdminToken(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "has spaces in it, many", "has-an-ümlaut-in-the-middle"} {
		if _, err := NewAdminToken(secret.New(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	auth, err := NewAdminToken(secret.New("0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	for header, want := range map[string]bool{
		"Bearer 0123456789abcdef": true, "bearer 0123456789abcdef": true, "Bearer 0123456789abcdeg": false,
		"Bearer 0123456789abcdef0": false, "Bearer ": false, "Basic 0123456789abcdef": false, "0123456789abcdef": false,
	} {
		_, err := authenticate(t.Context(), auth, []string{header})
		var f *failure
		if (err == nil) != want || err != nil && (!errors.As(err, &f) || f.reason != reasonTokenInvalid || f.code != codes.Unauthenticated) {
			t.Errorf("%q: %v", header, err)
		}
	}
}
