package compose

import (
	"errors"
	"fmt"
	"net/mail"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// maxAddress bounds an address in bytes: RFC 5321 section 4.5.3.1 allows 64 for the
// local part and 255 for the domain.
const maxAddress = 320

// Wire gives an address in the form in which it goes on the wire, the domain in
// ASCII (RFC 5891), and whether SMTPUTF8 is needed for what remains (RFC 6531). It
// fails for what is not one address and nothing else.
func Wire(address string) (wire string, utf8Needed bool, err error) {
	if address == "" {
		return "", false, errors.New("the address is missing")
	}
	if len(address) > maxAddress {
		return "", false, fmt.Errorf("an address has at most %d bytes", maxAddress)
	}
	if !utf8.ValidString(address) || strings.ContainsFunc(address, isControl) {
		return "", false, errors.New("an address has no control characters")
	}
	if strings.ContainsFunc(address, isInvisible) {
		return "", false, errors.New("an address has no spaces or signs that nobody sees")
	}
	parsed, err := mail.ParseAddress("<" + address + ">")
	if err != nil || parsed.Name != "" {
		return "", false, errors.New("it is not an address such as ann@example.com")
	}
	if !strings.HasPrefix(address, `"`) && strings.ContainsAny(address, " ()") {
		// Comments, and space around the signs, are of headers (RFC 5322 section 4.4).
		return "", false, errors.New("it is not an address such as ann@example.com")
	}
	at := strings.LastIndexByte(parsed.Address, '@')
	local, domain := parsed.Address[:at], parsed.Address[at+1:]
	if !strings.HasPrefix(domain, "[") {
		if domain, err = idna.Lookup.ToASCII(domain); err != nil {
			return "", false, fmt.Errorf("%q is not the name of a domain", parsed.Address[at+1:])
		}
	}
	// What net/mail has taken out of quotes goes back into them where it must.
	quoted := (&mail.Address{Address: local + "@" + domain}).String()
	// What IDNA makes dots of, or leaves of a label, need not be a domain.
	if _, err := mail.ParseAddress(quoted); err != nil {
		return "", false, fmt.Errorf("%q is not the name of a domain", parsed.Address[at+1:])
	}
	wire = strings.TrimSuffix(strings.TrimPrefix(quoted, "<"), ">")
	return wire, !isASCII(wire), nil
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf })
}

// isInvisible reports whether a rune beyond ASCII shows nothing, or changes the order of
// what is shown: it comes into an address with what was pasted, or to make it look like
// another. The joiners of some scripts are told from that by IDNA (RFC 5892 appendix A).
func isInvisible(r rune) bool {
	const nonJoiner, joiner = '\u200c', '\u200d'
	return r >= utf8.RuneSelf && r != nonJoiner && r != joiner && (unicode.IsSpace(r) || unicode.Is(unicode.Cf, r))
}

// isControl reports whether a rune must not stand in a field of a header: what ends
// lines, here or in some program's view, what is invisible, and what is not text.
func isControl(r rune) bool {
	return r < ' ' || r == 0x7f || 0x80 <= r && r < 0xa0 || r == '\u2028' || r == '\u2029' || r == utf8.RuneError
}
