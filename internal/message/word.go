package message

import (
	"strings"
	"unicode/utf8"

	"github.com/postern-mail/postern/internal/message/charset"
)

// DecodeHeaderText decodes the text of a header field, an ENVELOPE's strings
// included: encoded words (RFC 2047) and raw 8-bit text become UTF-8 on one
// line. It never fails, and decoded text stays as it is.
func DecodeHeaderText(raw string) string {
	text, _ := decodeUnstructured(raw, "")
	return text
}

// decodeUnstructured decodes the text of a field such as Subject: encoded
// words (RFC 2047), RFC 6532 text and raw 8-bit text of the charset hint.
func decodeUnstructured(raw, hint string) (string, []Defect) {
	if isPlainASCII(raw) && !strings.Contains(raw, "=?") {
		return raw, nil
	}
	d := wordDecoder{hint: hint}
	d.decode(raw)
	return cleanText(d.out.String()), d.found
}

func isPlainASCII(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7F {
			return false
		}
	}
	return true
}

// cleanText makes text fit for one line: decoded words may hide line ends,
// with which a caller could be led to write headers of the sender's choice.
func cleanText(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	clean := true
	for _, r := range s {
		if r < ' ' || r >= 0x7F && r < 0xA0 || r == '\u2028' || r == '\u2029' {
			clean = false
			break
		}
	}
	if clean {
		return s
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r == '\t', r == '\n', r == '\r', r == '\u2028', r == '\u2029':
			return ' '
		case r < ' ', r >= 0x7F && r < 0xA0:
			return -1
		}
		return r
	}, s))
}

// word is an encoded word, its text decoded to bytes of its charset.
type word struct {
	charset string
	bytes   []byte
}

// wordDecoder puts together the text of a field. Adjacent words of one
// charset are kept as bytes until they end, since many mailers split
// characters between words, against RFC 2047 section 5.
type wordDecoder struct {
	hint    string
	out     strings.Builder
	found   defects
	pending word
	// open says that there is a pending word.
	open bool
	// noEnd says that there is no "?=" in what remains, or else it would be
	// searched for again for each of many beginnings.
	noEnd bool
}

func (d *wordDecoder) decode(s string) {
	for s != "" {
		start := strings.Index(s, "=?")
		if start < 0 {
			break
		}
		w, rest, ok := d.parseWord(s[start:])
		if !ok {
			d.text(s[:start+2])
			s = s[start+2:]
			continue
		}
		between := s[:start]
		// RFC 2047 section 6.2: blanks between two words are not shown.
		if !d.open || strings.Trim(between, " \t") != "" {
			d.text(between)
			if between != "" && !endsInBlank(between) && !strings.HasSuffix(between, "(") && !strings.HasSuffix(between, "\"") {
				d.found.add(DefectEncodedWord)
			}
		}
		d.push(w)
		s = rest
	}
	d.text(s)
	d.flush()
}

func endsInBlank(s string) bool { return s[len(s)-1] == ' ' || s[len(s)-1] == '\t' }

func (d *wordDecoder) push(w word) {
	if d.open && strings.EqualFold(d.pending.charset, w.charset) {
		if charset.Canonical(w.charset) == "iso-2022-jp" {
			// Each word starts in ASCII (RFC 1468), even if the last one
			// forgot to return to it.
			d.pending.bytes = append(d.pending.bytes, "\x1b(B"...)
		}
		d.pending.bytes = append(d.pending.bytes, w.bytes...)
		return
	}
	d.flush()
	d.pending, d.open = w, true
}

func (d *wordDecoder) flush() {
	if !d.open {
		return
	}
	text, o := charset.Decode(d.pending.bytes, d.pending.charset, d.hint)
	d.found.addCharset(o)
	d.out.WriteString(text)
	d.pending, d.open = word{}, false
}

// text adds what is not in an encoded word.
func (d *wordDecoder) text(s string) {
	if s == "" {
		return
	}
	d.flush()
	text, raw := decodeRaw(s, d.hint)
	if raw {
		d.found.add(DefectHeaderRaw8Bit)
	}
	d.out.WriteString(text)
}

