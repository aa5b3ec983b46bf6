package message

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/postern-mail/postern/internal/message/charset"
)

// snippetLength is about two lines of a list of messages, in runes.
const snippetLength = 180

// Snippet gives the beginning of what text says: no quoted history, no
// signature, no runs of blanks, one line of at most 180 characters.
func Snippet(text string) string {
	var b strings.Builder
	n, blank := 0, false
	for _, line := range readableLines(text) {
		for _, r := range line {
			switch {
			case unicode.IsSpace(r):
				blank = n > 0
				continue
			case invisible(r), joiner(r) && (blank || n == 0):
				continue
			}
			if blank {
				b.WriteByte(' ')
				n++
				blank = false
			}
			if n >= snippetLength {
				return cutWord(b.String()) + "…"
			}
			b.WriteRune(r)
			n++
		}
		blank = n > 0
	}
	return b.String()
}

// PreviewIsGood tells whether the preview (RFC 8970) that a server made of a body
// can be believed. Dovecot 2.3 puts U+FFFD where it does not know the charset, or
// where the sender lied about it, and takes escapes of seven bits for text.
func PreviewIsGood(preview string, body *Part) bool {
	if body == nil || body.Size == 0 {
		return true
	}
	if strings.TrimSpace(preview) == "" || strings.ContainsAny(preview, "\uFFFD\x1B") {
		return false
	}
	switch charset.Canonical(body.Charset()) {
	case "utf-7", "hz-gb-2312", "iso-2022-kr":
		return false
	}
	return true
}

// invisible characters pad the preview texts of newsletters.
func invisible(r rune) bool {
	switch r {
	case '\u00AD', '\u034F', '\u061C', '\u115F', '\u1160', '\u17B4', '\u17B5', '\u180E', '\uFEFF', '\uFFFD', '\u3164', '\uFFA0':
		return true
	}
	return unicode.IsControl(r) || r >= '\u200B' && r <= '\u200F' && !joiner(r) || r >= '\u202A' && r <= '\u202E' || r >= '\u2060' && r <= '\u206F'
}

// joiner characters are part of emoji, and of Persian and Indic words; alone
// they are padding too.
func joiner(r rune) bool { return r == '\u200C' || r == '\u200D' }

// cutWord drops a word that the limit has split, if there are others.
func cutWord(s string) string {
	if i := strings.LastIndexByte(s, ' '); i > len(s)*3/4 {
		return s[:i]
	}
	return strings.TrimSpace(s)
}

// maxSnippetLines bounds the search for something to read.
const maxSnippetLines = 200

// readableLines are the lines of the sender's own. If all is quoted, they are
// the quoted ones: a forward without a word says something too.
func readableLines(text string) []string {
	var own, quoted []string
	for line := range strings.SplitSeq(text, "\n") {
		if len(own)+len(quoted) >= maxSnippetLines {
			break
		}
		trimmed := strings.TrimSpace(line)
		switch {
		case trimmed == "":
		case strings.HasPrefix(trimmed, ">"):
			quoted = append(quoted, strings.TrimLeft(trimmed, "> "))
		case line == "-- ", line == "-- \r", historyBegins(trimmed), len(trimmed) < maxAttribution && attribution.MatchString(trimmed):
			if len(own) > 0 {
				return own
			}
		case ruler(trimmed):
		default:
			own = append(own, line)
		}
	}
	if len(own) == 0 {
		return quoted
	}
	return own
}

// maxAttribution bounds the lines that are matched.
const maxAttribution = 400

// attribution is the line that mailers put before the quoted text, in the
// languages where they say so with a colon at the end.
var attribution = regexp.MustCompile(`(?i)^(On|Am|Le|El|Il|Em|Op|Den|W dniu|Dne|Vào|В|Пн|Вт|Ср|Чт|Пт|Сб|Вс)` +
	`.{6,250}` +
	`(wrote|schrieb.*|a écrit|escribió|ha scritto|escreveu|schreef.*|skrev.*|napisał.*|napsal.*|пишет|написал.*)\s?:$`)

// historyBegins are the lines that Outlook and others put before the message
// that was answered.
func historyBegins(line string) bool {
	if strings.HasPrefix(line, "-----") && strings.HasSuffix(line, "-----") && len(line) > 15 {
		return true
	}
	return len(line) >= 30 && strings.Trim(line, "_") == ""
}

// ruler is a line without letters or digits.
func ruler(line string) bool {
	return !strings.ContainsFunc(line, func(r rune) bool {
		return unicode.IsLetter(r) || unicode.IsNumber(r) || r >= utf8.RuneSelf && unicode.IsSymbol(r)
	})
}
