package account

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/netguard"
)

// Check is what one step of Verify tries.
type Check string

// The checks, in their order.
const (
	CheckDNS          Check = "DNS"          // the IMAP host's addresses are looked up
	CheckTCP          Check = "TCP"          // a connection to the IMAP server is made
	CheckTLS          Check = "TLS"          // it is protected as the account says
	CheckIMAPAuth     Check = "IMAP_AUTH"    // the IMAP server accepts the credentials
	CheckCapabilities Check = "CAPABILITIES" // the IMAP server is asked what it can do
	CheckSMTPAuth     Check = "SMTP_AUTH"    // the SMTP server is reached and accepts the credentials
)

// Outcome is how a step ended.
type Outcome string

// The outcomes.
const (
	StepPassed  Outcome = "PASSED"
	StepFailed  Outcome = "FAILED"
	StepSkipped Outcome = "SKIPPED" // a step before it failed, or there is nothing to try
)

// Step is one step of Verify.
type Step struct {
	Check   Check
	Outcome Outcome
	// Detail is what was found, or why it failed and what to do, for a person.
	Detail string
	// Err is the cause of a failure, for programs.
	Err error
	// Certificate is what the server showed where a step came to TLS, whether or
	// not it is to be trusted; else nil.
	Certificate *x509.Certificate
	Elapsed     time.Duration
}

// verifyTimeout bounds the trial of one server.
const verifyTimeout = 15 * time.Second

// Verify tries the servers and credentials of an account, step by step, with
// one connection to each server. Steps that build on one that failed are
// skipped. It changes nothing on the servers and sends nothing. The account
// must be registered if it has OAuth 2.0 tokens, which may be refreshed.
func (c *Connector) Verify(ctx context.Context, a *Account) []Step {
	steps := c.verifyIMAP(ctx, a)
	for _, check := range []Check{CheckDNS, CheckTCP, CheckTLS, CheckIMAPAuth, CheckCapabilities} {
		if !slices.ContainsFunc(steps, func(s Step) bool { return s.Check == check }) {
			steps = append(steps, Step{Check: check, Outcome: StepSkipped, Detail: "a step before it failed"})
		}
	}
	return append(steps, c.verifySMTP(ctx, a))
}

func (c *Connector) verifyIMAP(ctx context.Context, a *Account) []Step {
	ctx, cancel := context.WithTimeout(ctx, verifyTimeout)
	defer cancel()
	lookup := verifyDNS(ctx, a.IMAP.Host)
	if lookup.Outcome == StepFailed {
		return []Step{lookup}
	}
	var (
		trial *imapTrial
		conn  *imapconn.Conn
	)
	err := c.retryLogin(ctx, a.ID, func() error {
		config := c.DialConfig(a)
		trial = &imapTrial{endpoint: a.IMAP, unverified: c.Unverified(&a.IMAP)}
		if err := c.count(ctx, &config, false); err != nil {
			return err
		}
		trial.instrument(&config)
		var err error
		conn, err = imapconn.Dial(ctx, config)
		trial.ended = time.Now()
		return err
	})
	steps := append([]Step{lookup}, trial.steps(err)...)
	if err != nil {
		return steps
	}
	// The result is there; that the server takes leave politely is not needed.
	defer func() { _ = conn.Logout(ctx) }()
	return append(steps, verifyCapabilities(conn))
}

func verifyDNS(ctx context.Context, host string) Step {
	start := time.Now()
	if _, err := netip.ParseAddr(host); err == nil {
		return Step{Check: CheckDNS, Outcome: StepPassed, Detail: host + " is an address, nothing to look up"}
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return failed(CheckDNS, time.Since(start), err, &Endpoint{Host: host}, "imap")
	}
	return Step{Check: CheckDNS, Outcome: StepPassed, Detail: host + " has the addresses " + tellAddresses(addrs), Elapsed: time.Since(start)}
}

// tellAddresses lists addresses. Of those that are not public it tells the kind
// alone: what names mean within the gateway's network is nobody's business who may
// merely register an account.
func tellAddresses(addrs []netip.Addr) string {
	var public netguard.Guard
	var texts []string
	for _, addr := range addrs {
		text := addr.Unmap().String()
		if refused, ok := errors.AsType[*netguard.RefusedError](public.Check(addr)); ok {
			text = refused.Range
		}
		if !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	return strings.Join(texts, ", ")
}

// imapTrial observes one attempt to connect.
type imapTrial struct {
	endpoint Endpoint
	// unverified says that any certificate is taken.
	unverified bool
	dialing    time.Time
	dialed     time.Time // zero until there is a connection
	dialErr    error
	remote     string
	secured    time.Time // zero until TLS is there
	tls        tls.ConnectionState
	ended      time.Time
}

// instrument makes a configuration tell the trial how far it got.
func (t *imapTrial) instrument(config *imapconn.Config) {
	dial := config.Dial
	config.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		t.dialing = time.Now()
		conn, err := dial(ctx, network, addr)
		if err != nil {
			t.dialErr = err
			return nil, err
		}
		t.dialed, t.remote = time.Now(), conn.RemoteAddr().String()
		return conn, nil
	}
	config.TLS = observed(config.TLS, func(state tls.ConnectionState) { t.secured, t.tls = time.Now(), state })
}

