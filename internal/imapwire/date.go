package imapwire

import (
	"net/mail"
	"strings"
	"time"
)

// usualDate reads "3 Nov 2026 09:08:07 +0100", where sep stands between day,
// month and year. Nearly all dates are of this form, and package time takes many
// times as long. What is not of this form is not ok, and may be a date all the
// same.
func usualDate(s string, sep byte) (t time.Time, ok bool) {
	i := strings.IndexByte(s, sep)
	if i != 1 && i != 2 {
		return t, false
	}
	date, rest := s[:i], s[i+1:]
	if len(rest) != len("Nov 2026 09:08:07 +0100") || rest[3] != sep || rest[8] != ' ' ||
		rest[11] != ':' || rest[14] != ':' || rest[17] != ' ' || rest[18] != '+' && rest[18] != '-' {
		return t, false
	}
	month := strings.Index("JanFebMarAprMayJunJulAugSepOctNovDec", rest[:3])
	day, year := allDigits(date), allDigits(rest[4:8])
	hour, minute, second := allDigits(rest[9:11]), allDigits(rest[12:14]), allDigits(rest[15:17])
	zoneHour, zoneMinute := allDigits(rest[19:21]), allDigits(rest[21:23])
	if min(month, day, year, hour, minute, second, zoneHour, zoneMinute) < 0 || month%3 != 0 ||
		hour > 23 || minute > 59 || second > 59 || zoneHour > 23 || zoneMinute > 59 {
		return t, false
	}
	zone := time.UTC
	if offset := (zoneHour*60 + zoneMinute) * 60; offset != 0 {
		if rest[18] == '-' {
			offset = -offset
		}
		zone = time.FixedZone("", offset)
	}
	t = time.Date(year, time.Month(month/3+1), day, hour, minute, second, 0, zone)
	return t, t.Day() == day // there is no 31st of November
}

// allDigits reads a number that is nothing but digits; else it is negative.
func allDigits(s string) int {
	n := 0
	for i := range len(s) {
		if !isDigit(s[i]) {
			return -1
		}
		n = n*10 + int(s[i]-'0')
	}
	return n
}

// parseDate reads a Date header; a broken one is the zero time.
func parseDate(s string) time.Time {
	if s == "" {
		return time.Time{}
	}
	usual := s
	if len(s) > len("Mon, ") && s[3] == ',' && s[4] == ' ' {
		usual = s[len("Mon, "):]
	}
	if strings.HasSuffix(usual, ")") { // the zone's name as a comment
		usual, _, _ = strings.Cut(usual, " (")
	}
	if t, ok := usualDate(usual, ' '); ok {
		return t
	}
	if t, err := mail.ParseDate(s); err == nil {
		return t
	}
	s = strings.Join(strings.Fields(s), " ")
	for _, layout := range [...]string{
		"Mon, 2 Jan 2006 15:04:05",       // without a zone
		"2 Jan 2006 15:04:05",            // nor a weekday
		"Mon, 2 Jan 2006 15:04:05 -0700", // with spaces that ParseDate minds
		"Mon Jan 2 15:04:05 2006",        // asctime
		"Mon Jan 2 15:04:05 MST 2006",    // date(1)
		time.RFC3339,
	} {
		if t, err := time.Parse(layout, s); err == nil {
			return t
		}
	}
	return time.Time{}
}

// dateTime reads a date-time (RFC 9051 section 9); NIL is the zero time.
func (d *Decoder) dateTime() (time.Time, error) {
	s, ok, err := d.NString()
	if err != nil || !ok {
		return time.Time{}, err
	}
	s = strings.TrimSpace(s)
	if t, ok := usualDate(s, '-'); ok {
		return t, nil
	}
	t, err := time.Parse("2-Jan-2006 15:04:05 -0700", s)
	if err != nil {
		return time.Time{}, &SyntaxError{Response: d.name, Want: "a date-time", Got: "another string"}
	}
	return t, nil
}
