package discover

import (
	"context"
	"errors"
	"net"
	"sync"

	"github.com/postern-mail/postern/internal/imapconn"
)

// protocol is what a server speaks.
type protocol string

const (
	protoIMAP protocol = "imap"
	protoSMTP protocol = "smtp"
)

// services are those that a domain may have SRV records for, those with TLS from the
// first byte before those with STARTTLS, as RFC 8314 section 5.1 wants them.
var services = []struct {
	name     string
	protocol protocol
	mode     imapconn.TLSMode
}{
	{"imaps", protoIMAP, imapconn.ModeTLS},
	{"imap", protoIMAP, imapconn.ModeSTARTTLS},
	{"submissions", protoSMTP, imapconn.ModeTLS},
	{"submission", protoSMTP, imapconn.ModeSTARTTLS},
}

// maxTargets is how many servers of one service are looked at.
const maxTargets = 2

// srv asks for the SRV records of RFC 6186. offered is false where the domain says
// that it has no IMAP.
func (s *search) srv(ctx context.Context) (found []Candidate, offered bool) {
	targets, refused := make([][]Server, len(services)), make([]bool, len(services))
	var work sync.WaitGroup
	for i, service := range services {
		work.Go(func() { targets[i], refused[i] = s.targets(ctx, service.name, service.mode) })
	}
	work.Wait()
	servers := make(map[protocol][]Server)
	for i, service := range services {
		servers[service.protocol] = append(servers[service.protocol], targets[i]...)
	}
	if len(servers[protoIMAP]) == 0 {
		return nil, !refused[0] // without _imap._tcp there is only no STARTTLS
	}
	c, ok := s.candidate(ctx, SourceSRV, servers[protoIMAP], servers[protoSMTP])
	if !ok {
		return nil, true
	}
	return []Candidate{c}, true
}

// targets are the servers of a service in the order of RFC 2782, and whether the
// domain says that there is none.
func (s *search) targets(ctx context.Context, service string, mode imapconn.TLSMode) (servers []Server, refused bool) {
	// Records beside those whose names are none come with an error, too.
	_, records, _ := s.resolver().LookupSRV(ctx, service, "tcp", s.domain+".")
	for _, record := range records {
		if record.Target == "." { // RFC 2782: decidedly not available
			return nil, len(records) == 1
		}
		host, ok := hostName(trimDot(record.Target))
		if !ok || record.Port == 0 || len(servers) == maxTargets {
			continue
		}
		servers = append(servers, Server{Host: host, Port: int(record.Port), TLSMode: mode, Username: placeAddress})
	}
	return servers, false
}

func (f *Finder) resolver() *net.Resolver {
	if f.config.Guard.Resolver != nil {
		return f.config.Guard.Resolver
	}
	return net.DefaultResolver
}

// isNotFound reports whether a name is known not to be there.
func isNotFound(err error) bool {
	var lookup *net.DNSError
	return errors.As(err, &lookup) && lookup.IsNotFound
}