// observed is a TLS configuration that tells of the connection once the server's
// certificate has been accepted.
func observed(base *tls.Config, tell func(tls.ConnectionState)) *tls.Config {
	config := base.Clone()
	config.VerifyConnection = func(state tls.ConnectionState) error {
		if base.VerifyConnection != nil {
			if err := base.VerifyConnection(state); err != nil {
				return err
			}
		}
		tell(state)
		return nil
	}
	return config
}

// steps says how far the attempt got that ended with err.
func (t *imapTrial) steps(err error) []Step {
	if t.dialed.IsZero() {
		if t.dialErr != nil {
			err = t.dialErr
		}
		if inClear, ok := errors.AsType[*PlaintextError](err); ok {
			return []Step{
				{Check: CheckTCP, Outcome: StepPassed, Detail: "connected to " + inClear.Remote, Elapsed: since(t.dialing, t.ended)},
				failed(CheckTLS, 0, err, &t.endpoint, "imap"),
			}
		}
		return []Step{failed(CheckTCP, since(t.dialing, t.ended), err, &t.endpoint, "imap")}
	}
	steps := []Step{{Check: CheckTCP, Outcome: StepPassed, Detail: "connected to " + t.remote, Elapsed: t.dialed.Sub(t.dialing)}}
	before := t.dialed
	switch {
	case t.endpoint.TLSMode == Plaintext:
		steps = append(steps, Step{Check: CheckTLS, Outcome: StepSkipped, Detail: "the account asks for no TLS: the password crosses the network in clear"})
	case t.secured.IsZero():
		return append(steps, failed(CheckTLS, since(before, t.ended), err, &t.endpoint, "imap"))
	default:
		steps = append(steps, Step{Check: CheckTLS, Outcome: StepPassed, Detail: t.describeTLS(), Elapsed: t.secured.Sub(before), Certificate: t.tls.PeerCertificates[0]})
		before = t.secured
	}
	if err != nil {
		return append(steps, failed(CheckIMAPAuth, since(before, t.ended), err, &t.endpoint, "imap"))
	}
	return append(steps, Step{Check: CheckIMAPAuth, Outcome: StepPassed, Detail: "logged in as " + t.endpoint.Username, Elapsed: since(before, t.ended)})
}

func since(start, end time.Time) time.Duration {
	if start.IsZero() || end.IsZero() {
		return 0
	}
	return end.Sub(start)
}

func (t *imapTrial) describeTLS() string {
	text := tls.VersionName(t.tls.Version) + ", "
	switch {
	case t.unverified:
		text += "the certificate is not checked, since the gateway was started with --insecure-tls-hosts; it is"
	case len(t.endpoint.Trust.Pins) > 0:
		text += "the key is a pinned one, certificate"
	default:
		text += "certificate"
	}
	return text + " good until " + t.tls.PeerCertificates[0].NotAfter.UTC().Format(time.DateOnly)
}

// wanted are the capabilities whose absence a person would notice, and how.
var wanted = []struct {
	capability imap.Cap
	without    string
}{
	{imap.CapIdle, "new mail is noticed by polling only"},
	{imap.CapUIDPlus, "a moved or appended message may have to be searched for"},
	{imap.CapMove, "messages are moved by copying and deleting"},
}

func verifyCapabilities(conn *imapconn.Conn) Step {
	caps := conn.Caps()
	names := make([]string, 0, len(caps))
	for name := range caps {
		names = append(names, string(name))
	}
	slices.Sort(names)
	detail := strings.Join(names, " ")
	for _, w := range wanted {
		if !conn.Has(w.capability) {
			detail += fmt.Sprintf("; without %s %s", w.capability, w.without)
		}
	}
	return Step{Check: CheckCapabilities, Outcome: StepPassed, Detail: detail}
}

// failed makes the step of a failure.
func failed(check Check, elapsed time.Duration, err error, endpoint *Endpoint, protocol string) Step {
	return Step{
		Check: check, Outcome: StepFailed, Detail: explain(err, endpoint, protocol), Err: err, Elapsed: elapsed,
		Certificate: refusedCertificate(err),
	}
}
