package message

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/postern-mail/postern/internal/message/charset"
)

// value is a field of the form of Content-Type and Content-Disposition: a
// value and parameters, the names of which are in lower case.
type value struct {
	text   string
	params map[string]string
	found  defects
}

// parameter is a parameter as written: "filename*0*" and all.
type parameter struct{ name, text string }

// parseValue reads value *(";" attribute "=" value) (RFC 2045 section 5.1).
func parseValue(raw, hint string) value {
	s := paramScanner{rest: raw}
	text := strings.ToLower(s.until(";"))
	var list []parameter
	for s.rest != "" {
		s.rest = strings.TrimLeft(s.rest, "; \t\r\n")
		if s.rest == "" {
			break
		}
		name := s.until("=;")
		if !strings.HasPrefix(s.rest, "=") {
			if name != "" {
				s.found.add(DefectParameter)
			}
			continue
		}
		s.rest = s.rest[1:]
		list = append(list, parameter{strings.ToLower(name), s.paramValue()})
	}
	v := value{text: text, found: s.found}
	v.params = v.resolve(list, hint)
	return v
}

// valueOf gives the same for what BODYSTRUCTURE has taken apart already. It may
// keep params.
func valueOf(text string, params map[string]string) value {
	v := value{text: strings.ToLower(strings.TrimSpace(text)), params: params}
	if areClean(params) {
		return v
	}
	list := make([]parameter, 0, len(params))
	for name, p := range params {
		list = append(list, parameter{strings.ToLower(name), p})
	}
	// The order of a map is no order; ties must not depend on it.
	slices.SortFunc(list, func(a, b parameter) int { return strings.Compare(a.name, b.name) })
	v.params = v.resolve(list, "")
	return v
}

// areClean: nothing in them is left to decode, as in nearly all mail.
func areClean(params map[string]string) bool {
	for name, p := range params {
		if name == "" || !isPlainASCII(name) || strings.ContainsAny(name, "* ") || name != strings.ToLower(name) {
			return false
		}
		if !isPlainASCII(p) || name != "boundary" && strings.Contains(p, "=?") {
			return false
		}
	}
	return true
}

// paramScanner reads tokens, quoted strings and comments leniently.
type paramScanner struct {
	rest  string
	found defects
	// open says that a comment never closed. Brackets are text from there on,
	// or else each of many would be searched for its end.
	open bool
}

// until reads up to one of the delimiters, which stays; comments are dropped.
func (s *paramScanner) until(delimiters string) string {
	var b strings.Builder
	i := 0
	for i < len(s.rest) && !strings.ContainsRune(delimiters, rune(s.rest[i])) {
		if s.rest[i] == '(' && !s.open {
			if n := commentLength(s.rest[i:]); n > 0 {
				i += n
				continue
			}
			s.open = true
		}
		b.WriteByte(s.rest[i])
		i++
	}
	s.rest = s.rest[i:]
	return strings.Trim(b.String(), " \t\r\n\"")
}

// commentLength is the length of the comment at the beginning of s, or 0 if
// it does not end.
func commentLength(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return 0
}

// paramValue reads a quoted string, or all up to the next semicolon: names
// of files with blanks and without quotes are common.
func (s *paramScanner) paramValue() string {
	s.rest = strings.TrimLeft(s.rest, " \t\r\n")
	if strings.HasPrefix(s.rest, `"`) {
		text, rest, closed := quotedString(s.rest)
		if closed {
			// What stands between the quote and the semicolon is noise.
			end := strings.IndexByte(rest, ';')
			if end < 0 {
				end = len(rest)
			}
			if noise := strings.Trim(rest[:end], " \t\r\n"); noise != "" && noise[0] != '(' {
				s.found.add(DefectParameter)
			}
			s.rest = rest[end:]
			return text
		}
		s.found.add(DefectParameter)
		s.rest = s.rest[1:]
	}
	end := strings.IndexByte(s.rest, ';')
	if end < 0 {
		end = len(s.rest)
	}
	text := strings.Trim(s.rest[:end], " \t\r\n")
	s.rest = s.rest[end:]
	if i := strings.IndexByte(text, '('); i > 0 && text[i-1] == ' ' && strings.HasSuffix(text, ")") && !strings.ContainsAny(text[:i-1], " .") {
		text = strings.TrimRight(text[:i], " ") // charset=us-ascii (Plain text)
	}
	if strings.ContainsAny(text, " \t\"") && !strings.Contains(text, "=?") {
		s.found.add(DefectParameter)
	}
	return text
}

