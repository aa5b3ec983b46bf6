// Package clientcert tells by a client's certificate who calls, from a file in
// which the operator says what the holder of which certificate may do. That a
// certificate is genuine is for the TLS handshake to find out, before.
package clientcert

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/mail"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/postern-mail/postern/internal/access"
)

// entry is one caller of the file.
type entry struct {
	id    string
	grant access.Grant
}

// same reports whether two entries are of one caller who may do the same.
func (e *entry) same(other *entry) bool {
	return e != nil && other != nil && e.id == other.id && reflect.DeepEqual(e.grant, other.grant)
}

// Table is a file of principals, read.
type Table struct {
	// entries are by their identity, such as "uri:spiffe://example.com/a".
	entries map[string]*entry
}

// fileEntry is an entry as it is written.
type fileEntry struct {
	Name        string            `yaml:"name"`
	Certificate map[string]string `yaml:"certificate"`
	Scopes      []access.Scope    `yaml:"scopes"`
	Accounts    []string          `yaml:"accounts"`
	Labels      map[string]string `yaml:"labels"`
}

// maxName bounds the name that a caller has in the logs.
const maxName = 128

// Parse reads a file of principals. An entry that could mean something else than
// was meant, by a misspelt key or scope, makes all of it invalid.
func Parse(content []byte) (*Table, error) {
	var file struct {
		Principals []fileEntry `yaml:"principals"`
	}
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if err := decoder.Decode(&struct{}{}); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is a second YAML document, which nobody would read")
	}
	t := &Table{entries: make(map[string]*entry, len(file.Principals))}
	names := make(map[string]bool)
	for i := range file.Principals {
		identity, e, err := file.Principals[i].read()
		if err != nil {
			return nil, fmt.Errorf("principal %d: %w", i+1, err)
		}
		if t.entries[identity] != nil {
			return nil, fmt.Errorf("principal %d: there is another with the certificate %s", i+1, identity)
		}
		if names[e.id] {
			return nil, fmt.Errorf("principal %d: there is another with the name %q", i+1, e.id)
		}
		t.entries[identity], names[e.id] = e, true
	}
	return t, nil
}

func (f *fileEntry) read() (identity string, _ *entry, err error) {
	if len(f.Certificate) != 1 {
		return "", nil, errors.New("certificate: give one of uri, dns, email, subject, fingerprint")
	}
	for kind, value := range f.Certificate {
		if identity, err = normalize(kind, value); err != nil {
			return "", nil, fmt.Errorf("certificate: %w", err)
		}
	}
	e := &entry{id: f.Name, grant: access.Grant{Scopes: f.Scopes, Labels: f.Labels}}
	if e.id == "" {
		e.id = identity
	}
	if len(e.id) > maxName && f.Name != "" || strings.ContainsFunc(e.id, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", nil, fmt.Errorf("name: give at most %d characters, and none of them a control character", maxName)
	}
	// Never that of a token or of the admin.
	e.id = "cert:" + e.id
	if len(f.Scopes) == 0 {
		return "", nil, errors.New("scopes: give at least one")
	}
	for _, scope := range f.Scopes {
		if !scope.Valid() {
			return "", nil, fmt.Errorf("scopes: there is no scope %q, only %v", scope, access.Scopes())
		}
	}
	for _, account := range f.Accounts {
		id := strings.TrimPrefix(account, "accounts/")
		if id == "" || strings.ContainsAny(id, "/*") || id == "-" {
			return "", nil, fmt.Errorf("accounts: %q is no account such as accounts/ann; leave accounts and labels out to mean all", account)
		}
		e.grant.Accounts = append(e.grant.Accounts, id)
	}
	// No accounts are all accounts, so that has to be said by leaving them out
	// and not by a list that has become empty.
	if f.Accounts != nil && len(f.Accounts) == 0 || f.Labels != nil && len(f.Labels) == 0 {
		return "", nil, errors.New("accounts and labels: leave out what is empty; without both it is all accounts")
	}
	return identity, e, nil
}

// normalize brings what identifies a certificate into the form in which it is
// looked up.
func normalize(kind, value string) (string, error) {
	if strings.TrimSpace(value) != value || value == "" {
		return "", fmt.Errorf("%s: the value is empty, or has spaces around it", kind)
	}
	switch kind {
	case "uri":
		u, err := url.Parse(value)
		if err != nil || u.Scheme == "" {
			return "", fmt.Errorf("uri: %q is no URI such as spiffe://example.com/app", value)
		}
		value = u.String()
	case "dns":
		if strings.ContainsAny(value, "*/: ") {
			return "", fmt.Errorf("dns: %q is no name such as app.example.com", value)
		}
		value = strings.ToLower(value)
	case "email":
		address, err := mail.ParseAddress(value)
		if err != nil || address.Address != value {
			return "", fmt.Errorf("email: %q is no address such as app@example.com", value)
		}
		value = lowerDomain(value)
	case "subject":
	case "fingerprint":
		value = strings.ToLower(strings.ReplaceAll(value, ":", ""))
		if raw, err := hex.DecodeString(value); err != nil || len(raw) != sha256.Size {
			return "", errors.New("fingerprint: give the SHA-256 of the certificate, 64 hexadecimal digits")
		}
	default:
		return "", fmt.Errorf("there is no %q: give one of uri, dns, email, subject, fingerprint", kind)
	}
	return kind + ":" + value, nil
}

// lowerDomain: the part before the @ is of the case that its domain gave it.
func lowerDomain(address string) string {
	at := strings.LastIndexByte(address, '@')
	return address[:at+1] + strings.ToLower(address[at+1:])
}

// find looks a certificate up by all that it says. Where that leads to several
// callers it is none of them: which is meant is not for the order of names in a
// certificate to decide.
func (t *Table) find(certificate *x509.Certificate) (found *entry, ambiguous bool) {
	mark := sha256.Sum256(certificate.Raw)
	identities := []string{
		"fingerprint:" + hex.EncodeToString(mark[:]),
		"subject:" + certificate.Subject.String(),
	}
	for _, uri := range certificate.URIs {
		identities = append(identities, "uri:"+uri.String())
	}
	for _, name := range certificate.DNSNames {
		identities = append(identities, "dns:"+strings.ToLower(name))
	}
	for _, address := range certificate.EmailAddresses {
		identities = append(identities, "email:"+lowerDomain(address))
	}
	slices.Sort(identities)
	for _, identity := range slices.Compact(identities) {
		e := t.entries[identity]
		if e == nil {
			continue
		}
		if found != nil {
			return nil, true
		}
		found = e
	}
	return found, false
}
