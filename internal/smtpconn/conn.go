package smtpconn

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/postern-mail/postern/internal/imapconn"
)

// Conn is a session with a server, logged in. It is for one goroutine at a time.
type Conn struct {
	client *smtp.Client
	raw    net.Conn
	config Config
	// mechanism is what the login was done by.
	mechanism string
	// broken is why nothing can be asked of the server any more.
	broken error
	// used is when the server last answered.
	used time.Time
	// transaction says that one may be under way, and reused that there was one
	// before.
	transaction, reused bool
}

// Dial connects, secures the connection and logs in. It fails with
//
//   - an [*imapconn.NetworkError] or [*imapconn.TimeoutError] if the server cannot
//     be reached,
//   - an [*imapconn.TLSError] if the connection cannot be made confidential,
//   - an [*imapconn.AuthError] if the server does not let the user in,
//   - a [*RefusedError] if it refuses for another reason,
//   - an [*imapconn.CanceledError] if ctx ends.
func Dial(ctx context.Context, config Config) (*Conn, error) {
	raw, err := dial(ctx, &config)
	if err != nil {
		return nil, err
	}
	c := &Conn{raw: raw, config: config}
	leave := c.enter(ctx)
	defer leave()
	if err := c.open(ctx); err != nil {
		err = c.fail(ctx, "connect", err)
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

func dial(ctx context.Context, config *Config) (net.Conn, error) {
	dialCtx, cancel := context.WithTimeout(ctx, config.commandTimeout())
	defer cancel()
	raw, err := config.dial(dialCtx)
	switch {
	case err == nil:
		return raw, nil
	case ctx.Err() != nil:
		return nil, &imapconn.CanceledError{Command: "connect", Err: ctx.Err()}
	case isTimeout(err), errors.Is(err, context.DeadlineExceeded):
		return nil, &imapconn.TimeoutError{Command: "connect", Silence: config.commandTimeout(), Err: err}
	}
	return nil, &imapconn.NetworkError{Command: "connect", Err: err}
}

// enter makes what follows end with ctx: go-smtp's client moves the deadlines of
// its connection as it likes, so closing it is what ends it.
func (c *Conn) enter(ctx context.Context) (leave func()) {
	stop := context.AfterFunc(ctx, func() { _ = c.raw.Close() })
	return func() { stop() }
}

// open goes from the network connection to the login.
func (c *Conn) open(ctx context.Context) error {
	if err := c.secure(ctx); err != nil {
		return err
	}
	if c.config.Credentials.Username == "" {
		return nil
	}
	if err := c.login(); err != nil {
		return err
	}
	return c.helloAgain()
}

// helloAgain asks for the extensions once more, now that the server knows who asks:
// Dovecot tells of DSN and of the limit of SIZE only then. go-smtp's client lets
// itself be made to by a reset.
func (c *Conn) helloAgain() error {
	if err := c.client.Reset(); err != nil {
		return err
	}
	return c.client.Hello(c.config.hello())
}

// secure puts SMTP on the connection, with TLS as the configuration says.
func (c *Conn) secure(ctx context.Context) error {
	bounded := &boundedConn{Conn: c.raw, silence: c.config.commandTimeout()}
	switch c.config.TLSMode {
	case imapconn.ModePlaintext:
		c.client = smtp.NewClient(bounded)
	case imapconn.ModeSTARTTLS:
		// It says EHLO before it can be given a name or a time-out.
		_ = bounded.SetDeadline(time.Now().Add(c.config.commandTimeout()))
		// What somebody in between puts behind the server's consent must not be
		// taken for an answer under TLS. Unread, it goes into the handshake, which
		// fails; go-smtp's client would have dropped it unnoticed.
		bounded.frugal = true
		client, err := smtp.NewClientStartTLS(bounded, c.config.tlsConfig())
		bounded.frugal = false
		if err != nil {
			return tlsError(err)
		}
		c.client = client
		c.setTimeouts()
		// The handshake is put off until something is sent.
		if err := client.Hello(c.config.hello()); err != nil {
			return tlsError(err)
		}
		return nil
	default:
		handshake, cancel := context.WithTimeout(ctx, c.config.commandTimeout())
		defer cancel()
		secured := tls.Client(bounded, c.config.tlsConfig())
		if err := secured.HandshakeContext(handshake); err != nil {
			return tlsError(err)
		}
		c.client = smtp.NewClient(secured)
	}
	c.setTimeouts()
	return c.client.Hello(c.config.hello())
}

func (c *Conn) setTimeouts() {
	c.client.CommandTimeout, c.client.SubmissionTimeout = c.config.commandTimeout(), c.config.dataTimeout()
}

// tlsError tells a refusal of TLS, or a failed handshake, from a link that broke.
func tlsError(err error) error {
	var reply *smtp.SMTPError
	if isTimeout(err) || isBroken(err) || errors.As(err, &reply) && reply.Temporary() {
		return err
	}
	return &imapconn.TLSError{Err: err}
}

// noMechanism is the reply to a mechanism that does not work after all (RFC 4954
// section 4), and temporaryFailure the highest of those that say "later".
const (
	noMechanism      = 504
	temporaryFailure = 499
)

// login authenticates by the strongest mechanism that works.
func (c *Conn) login() error {
	_, offered := c.client.Extension("AUTH")
	var err error = &imapconn.AuthError{Err: errors.New("the server offers no mechanism for these credentials")}
	for _, mechanism := range c.config.Credentials.SASLMechanisms(strings.Fields(offered)) {
		saslClient, clientErr := c.config.Credentials.SASLClient(mechanism)
		if clientErr != nil {
			err = &imapconn.AuthError{Mechanism: mechanism, Err: clientErr}
			continue
		}
		err = c.client.Auth(saslClient)
		if verifier, ok := saslClient.(interface{ Verify() error }); ok && err == nil {
			err = verifier.Verify()
		}
		if err == nil {
			c.mechanism, c.used = mechanism, time.Now()
			return nil
		}
		var reply *smtp.SMTPError
		if !errors.As(err, &reply) || reply.Code <= temporaryFailure {
			return err
		}
		err = &imapconn.AuthError{Mechanism: mechanism, Err: err}
		if reply.Code != noMechanism {
			return err
		}
	}
	return err
}

// Mechanism names the SASL mechanism that the login was done by, empty without
// one.
func (c *Conn) Mechanism() string { return c.mechanism }

// Extension reports whether the server has an extension, such as SMTPUTF8, and
// its parameters.
func (c *Conn) Extension(name string) (params string, ok bool) {
	ok, params = c.client.Extension(name)
	return params, ok
}

// Reset ends a transaction that was not finished, and proves that the server is
// still there.
func (c *Conn) Reset(ctx context.Context) error {
	err := c.do(ctx, "RSET", c.client.Reset)
	c.transaction = c.transaction && err != nil
	return err
}

// ready prepares a connection at rest for the next message. One that was used just now
// is taken as it is: should it be gone, Send says so before anything was sent, with a
// [*StaleError].
func (c *Conn) ready(ctx context.Context) error {
	c.reused = true
	switch {
	case c.transaction:
		return c.Reset(ctx)
	case time.Since(c.used) < trustTime:
		return nil
	}
	return c.do(ctx, "NOOP", c.client.Noop)
}

// trustTime is for how long a server is taken to be there after its last answer.
const trustTime = 5 * time.Second

// do runs one exchange of go-smtp's client.
func (c *Conn) do(ctx context.Context, command string, exchange func() error) error {
	if c.broken != nil {
		return &imapconn.ClosedError{Err: c.broken}
	}
	leave := c.enter(ctx)
	defer leave()
	if err := exchange(); err != nil {
		return c.fail(ctx, command, err)
	}
	c.used = time.Now()
	return nil
}

// Quit takes leave of the server and closes the connection. Whether the server
// answers is not waited for long and not told.
func (c *Conn) Quit(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, quitTimeout)
	defer cancel()
	_ = c.do(ctx, "QUIT", c.client.Quit)
	_ = c.Close()
}

const quitTimeout = 5 * time.Second

// Close closes the connection at once.
func (c *Conn) Close() error {
	if c.broken == nil {
		c.broken = net.ErrClosed
	}
	return c.raw.Close()
}