// decodeRaw reads text outside encoded words: UTF-8 (RFC 6532), or else what
// the sender's charset may be, which the second result tells.
func decodeRaw(s, hint string) (string, bool) {
	if utf8.ValidString(s) && !strings.ContainsRune(s, 0x1B) {
		return s, false
	}
	text, o := charset.Decode([]byte(s), "", hint)
	return text, o.Guessed
}

// addCharset turns the outcome of a decoding into defects.
func (d *defects) addCharset(o charset.Outcome) {
	switch {
	case o.Unknown:
		d.add(DefectCharsetUnknown)
	case o.Guessed:
		d.add(DefectCharsetGuessed)
	}
	if o.Invalid {
		d.add(DefectCharsetInvalid)
	}
}

// maxCharsetName bounds the search for the first "?" in what only looks like
// an encoded word.
const maxCharsetName = 60

// parseWord reads the encoded word at the beginning of s. It lives with blanks
// in the text and with a missing end.
func (d *wordDecoder) parseWord(s string) (word, string, bool) {
	name, _, ok := strings.Cut(s[2:min(len(s), 2+maxCharsetName)], "?")
	if !ok || name == "" || strings.ContainsAny(name, " \t=\"<>") {
		return word{}, s, false
	}
	rest := s[2+len(name)+1:]
	if len(rest) < 2 || rest[1] != '?' {
		return word{}, s, false
	}
	kind := rest[0] | 0x20
	if kind != 'b' && kind != 'q' {
		return word{}, s, false
	}
	text, rest := d.wordText(rest[2:], kind)
	w := word{charset: name}
	switch kind {
	case 'b':
		b, clean := decodeBase64Text(text)
		if !clean {
			d.found.add(DefectEncodedWord)
		}
		w.bytes = b
	case 'q':
		w.bytes = d.decodeQ(text)
	}
	return w, rest, true
}

// wordText cuts the text of a word at its "?=". Without one the word ends
// where the next one begins, or with the field.
func (d *wordDecoder) wordText(s string, kind byte) (text, rest string) {
	if end := d.wordEnd(s, kind); end >= 0 {
		if strings.ContainsAny(s[:end], " \t") {
			d.found.add(DefectEncodedWord)
		}
		return s[:end], s[end+2:]
	}
	d.found.add(DefectEncodedWord)
	if next := strings.Index(s, "=?"); next >= 0 {
		return s[:next], s[next:]
	}
	return strings.TrimSuffix(s, "?"), ""
}

// wordEnd finds the "?=" that ends a word, or gives -1.
func (d *wordDecoder) wordEnd(s string, kind byte) int {
	if kind == 'b' {
		// Base64 has no question mark: one without "=" belongs to the next
		// word.
		end := strings.IndexByte(s, '?')
		if end >= 0 && !strings.HasPrefix(s[end:], "?=") {
			return -1
		}
		return end
	}
	if d.noEnd {
		return -1
	}
	end := strings.Index(s, "?=")
	d.noEnd = end < 0
	return endOfQ(s, end)
}

// endOfQ skips a "?=" that is a bare question mark before an escape: "Why?=20
// So.?=". RFC 2047 section 4.2 wants it escaped, and not all mailers know.
func endOfQ(s string, end int) int {
	for end >= 0 && end+4 <= len(s) && hexValue(s[end+2]) >= 0 && hexValue(s[end+3]) >= 0 {
		next := strings.Index(s[end+2:], "?=")
		if next < 0 || strings.Contains(s[end+2:end+2+next], "=?") {
			return end
		}
		end += 2 + next
	}
	return end
}

// decodeQ reads the "Q" encoding (RFC 2047 section 4.2).
func (d *wordDecoder) decodeQ(text string) []byte {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '_':
			out = append(out, ' ')
		case c == '=' && i+2 < len(text) && hexValue(text[i+1]) >= 0 && hexValue(text[i+2]) >= 0:
			out = append(out, byte(hexValue(text[i+1])<<4|hexValue(text[i+2])))
			i += 2
		case c == '=':
			d.found.add(DefectEncodedWord)
			out = append(out, c)
		default:
			out = append(out, c)
		}
	}
	return out
}

func hexValue(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}
