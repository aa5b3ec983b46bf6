package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
)

// minForm is the shortest form that is searched for: shorter ones are found by
// chance.
const minForm = 8

// search fails for each secret that is in something that was written.
func (b *birds) search() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	size := 0
	for _, w := range b.written {
		size += len(w.content)
	}
	b.t.Logf("%d secrets, %d writings, %d bytes", len(b.secrets), len(b.written), size)
	told := map[string]bool{}
	for what, value := range b.secrets {
		for form, text := range secretForms(value) {
			for _, w := range b.written {
				at := bytes.Index(w.content, text)
				if at < 0 || told[w.where+what] {
					continue
				}
				told[w.where+what] = true
				b.t.Errorf("%s: %s is there, %s: …%q…", w.where, what, form, w.content[max(0, at-80):min(len(w.content), at+len(text)+40)])
			}
		}
	}
}

// secretForms are the ways in which a secret may be written.
func secretForms(value string) map[string][]byte {
	forms := map[string]string{
		"as it is":           value,
		"backwards":          backwards(value),
		"in lower case":      strings.ToLower(value),
		"in upper case":      strings.ToUpper(value),
		"in hex":             hex.EncodeToString([]byte(value)),
		"in hex, capitals":   strings.ToUpper(hex.EncodeToString([]byte(value))),
		"as numbers":         strings.Trim(fmt.Sprint([]byte(value)), "[]"),
		"in a list":          strings.ReplaceAll(strings.Trim(fmt.Sprint([]byte(value)), "[]"), " ", ","),
		"in a query":         url.QueryEscape(value),
		"in a path":          url.PathEscape(value),
		"all escaped":        escaped(value, "%%%02X"),
		"escaped for JSON":   escaped(value, `\u%04x`),
		"escaped for C":      escaped(value, `\x%02x`),
		"quoted":             strings.Trim(fmt.Sprintf("%q", value), `"`),
		"quoted in a quote":  strings.Trim(fmt.Sprintf("%q", fmt.Sprintf("%q", value)), `\"`),
		"in UTF-16, little":  wide(value, false),
		"in UTF-16, big end": wide(value, true),
	}
	// Within a longer text base64 can begin at any of three places; the ends that
	// depend on what is around are left out.
	for shift := range 3 {
		for name, encoding := range map[string]*base64.Encoding{"base64": base64.StdEncoding, "base64 for URLs": base64.URLEncoding} {
			for layer, inner := range map[string]string{"": value, " of UTF-16": wide(value, false), " of base64": base64.StdEncoding.EncodeToString([]byte(value))} {
				text := encoding.EncodeToString([]byte(strings.Repeat("x", shift) + inner))
				forms[fmt.Sprintf("in %s%s, shifted by %d", name, layer, shift)] = text[4 : len(text)-4]
			}
		}
	}
	found := make(map[string][]byte, len(forms))
	for name, text := range forms {
		if len(text) >= minForm {
			found[name] = []byte(text)
		}
	}
	return found
}

func backwards(value string) string {
	bytes := []byte(value)
	slices.Reverse(bytes)
	return string(bytes)
}

func escaped(value, format string) string {
	var b strings.Builder
	for _, c := range []byte(value) {
		fmt.Fprintf(&b, format, c)
	}
	return b.String()
}

func wide(value string, big bool) string {
	var out []byte
	for _, unit := range utf16.Encode([]rune(value)) {
		if big {
			out = append(out, byte(unit>>8), byte(unit))
		} else {
			out = append(out, byte(unit), byte(unit>>8))
		}
	}
	return string(out)
}

// The search finds what it is there to find.
func TestSecretForms(t *testing.T) {
	t.Parallel()
	const value = "cnry-TK7QX4M2ZB5PDW6HFRA3"
	for name, text := range map[string]string{
		"in base64":         base64.StdEncoding.EncodeToString([]byte("user:" + value + " and more")),
		"in base64 for URL": base64.RawURLEncoding.EncodeToString([]byte("user" + value)),
		"in JSON":           `{"password":"` + value + `"}`,
		"in hex":            hex.EncodeToString([]byte(value)),
		"as bytes":          fmt.Sprint([]byte("x" + value + "y")),
		"in UTF-16":         wide("x"+value, true),
		"twice in base64":   base64.StdEncoding.EncodeToString([]byte("a" + base64.StdEncoding.EncodeToString([]byte(value)))),
	} {
		found := false
		for _, form := range secretForms(value) {
			found = found || strings.Contains(text, string(form))
		}
		if !found {
			t.Errorf("%s: not found in %q", name, text)
		}
	}
}
