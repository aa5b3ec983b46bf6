package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"google.golang.org/protobuf/types/known/durationpb"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/imapconn"
)

// connectionConfigs says how the servers of an account are reached.
type connectionConfigs interface {
	DialConfig(a *account.Account) imapconn.Config
}

// verifier tries the servers and credentials of accounts.
type verifier struct{ configs connectionConfigs }

// verifyTimeout bounds the trial of one server.
const verifyTimeout = 15 * time.Second

// A trial goes through these steps; each builds on the one before, but for
// SMTP.
const (
	checkDNS          = posternv1.VerifyAccountResponse_Step_DNS
	checkTCP          = posternv1.VerifyAccountResponse_Step_TCP
	checkTLS          = posternv1.VerifyAccountResponse_Step_TLS
	checkIMAPAuth     = posternv1.VerifyAccountResponse_Step_IMAP_AUTH
	checkCapabilities = posternv1.VerifyAccountResponse_Step_CAPABILITIES
	checkSMTPAuth     = posternv1.VerifyAccountResponse_Step_SMTP_AUTH
)

// trial collects the steps of one verification.
type trial struct {
	steps []*posternv1.VerifyAccountResponse_Step
	began time.Time
}

// passed records a step that worked; the time since the last one is its own.
func (t *trial) passed(check posternv1.VerifyAccountResponse_Step_Check, format string, args ...any) {
	t.add(check, posternv1.VerifyAccountResponse_Step_PASSED, "", fmt.Sprintf(format, args...))
}

// failed records a step that did not, in the words of the error model.
func (t *trial) failed(check posternv1.VerifyAccountResponse_Step_Check, f *failure) {
	t.add(check, posternv1.VerifyAccountResponse_Step_FAILED, f.reason, f.message)
}

func (t *trial) skipped(detail string, checks ...posternv1.VerifyAccountResponse_Step_Check) {
	for _, check := range checks {
		t.add(check, posternv1.VerifyAccountResponse_Step_SKIPPED, "", detail)
	}
}

func (t *trial) add(check posternv1.VerifyAccountResponse_Step_Check, outcome posternv1.VerifyAccountResponse_Step_Outcome, why reason, detail string) {
	now := time.Now()
	t.steps = append(t.steps, &posternv1.VerifyAccountResponse_Step{
		Check: check, Outcome: outcome, Reason: string(why), Detail: detail, Elapsed: durationpb.New(now.Sub(t.began)),
	})
	t.began = now
}

func (t *trial) response() *posternv1.VerifyAccountResponse {
	failed := slices.ContainsFunc(t.steps, func(s *posternv1.VerifyAccountResponse_Step) bool {
		return s.GetOutcome() == posternv1.VerifyAccountResponse_Step_FAILED
	})
	return &posternv1.VerifyAccountResponse{Steps: t.steps, Ok: !failed}
}

// stepBroken is the detail of steps that were not tried.
const stepBroken = "A step before it failed."

func (v verifier) verify(ctx context.Context, a *account.Account) *posternv1.VerifyAccountResponse {
	t := &trial{began: time.Now()}
	v.verifyIMAP(ctx, t, v.configs.DialConfig(a))
	t.began = time.Now()
	if endpoint, ok := a.SMTPLogin(); ok {
		v.verifySMTP(ctx, t, endpoint, v.configs.DialConfig(a))
	} else {
		t.skipped("The account has no SMTP server.", checkSMTPAuth)
	}
	return t.response()
}

func (v verifier) verifyIMAP(ctx context.Context, t *trial, cfg imapconn.Config) {
	ctx, cancel := context.WithTimeout(ctx, verifyTimeout)
	defer cancel()
	addresses, err := lookUp(ctx, cfg.Host)
	if err != nil {
		t.failed(checkDNS, unavailable(fmt.Sprintf("The name %q cannot be looked up: %v", cfg.Host, err)))
		t.skipped(stepBroken, checkTCP, checkTLS, checkIMAPAuth, checkCapabilities)
		return
	}
	t.passed(checkDNS, "%s", addresses)
	connected := false
	watched := observed(cfg, func(remote string) {
		connected = true
		t.passed(checkTCP, "Connected to %s.", remote)
	}, func(state tls.ConnectionState) {
		t.passed(checkTLS, "%s, %s.", tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite))
	})
	conn, err := imapconn.Dial(ctx, watched)
	if err != nil {
		t.imapFailure(classify(ctx, err), connected, cfg.TLSMode)
		return
	}
	if cfg.TLSMode == imapconn.ModePlaintext {
		t.skipped("The account asks for no protection.", checkTLS)
	}
	t.passed(checkIMAPAuth, "Logged in as %s.", cfg.Auth.Username)
	t.passed(checkCapabilities, "%s", strings.Join(capabilityNames(conn.Caps()), " "))
	// The trial is over; a server that does not say goodbye is none of it.
	_ = conn.Logout(ctx)
}

// imapFailure records the step at which a connection failed: which ones were
// passed before is known from what the connection was observed to do.
func (t *trial) imapFailure(f *failure, connected bool, mode imapconn.TLSMode) {
	at := []posternv1.VerifyAccountResponse_Step_Check{checkTCP, checkTLS, checkIMAPAuth, checkCapabilities}
	done := len(t.steps) - 1 // without DNS
	if connected && mode == imapconn.ModePlaintext {
		t.skipped("The account asks for no protection.", checkTLS)
		done++
	}
	if f.reason == reasonIMAPTLSFailed && connected {
		done = slices.Index(at, checkTLS)
	}
	t.failed(at[done], f)
	t.skipped(stepBroken, at[done+1:]...)
}

// observed is a configuration that tells when the network and TLS are through.
func observed(cfg imapconn.Config, connected func(remote string), secured func(tls.ConnectionState)) imapconn.Config {
	dial := cfg.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err == nil {
			connected(conn.RemoteAddr().String())
		}
		return conn, err
	}
	base := cfg.TLS
	if base == nil {
		base = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	cfg.TLS = base.Clone()
	check := cfg.TLS.VerifyConnection
	cfg.TLS.VerifyConnection = func(state tls.ConnectionState) error {
		if check != nil {
			if err := check(state); err != nil {
				return err
			}
		}
		secured(state)
		return nil
	}
	return cfg
}

// lookUp resolves a host, for people to read.
func lookUp(ctx context.Context, host string) (string, error) {
	if _, err := netip.ParseAddr(host); err == nil {
		return "It is an address already.", nil
	}
	found, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		var dns *net.DNSError
		if errors.As(err, &dns) {
			return "", errors.New(dns.Err)
		}
		return "", err
	}
	return strings.Join(found, ", "), nil
}

func capabilityNames(caps imap.CapSet) []string {
	names := make([]string, 0, len(caps))
	for c := range caps {
		names = append(names, string(c))
	}
	slices.Sort(names)
	return names
}
