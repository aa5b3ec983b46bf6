package message

import "strings"

// parseMessageIDs reads the identifiers of Message-ID, In-Reply-To and
// References, without their angle brackets. Text outside brackets is a phrase
// (RFC 5322 section 4.5.4) and dropped, unless there is nothing else.
func parseMessageIDs(raw string) ([]string, []Defect) {
	var ids []string
	var found defects
	for rest := raw; ; {
		start := strings.IndexByte(rest, '<')
		if start < 0 {
			break
		}
		rest = rest[start+1:]
		end := strings.IndexAny(rest, "<>")
		if end < 0 {
			end = len(rest)
		}
		if end == len(rest) || rest[end] == '<' {
			found.add(DefectMessageID)
		}
		if id := cleanMessageID(rest[:end], &found); id != "" {
			ids = append(ids, id)
		}
		rest = rest[end:]
	}
	if len(ids) > 0 || strings.Trim(raw, " \t") == "" {
		return ids, found
	}
	found.add(DefectMessageID)
	for _, w := range strings.Fields(raw) {
		if id := cleanMessageID(w, &found); strings.Contains(id, "@") {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		if id := cleanMessageID(raw, &found); id != "" {
			ids = append(ids, id)
		}
	}
	return ids, found
}

// cleanMessageID removes the blanks that folding in the middle of an
// identifier leaves.
func cleanMessageID(s string, found *defects) string {
	clean := strings.Join(strings.Fields(s), "")
	if clean != s {
		found.add(DefectMessageID)
	}
	text, raw := decodeRaw(clean, "")
	if raw {
		found.add(DefectHeaderRaw8Bit)
	}
	return cleanText(strings.Trim(text, "<>"))
}