// quotedString reads a quoted string (RFC 5322 section 3.2.4) at the beginning
// of s. A backslash before anything but a quote or a backslash stays: it is
// more often the path of a Windows file than a quoted pair.
func quotedString(s string) (text, rest string, closed bool) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return b.String(), s[i+1:], true
		case c == '\\' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\'):
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", s, false
}

// piece is one section of a parameter value (RFC 2231 section 3).
type piece struct {
	number  int
	encoded bool
	text    string
}

// resolve joins continuations (RFC 2231 section 3), decodes extended values
// (section 4), encoded words, which RFC 2047 section 5 forbids here and most
// mailers send, and raw 8-bit text. Of two parameters of one name the first
// counts, but an extended value beats a plain one (RFC 6266 section 4.3).
func (v *value) resolve(list []parameter, hint string) map[string]string {
	if len(list) == 0 {
		return nil
	}
	params := make(map[string]string, len(list))
	var extended map[string][]piece
	for _, p := range list {
		name, section, isExtended := strings.Cut(p.name, "*")
		name = cleanText(strings.Trim(name, " \t\r\n"))
		if name == "" {
			v.found.add(DefectParameter)
			continue
		}
		if !isExtended {
			if _, ok := params[name]; !ok {
				params[name] = v.plain(name, p.text, hint)
			}
			continue
		}
		number, encoded := strings.CutSuffix(section, "*")
		n := 0
		if number == "" {
			encoded = true // "filename*": no continuation.
		} else {
			var err error
			if n, err = strconv.Atoi(number); err != nil || n < 0 {
				v.found.add(DefectParameter)
				continue
			}
		}
		if extended == nil {
			extended = make(map[string][]piece)
		}
		extended[name] = append(extended[name], piece{n, encoded, p.text})
	}
	if extended == nil {
		return params
	}
	// In their order, so that the defects are found in the same one each time.
	for _, name := range slices.Sorted(maps.Keys(extended)) {
		params[name] = v.join(name, extended[name], hint)
	}
	return params
}

func (v *value) plain(name, text, hint string) string {
	if name == "boundary" && isPlainASCII(text) {
		return text // It is compared, not read; "=?" in it is no word.
	}
	text, found := decodeUnstructured(text, hint)
	for _, f := range found {
		if f != DefectEncodedWord {
			v.found.add(f)
		}
	}
	return text
}

// join puts the sections in their order. A section that is missing ends the
// value, as nobody can know what belonged there.
func (v *value) join(name string, pieces []piece, hint string) string {
	slices.SortStableFunc(pieces, func(a, b piece) int { return a.number - b.number })
	var raw []byte
	label, next := "", 0
	for _, p := range pieces {
		if p.number < next {
			continue // The same section again.
		}
		if p.number > next {
			v.found.add(DefectParameter)
			if next > 0 {
				break
			}
		}
		text := p.text
		if p.encoded && len(raw) == 0 && label == "" {
			if l, after, ok := strings.Cut(text, "'"); ok {
				if _, content, ok := strings.Cut(after, "'"); ok {
					label, text = l, content
				}
			}
		}
		if p.encoded {
			raw = append(raw, percentDecode(text)...)
		} else {
			raw = append(raw, text...)
		}
		next = p.number + 1
	}
	if label == "" {
		return v.plain(name, string(raw), hint)
	}
	text, o := charset.Decode(raw, label, hint)
	v.found.addCharset(o)
	return cleanText(text)
}

func percentDecode(s string) []byte {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) && hexValue(s[i+1]) >= 0 && hexValue(s[i+2]) >= 0 {
			out = append(out, byte(hexValue(s[i+1])<<4|hexValue(s[i+2])))
			i += 2
			continue
		}
		out = append(out, s[i])
	}
	return out
}
