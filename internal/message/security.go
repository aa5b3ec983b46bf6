package message

import "strings"

// Security is how a message is signed or encrypted, by what it says itself.
type Security struct {
	Scheme            Scheme
	Signed, Encrypted bool
}

// Scheme is what made a signature or an encryption.
type Scheme string

// Schemes.
const (
	SchemeOpenPGP Scheme = "OPENPGP" // RFC 3156, RFC 9580
	SchemeSMIME   Scheme = "SMIME"   // RFC 8551
)

// Security finds out how a message is protected, of its tree of parts. A
// multipart/mixed around what is protected is the work of a mailing list, which
// adds a footer, so its first part counts.
func (p *Part) Security() Security {
	if p == nil {
		return Security{}
	}
	switch p.Type {
	case "multipart/mixed":
		for _, c := range p.Children {
			if c.Type == "application/pgp-encrypted" {
				// Exchange makes this of a multipart/encrypted.
				return Security{Scheme: SchemeOpenPGP, Encrypted: true}
			}
		}
		if len(p.Children) > 0 {
			return p.Children[0].Security()
		}
	case "multipart/signed":
		s := Security{Scheme: schemeOf(p.Params["protocol"]), Signed: true}
		if s.Scheme == "" && len(p.Children) > 1 {
			s.Scheme = schemeOf(p.Children[1].Type)
		}
		if len(p.Children) > 0 {
			s.Encrypted = p.Children[0].Security().Encrypted
		}
		return s
	case "multipart/encrypted":
		return Security{Scheme: SchemeOpenPGP, Encrypted: true}
	case "application/pkcs7-mime", "application/x-pkcs7-mime":
		signed := p.Kind() == KindSignature
		return Security{Scheme: SchemeSMIME, Signed: signed, Encrypted: !signed && !strings.EqualFold(p.Params["smime-type"], "certs-only")}
	}
	return Security{}
}

func schemeOf(mediaType string) Scheme {
	switch strings.ToLower(mediaType) {
	case "application/pgp-signature", "application/pgp-encrypted":
		return SchemeOpenPGP
	case "application/pkcs7-signature", "application/x-pkcs7-signature":
		return SchemeSMIME
	}
	return ""
}

// InlineSecurity finds OpenPGP within a text (RFC 9580 section 6.2), where it
// begins a line.
func InlineSecurity(text string) Security {
	for line := range strings.SplitSeq(text, "\n") {
		switch strings.TrimRight(line, " \t\r") {
		case "-----BEGIN PGP SIGNED MESSAGE-----":
			return Security{Scheme: SchemeOpenPGP, Signed: true}
		case "-----BEGIN PGP MESSAGE-----":
			return Security{Scheme: SchemeOpenPGP, Encrypted: true}
		}
	}
	return Security{}
}
