package discover

import (
	"net/mail"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// maxAddress bounds an address: RFC 3696, erratum 1690.
const maxAddress = 320

// Address is an email address.
type Address struct {
	// Text is the whole address, as it was given.
	Text string
	// Domain is the part behind the @ in lower-case ASCII, A-labels where it has
	// others.
	Domain string
}

// AddressError says why something is no email address whose servers can be found.
type AddressError struct {
	// Problem is for a person.
	Problem string
}

// Error implements error.
func (e *AddressError) Error() string { return e.Problem }

// names turns names into ASCII and refuses what is none in DNS (RFC 5891, RFC 1123).
var names = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(true), idna.VerifyDNSLength(true))

// ParseAddress reads an email address. It fails with an [*AddressError].
func ParseAddress(text string) (Address, error) {
	parsed, err := mail.ParseAddress(text)
	at := strings.LastIndexByte(text, '@')
	if err != nil || parsed.Address != text || at < 0 || len(text) > maxAddress || !printable(text) {
		return Address{}, &AddressError{"must be a bare address such as ann@example.com"}
	}
	domain := text[at+1:]
	if strings.HasPrefix(domain, "[") {
		return Address{}, &AddressError{"must have the name of a domain behind the @, not the address of a machine"}
	}
	ascii, ok := hostName(domain)
	if !ok {
		return Address{}, &AddressError{"must have the whole name of a domain behind the @, such as example.com"}
	}
	return Address{Text: text, Domain: ascii}, nil
}

// hostName turns a name of at least two labels into lower-case ASCII. It does not
// take IP addresses, nor names that some resolvers take for one.
func hostName(name string) (string, bool) {
	ascii, err := names.ToASCII(name)
	if err != nil {
		return "", false
	}
	ascii = strings.ToLower(ascii)
	if _, err := netip.ParseAddr(ascii); err == nil {
		return "", false
	}
	last := strings.LastIndexByte(ascii, '.')
	if last < 0 || ascii[last+1] < 'a' || ascii[last+1] > 'z' { // RFC 3696 section 2: no top-level domain is a number
		return "", false
	}
	return ascii, true
}

func printable(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

// Placeholders of user names, as Thunderbird's configurations have them.
const (
	placeAddress = "%EMAILADDRESS%"
	placeLocal   = "%EMAILLOCALPART%"
	placeDomain  = "%EMAILDOMAIN%"
)

// fill copies candidates and puts the address into their user names.
func (a Address) fill(candidates []Candidate) []Candidate {
	at := strings.LastIndexByte(a.Text, '@')
	places := strings.NewReplacer(placeAddress, a.Text, placeLocal, a.Text[:at], placeDomain, a.Text[at+1:])
	filled := make([]Candidate, len(candidates))
	for i, c := range candidates {
		c.IMAP.Username = places.Replace(c.IMAP.Username)
		if c.SMTP != nil {
			smtp := *c.SMTP
			smtp.Username = places.Replace(smtp.Username)
			c.SMTP = &smtp
		}
		filled[i] = c
	}
	return filled
}

// usernamePattern checks a user name that a configuration has, with placeholders. One
// that makes no sense is taken for the address.
func usernamePattern(name string) string {
	rest := strings.NewReplacer(placeAddress, "", placeLocal, "", placeDomain, "").Replace(name)
	if name == "" || len(name) > maxAddress || !printable(name) || strings.Contains(rest, "%") || strings.ContainsFunc(rest, unicode.IsSpace) {
		return placeAddress
	}
	return name
}
