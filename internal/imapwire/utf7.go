package imapwire

import (
	"encoding/base64"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Modified UTF-7 is the encoding of mailbox names in IMAP4rev1: printable ASCII
// stands for itself, "&-" for an ampersand, anything else is UTF-16BE in a
// modified base64 between "&" and "-" (RFC 3501 section 5.1.3).

var utf7Base64 = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").
	WithPadding(base64.NoPadding).Strict()

func isUTF7Base64(c byte) bool {
	return 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || isDigit(c) || c == '+' || c == ','
}

func isUTF7Direct(c byte) bool { return ' ' <= c && c <= '~' }

// EncodeUTF7 encodes a name, given in UTF-8. Bytes that are not UTF-8 become
// U+FFFD: such a name is to be written with Encoder.RawMailbox.
func EncodeUTF7(name string) string {
	var b strings.Builder
	b.Grow(len(name))
	for i := 0; i < len(name); {
		if c := name[i]; isUTF7Direct(c) {
			b.WriteByte(c)
			if c == '&' {
				b.WriteByte('-')
			}
			i++
			continue
		}
		start := i
		for i < len(name) && !isUTF7Direct(name[i]) {
			i++
		}
		encodeUTF7Run(&b, name[start:i])
	}
	return b.String()
}

func encodeUTF7Run(b *strings.Builder, run string) {
	units := utf16.Encode([]rune(run))
	raw := make([]byte, 0, 2*len(units))
	for _, u := range units {
		raw = append(raw, byte(u>>8), byte(u))
	}
	b.WriteByte('&')
	b.WriteString(utf7Base64.EncodeToString(raw))
	b.WriteByte('-')
}

// DecodeUTF7 decodes a name. It never loses one: a shift that cannot be decoded
// stays as it is, and raw UTF-8, which servers send against the rule, is taken
// as such. exact reports whether EncodeUTF7 of the result is the name again; if
// not, the server has to be given the name as it wrote it.
func DecodeUTF7(raw string) (name string, exact bool) {
	if !strings.Contains(raw, "&") {
		name = validText(raw)
		return name, EncodeUTF7(name) == raw
	}
	var b strings.Builder
	b.Grow(len(raw))
	for i := 0; i < len(raw); {
		if raw[i] != '&' {
			b.WriteByte(raw[i])
			i++
			continue
		}
		end := i + 1
		for end < len(raw) && isUTF7Base64(raw[end]) {
			end++
		}
		switch closed := end < len(raw) && raw[end] == '-'; {
		case closed && end == i+1:
			b.WriteByte('&')
			i = end + 1
		case closed && decodeUTF7Run(&b, raw[i+1:end]):
			i = end + 1
		default:
			b.WriteString(raw[i:end])
			i = end
		}
	}
	name = validText(b.String())
	return name, EncodeUTF7(name) == raw
}

// decodeUTF7Run decodes what stands between "&" and "-". It reports false, and
// writes nothing, if that is not base64 of UTF-16, or holds control characters,
// which no name should and no terminal wants.
func decodeUTF7Run(b *strings.Builder, run string) bool {
	raw, err := utf7Base64.DecodeString(run)
	if err != nil || len(raw) == 0 || len(raw)%2 != 0 {
		return false
	}
	var out strings.Builder
	for i := 0; i < len(raw); i += 2 {
		r := rune(raw[i])<<8 | rune(raw[i+1])
		if utf16.IsSurrogate(r) {
			if i += 2; i == len(raw) {
				return false
			}
			if r = utf16.DecodeRune(r, rune(raw[i])<<8|rune(raw[i+1])); r == utf8.RuneError {
				return false
			}
		}
		if r < ' ' || r == 0x7f {
			return false
		}
		out.WriteRune(r)
	}
	b.WriteString(out.String())
	return true
}

// isINBOX reports whether a name is INBOX, whose name alone does not depend on
// case (RFC 9051 section 5.1).
func isINBOX(name string) bool { return len(name) == 5 && strings.EqualFold(name, "INBOX") }
