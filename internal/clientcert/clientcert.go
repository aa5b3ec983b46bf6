package clientcert

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/postern-mail/postern/internal/access"
	"github.com/postern-mail/postern/internal/follow"
)

// Authenticator tells by their certificate who calls. It has to Run for changes of
// its file to be in force.
type Authenticator struct {
	file *follow.Files[*Table]
	log  *slog.Logger

	mu    sync.Mutex
	table *Table
	// callers are those who have called with a certificate that is still good:
	// what they may do is looked at again when the file changes.
	callers map[[sha256.Size]byte]*caller
}

// caller is the holder of one certificate.
type caller struct {
	certificate *x509.Certificate
	entry       *entry
	endings     access.Endings
	principal   access.Principal
}

// Open reads the file of principals, as what the setting of that name says.
func Open(setting, name string, log *slog.Logger) (*Authenticator, error) {
	file, err := follow.New(setting, func(contents [][]byte) (*Table, error) { return Parse(contents[0]) }, name)
	if err != nil {
		return nil, err
	}
	return &Authenticator{file: file, log: log, table: file.Current(), callers: make(map[[sha256.Size]byte]*caller)}, nil
}

// Run follows the file until ctx ends. Callers who may do something else than
// before, or nothing any more, are ended.
func (a *Authenticator) Run(ctx context.Context) error {
	a.file.Run(ctx, a.log, a.replace)
	return nil
}

func (a *Authenticator) replace(table *Table) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.table = table
	for mark, c := range a.callers {
		if now, _ := table.find(c.certificate); !now.same(c.entry) {
			delete(a.callers, mark)
			c.endings.End()
		}
	}
}

// The problems of certificates that are genuine.
const (
	problemUnknown   = "belongs to no caller that this gateway knows"
	problemAmbiguous = "belongs to several callers"
	problemExpired   = "has expired"
)

// Authenticate implements [access.Authenticator]. A token, where there is one,
// decides alone: whoever sends it means to be its holder.
func (a *Authenticator) Authenticate(_ context.Context, shown access.Credentials) (access.Principal, error) {
	certificate := shown.Certificate
	if certificate == nil || !shown.Token.IsZero() {
		return access.Principal{}, access.ErrInvalid
	}
	// The handshake looked at this too, but a connection may outlive it.
	now := time.Now()
	if now.After(certificate.NotAfter) {
		return access.Principal{}, &access.InvalidError{Problem: problemExpired}
	}
	mark := sha256.Sum256(certificate.Raw)
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.callers[mark]; c != nil {
		return c.principal, nil
	}
	found, ambiguous := a.table.find(certificate)
	switch {
	case ambiguous:
		return access.Principal{}, &access.InvalidError{Problem: problemAmbiguous}
	case found == nil:
		return access.Principal{}, &access.InvalidError{Problem: problemUnknown}
	}
	c := &caller{certificate: certificate, entry: found}
	c.principal = access.Principal{ID: found.id, Grant: found.grant, Ended: c.endings.At(certificate.NotAfter)}
	a.forgetExpired(now)
	a.callers[mark] = c
	return c.principal, nil
}

// forgetExpired keeps the callers to those whose certificate is good. New ones
// are rare, so that it can look at all.
func (a *Authenticator) forgetExpired(now time.Time) {
	for mark, c := range a.callers {
		if now.After(c.certificate.NotAfter) {
			delete(a.callers, mark)
		}
	}
}

// errNoAuthorities is a file of authorities without any.
var errNoAuthorities = errors.New("there is no certificate of an authority in it, in PEM form")

// ParseAuthorities reads the certificates of those who may issue certificates to
// clients.
func ParseAuthorities(pem []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errNoAuthorities
	}
	return pool, nil
}
