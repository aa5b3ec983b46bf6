package discover

import (
	"context"
	"crypto/tls"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/netguard"
	"github.com/postern-mail/postern/internal/smtpconn"
)

// probeTimeout bounds the trial of one server.
const probeTimeout = 5 * time.Second

// verdict is what came of the trial of a server.
type verdict struct {
	// gone says that there is no such host, or none that may be connected to.
	gone bool
	// tried says that it was connected to, or that this failed, and good that it showed
	// a certificate good for its name and greeted.
	tried, good bool
	// vouched says that the certificate is good for the address's domain, too.
	vouched bool
	// mechanisms are those of SASL that it offers before a login. Plain is said to be
	// among them where LOGIN does it.
	mechanisms []string
}

// usual are the ports that are connected to: what somebody says of others is told,
// not tried, or Postern would look at any port for them.
var usual = map[protocol][]int{protoIMAP: {993, 143}, protoSMTP: {465, 587}}

// trial is a server and what came of its trial.
type trial struct {
	server Server
	verdict
}

// candidate tries servers, of which each list has the best first, and makes a
// candidate of the first that do, or else of the first. It reports false where there
// is no server for IMAP.
func (s *search) candidate(ctx context.Context, source Source, imapServers, smtpServers []Server) (Candidate, bool) {
	var reading, sending []trial
	var work sync.WaitGroup
	work.Go(func() { reading = s.tryAll(ctx, protoIMAP, imapServers) })
	work.Go(func() { sending = s.tryAll(ctx, protoSMTP, smtpServers) })
	work.Wait()
	// A guess that does not answer says nothing.
	guess := source == SourceProbe
	in, ok := choose(reading, guess)
	if !ok {
		return Candidate{}, false
	}
	c := Candidate{Source: source, IMAP: in.server, Verified: in.good, failed: in.tried && !in.good, Methods: in.methods()}
	foreign := !in.vouched && !sameSite(in.server.Host, s.domain)
	if out, ok := choose(sending, guess); ok {
		c.SMTP = &out.server
		c.Verified = c.Verified && out.good
		c.failed = c.failed || out.tried && !out.good
		foreign = foreign || !out.vouched && !sameSite(out.server.Host, s.domain)
	}
	c.Confirm = foreign && source != SourceAutoconfig
	return c, true
}

// choose takes the first server that is good, or else, unless only good ones count,
// the first that is there.
func choose(trials []trial, goodOnly bool) (trial, bool) {
	there := slices.DeleteFunc(trials, func(t trial) bool { return t.gone || goodOnly && !t.good })
	if i := slices.IndexFunc(there, func(t trial) bool { return t.good }); i >= 0 {
		return there[i], true
	}
	if len(there) == 0 {
		return trial{}, false
	}
	return there[0], true
}

func (s *search) tryAll(ctx context.Context, p protocol, servers []Server) []trial {
	trials := make([]trial, len(servers))
	var work sync.WaitGroup
	for i, server := range servers {
		work.Go(func() { trials[i] = trial{server: server, verdict: s.try(ctx, p, server)} })
	}
	work.Wait()
	return trials
}

// try connects to a server and reads its greeting. Nobody logs in.
func (s *search) try(ctx context.Context, p protocol, server Server) verdict {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	if !slices.Contains(usual[p], server.Port) {
		return verdict{gone: !s.mayBe(ctx, server.Host)}
	}
	v := verdict{tried: true}
	base := s.tlsConfig()
	base.VerifyConnection = func(state tls.ConnectionState) error {
		v.vouched = state.PeerCertificates[0].VerifyHostname(s.domain) == nil
		return nil
	}
	var err error
	if p == protoIMAP {
		v.mechanisms, err = s.greetIMAP(ctx, server, base)
	} else {
		v.mechanisms, err = s.greetSMTP(ctx, server, base)
	}
	v.good = err == nil
	v.vouched = v.vouched && v.good
	_, refused := errors.AsType[*netguard.RefusedError](err)
	v.gone = refused || isNotFound(err)
	return v
}

// mayBe reports whether a host that is not tried has an address that might be
// connected to, or may have one.
func (s *search) mayBe(ctx context.Context, host string) bool {
	addrs, err := s.resolver().LookupNetIP(ctx, "ip", host+".")
	if err != nil {
		return !isNotFound(err)
	}
	return slices.ContainsFunc(addrs, func(a netip.Addr) bool { return s.config.Guard.Check(a) == nil })
}

func (s *search) greetIMAP(ctx context.Context, server Server, base *tls.Config) ([]string, error) {
	caps, err := imapconn.Greet(ctx, imapconn.Config{
		Host: server.Host, Port: server.Port, TLSMode: server.TLSMode, TLS: base, Dial: s.dial, CommandTimeout: probeTimeout,
	})
	if err != nil {
		return nil, err
	}
	mechanisms := caps.AuthMechanisms()
	if !caps.Has(imap.CapLoginDisabled) {
		mechanisms = append(mechanisms, "PLAIN")
	}
	return mechanisms, nil
}

func (s *search) greetSMTP(ctx context.Context, server Server, base *tls.Config) ([]string, error) {
	conn, err := smtpconn.Dial(ctx, smtpconn.Config{
		Host: server.Host, Port: server.Port, TLSMode: server.TLSMode, TLS: base, Dial: s.dial, CommandTimeout: probeTimeout,
	})
	if err != nil {
		return nil, err
	}
	defer conn.Quit(ctx)
	offered, _ := conn.Extension("AUTH")
	return strings.Fields(offered), nil
}

// methods are what the server lets one log in with.
func (v *verdict) methods() []Method {
	var methods []Method
	if len(imapconn.Credentials{Token: "-"}.SASLMechanisms(v.mechanisms)) > 0 {
		methods = append(methods, MethodOAuth2)
	}
	if len(imapconn.Credentials{}.SASLMechanisms(v.mechanisms)) > 0 {
		methods = append(methods, MethodPassword)
	}
	return methods
}

// guesses are the usual names of servers within a domain, the best first.
var guesses = map[protocol][]Server{
	protoIMAP: {
		{Host: "imap.", Port: 993, TLSMode: imapconn.ModeTLS}, {Host: "mail.", Port: 993, TLSMode: imapconn.ModeTLS},
		{Host: "imap.", Port: 143, TLSMode: imapconn.ModeSTARTTLS}, {Host: "mail.", Port: 143, TLSMode: imapconn.ModeSTARTTLS},
	},
	protoSMTP: {
		{Host: "smtp.", Port: 465, TLSMode: imapconn.ModeTLS}, {Host: "mail.", Port: 465, TLSMode: imapconn.ModeTLS},
		{Host: "smtp.", Port: 587, TLSMode: imapconn.ModeSTARTTLS}, {Host: "mail.", Port: 587, TLSMode: imapconn.ModeSTARTTLS},
	},
}

// usualNames tries servers with the usual names.
func (s *search) usualNames(ctx context.Context) []Candidate {
	named := make(map[protocol][]Server)
	for p, servers := range guesses {
		for _, server := range servers {
			server.Host, server.Username = server.Host+s.domain, placeAddress
			if _, ok := hostName(server.Host); ok { // or it is too long
				named[p] = append(named[p], server)
			}
		}
	}
	c, ok := s.candidate(ctx, SourceProbe, named[protoIMAP], named[protoSMTP])
	if !ok {
		return nil
	}
	return []Candidate{c}
}

func trimDot(name string) string { return strings.TrimSuffix(name, ".") }
