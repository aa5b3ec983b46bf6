package imapconn

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/imapwire"
	"github.com/postern-mail/postern/internal/message"
)

// Dial connects, secures the connection, logs in, and enables extensions. The
// Conn is in the authenticated state. It fails with
//
//   - a [*NetworkError] or [*TimeoutError] if the server cannot be reached,
//   - a [*TLSError] if the connection cannot be made confidential,
//   - an [*AuthError] if the server does not let the user in,
//   - an [*Error] or [*ByeError] if it refuses for another reason, see
//     [RetryAfter],
//   - a [*ProtocolError] if it does not speak IMAP.
func Dial(ctx context.Context, cfg Config) (*Conn, error) {
	c, err := connect(ctx, &cfg)
	if err != nil {
		return nil, err
	}
	if err := c.open(ctx, &cfg); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// connect makes the network connection and, for ModeTLS, the TLS connection.
func connect(ctx context.Context, cfg *Config) (*Conn, error) {
	silence := cfg.commandTimeout()
	dialCtx, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	raw, err := cfg.dial(dialCtx)
	if err != nil {
		return nil, dialError(ctx, cfg, err)
	}
	c := &Conn{t: transport{conn: raw, raw: raw, silence: silence}, state: imap.ConnStateNotAuthenticated, idleRenewal: cfg.idleRenewal()}
	if c.suspects = cfg.Suspects; c.suspects != nil {
		c.born = c.suspects.born()
	}
	if cfg.TLSMode == ModeTLS {
		if err := c.handshake(ctx, cfg); err != nil {
			return nil, c.fail(err)
		}
	}
	c.dec = imapwire.NewDecoder(&c.t, imapwire.DefaultLimits)
	c.dec.DecodeText = headerText
	return c, nil
}

// maxHeaderText bounds one text of a header in a list: a subject, a name.
const maxHeaderText = 32 << 10

// headerText decodes what a server tells of a header. Raw text in some charset
// stays as it is: who knows more of the message can guess better in which.
func headerText(raw string) string {
	if len(raw) > maxHeaderText {
		raw = strings.Clone(raw[:maxHeaderText])
	}
	if !utf8.ValidString(raw) {
		return raw
	}
	return message.DecodeHeaderText(raw)
}

func dialError(ctx context.Context, cfg *Config, err error) error {
	switch {
	case ctx.Err() != nil:
		return &CanceledError{Command: "connect", Err: ctx.Err()}
	case isTimeout(err), errors.Is(err, context.DeadlineExceeded):
		return &TimeoutError{Command: "connect", Silence: cfg.commandTimeout(), Err: err}
	}
	return &NetworkError{Command: "connect", Err: err}
}

// handshake puts TLS on the network connection. The result is closed on error.
func (c *Conn) handshake(ctx context.Context, cfg *Config) error {
	handshakeCtx, cancel := context.WithTimeout(ctx, c.t.silence)
	defer cancel()
	conn := tls.Client(c.t.raw, cfg.tlsConfig())
	err := conn.HandshakeContext(handshakeCtx)
	switch {
	case err == nil:
		c.t.conn = conn
		return nil
	case ctx.Err() != nil:
		return &CanceledError{Command: "TLS handshake", Err: ctx.Err()}
	case handshakeCtx.Err() != nil, isTimeout(err):
		return &TimeoutError{Command: "TLS handshake", Silence: c.t.silence, Err: err}
	case isBroken(err):
		return &NetworkError{Command: "TLS handshake", Err: err}
	}
	return &TLSError{Err: err}
}

// isBroken tells a connection that broke from a handshake that failed.
func isBroken(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// begin goes from the greeting to what the server says that it can do.
func (c *Conn) begin(ctx context.Context, cfg *Config) (preauth bool, err error) {
	if preauth, err = c.greeting(ctx, cfg); err != nil {
		return false, err
	}
	if cfg.TLSMode == ModeSTARTTLS {
		if err := c.startTLS(ctx, cfg); err != nil {
			return false, err
		}
	}
	if c.caps == nil && !preauth {
		_, err = c.Capability(ctx)
	}
	return preauth, err
}

// open goes from the greeting to the authenticated state.
func (c *Conn) open(ctx context.Context, cfg *Config) error {
	preauth, err := c.begin(ctx, cfg)
	if err != nil {
		return err
	}
	if !preauth {
		if err := c.login(ctx, cfg); err != nil {
			return err
		}
	}
	// Before the login a server tells little of what it can, so the list is
	// read again unless the server has sent it by itself.
	c.state = imap.ConnStateAuthenticated
	if c.caps == nil {
		if _, err := c.Capability(ctx); err != nil {
			return err
		}
	}
	if err := c.introduce(ctx, cfg); err != nil {
		return err
	}
	if cfg.Compress && c.Has(capCompress) {
		return c.compress(ctx)
	}
	return nil
}

// greeting reads the server's first response (RFC 9051 section 7.1).
func (c *Conn) greeting(ctx context.Context, cfg *Config) (preauth bool, err error) {
	leave := c.t.enter(ctx)
	defer leave()
	for range maxMalformed {
		r, err := c.dec.Next()
		if err != nil && c.dec.Err() == nil && !isTimeout(err) {
			continue // a line before the greeting that is not IMAP
		}
		if err != nil {
			return false, c.fail(c.typed(ctx, "greeting", err))
		}
		if r.Status == nil || r.Tag != "" {
			continue
		}
		c.note(r.Status)
		switch r.Status.Type {
		case imap.StatusResponseTypeOK:
			return false, nil
		case imap.StatusResponseTypePreAuth:
			// RFC 9051 section 11.3: in the authenticated state STARTTLS is no
			// longer possible, so whoever sits in between could have its way.
			if cfg.TLSMode == ModeSTARTTLS {
				return false, c.fail(&TLSError{Err: errors.New("the server greets with PREAUTH, which rules out STARTTLS")})
			}
			return true, nil
		case imap.StatusResponseTypeBye:
			return false, c.fail(&ByeError{Command: "greeting", Code: r.Status.Code, CodeArgs: r.Status.Arg, Text: r.Status.Text})
		default:
			return false, c.fail(statusError("greeting", r.Status))
		}
	}
	return false, c.fail(&ProtocolError{Command: "greeting", Err: fmt.Errorf("no greeting in %d lines", maxMalformed)})
}
