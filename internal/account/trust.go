package account

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Bounds of a Trust.
const (
	maxAuthorities     = 16 << 10 // about ten certificates
	maxAuthorityBlocks = 16
	maxPins            = 10
)

// Trust says by what a server is recognised, in place of the authorities that the
// machine trusts. The zero value leaves it to these.
//
// With Authorities the server's certificate has to be signed by one of them, for
// the host's name, and within its dates. With Pins the server has to have one of
// these keys. Pins alone are the identity: nothing else of the certificate is
// looked at, as with DANE-EE (RFC 7671 section 5.1). Where both are given both
// have to hold.
type Trust struct {
	// Authorities are certificates in PEM. The server's own may be one of them.
	Authorities string
	// Pins are keys in the form of [KeyPin].
	Pins []string
}

// IsZero reports whether the machine's authorities are trusted.
func (t *Trust) IsZero() bool { return t.Authorities == "" && len(t.Pins) == 0 }

func (t *Trust) equal(other *Trust) bool {
	return t.Authorities == other.Authorities && slices.Equal(t.Pins, other.Pins)
}

// within reports whether all servers that are recognised were so by an earlier Trust.
func (t *Trust) within(earlier *Trust) bool {
	switch {
	case t.equal(earlier):
		return true
	case t.Authorities != earlier.Authorities || len(t.Pins) == 0 || earlier.IsZero():
		return false
	}
	known := func(pin string) bool { return slices.Contains(earlier.Pins, pin) }
	return len(earlier.Pins) == 0 || !slices.ContainsFunc(t.Pins, func(pin string) bool { return !known(pin) })
}

// KeyPin names the key of a certificate: the SHA-256 of its SubjectPublicKeyInfo
// (RFC 7469 section 2.4), which stays when the certificate is renewed for the same
// key.
func KeyPin(certificate *x509.Certificate) string {
	sum := sha256.Sum256(certificate.RawSubjectPublicKeyInfo)
	return pinPrefix + base64.StdEncoding.EncodeToString(sum[:])
}

const pinPrefix = "sha256/"

var pinPattern = regexp.MustCompile(`^sha256/[A-Za-z0-9+/]{43}=$`)

// PinError says that a server has none of the keys that an account pins.
type PinError struct {
	// Certificate is the one that it showed.
	Certificate *x509.Certificate
}

func (e *PinError) Error() string {
	return "the server's key is " + KeyPin(e.Certificate) + ", which is none of the pinned ones"
}

// apply makes a TLS configuration check what the Trust asks for.
func (t *Trust) apply(config *tls.Config) {
	if t.Authorities != "" {
		// One that cannot be read trusts nobody.
		config.RootCAs = x509.NewCertPool()
		config.RootCAs.AppendCertsFromPEM([]byte(t.Authorities))
	}
	if len(t.Pins) == 0 {
		return
	}
	// The handshake has proved that the server has the key. Where nothing but the
	// key counts, the check below takes the place of the standard one.
	config.InsecureSkipVerify = t.Authorities == ""
	pins := t.Pins
	config.VerifyConnection = func(state tls.ConnectionState) error {
		leaf := state.PeerCertificates[0]
		if !slices.Contains(pins, KeyPin(leaf)) {
			return &PinError{Certificate: leaf}
		}
		return nil
	}
}

// trust checks the Trust of an endpoint. Authorities that have expired are refused
// when they are set, not when they expire later: the account has to be changeable
// then, too.
func (v *violations) trust(prefix string, e, before *Endpoint) {
	t := &e.Trust
	if e.TLSMode == Plaintext {
		v.Check(t.IsZero(), prefix+".tls", "says whom to trust, which means nothing without TLS: leave it out, or set tls_mode to TLS or STARTTLS")
	}
	v.Check(len(t.Pins) <= maxPins, prefix+".tls.pinned_keys", "give at most %d keys", maxPins)
	for _, pin := range t.Pins {
		v.Check(pinPattern.MatchString(pin), prefix+".tls.pinned_keys",
			"give each as sha256/ and the base64 of the SHA-256 of the SubjectPublicKeyInfo, as accounts:verify shows it")
	}
	if t.Authorities == "" {
		return
	}
	field := prefix + ".tls.ca_certificates"
	if len(t.Authorities) > maxAuthorities {
		v.Check(false, field, "give at most %d bytes", maxAuthorities)
		return
	}
	certificates, problem := parseAuthorities(t.Authorities)
	v.Check(problem == "", field, "%s", problem)
	if before != nil && before.Trust.Authorities == t.Authorities {
		return
	}
	for _, c := range certificates {
		v.Check(time.Now().Before(c.NotAfter), field, "the certificate of %s has expired on %s",
			shorten(c.Subject.String()), c.NotAfter.UTC().Format(time.DateOnly))
	}
}

// parseAuthorities reads certificates in PEM; text between them is allowed, as
// bundles have it. The problem is empty when there is none.
func parseAuthorities(text string) (certificates []*x509.Certificate, problem string) {
	rest := []byte(text)
	for {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Sprintf("holds a block of the type %s: only certificates belong here", shorten(block.Type))
		}
		if len(certificates) == maxAuthorityBlocks {
			return nil, fmt.Sprintf("give at most %d certificates", maxAuthorityBlocks)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Sprintf("certificate %d cannot be read: %s", len(certificates)+1, shorten(err.Error()))
		}
		certificates = append(certificates, c)
	}
	switch {
	case len(certificates) == 0:
		return nil, "holds no certificate in PEM, which begins with -----BEGIN CERTIFICATE-----"
	case strings.Contains(string(rest), "-----BEGIN"):
		return nil, fmt.Sprintf("what follows certificate %d is cut short or damaged", len(certificates))
	}
	return certificates, ""
}
