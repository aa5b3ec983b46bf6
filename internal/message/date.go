package message

import (
	"strconv"
	"strings"
	"time"
)

// ParseDate reads a Date field. ok says that it has the form of RFC 5322
// section 3.3 or 4.3; other orders are read too, and what cannot be read is
// the zero time.
func ParseDate(raw string) (t time.Time, ok bool) {
	raw = strings.TrimSpace(raw)
	if raw == "" {
		return time.Time{}, false
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05Z0700", "2006-01-02 15:04:05 -0700", "2006-01-02 15:04:05"} {
		if t, err := time.Parse(layout, raw); err == nil {
			return t, false
		}
	}
	d := dateParser{ok: true, day: -1, month: -1, year: -1, hour: -1}
	for _, field := range strings.FieldsFunc(dropComments(raw), func(r rune) bool { return r == ' ' || r == '\t' || r == ',' }) {
		d.field(field)
	}
	return d.time()
}

func dropComments(s string) string {
	p := paramScanner{rest: s}
	return p.until("")
}

// dateParser takes the words of a date in any order, as each looks like only
// one thing.
type dateParser struct {
	day, month, year, hour, minute, second int
	zone                                   *time.Location
	afternoon                              int
	ok                                     bool
}

func (d *dateParser) field(s string) {
	switch {
	case d.hour >= 0 && (s[0] == '+' || s[0] == '-'):
		d.offset(s)
	case strings.Contains(s, ":"):
		d.clock(s)
	case s[0] >= '0' && s[0] <= '9':
		d.number(s)
	default:
		d.letters(s)
	}
}

func (d *dateParser) clock(s string) {
	// The zone may be glued to the time: 10:00:00+0200.
	if i := strings.IndexAny(s, "+-"); i > 0 {
		d.clock(s[:i])
		d.offset(s[i:])
		d.ok = false
		return
	}
	s, _, _ = strings.Cut(s, ".")
	parts := strings.Split(s, ":")
	if d.hour >= 0 || len(parts) > 3 {
		d.ok = false
		return
	}
	var n [3]int
	for i, p := range parts {
		v, err := strconv.Atoi(p)
		if err != nil || v < 0 || v > 60 {
			d.ok = false
			return
		}
		n[i] = v
	}
	d.hour, d.minute, d.second = n[0], n[1], n[2]
}

// offset reads "+0200", and "+02:00", "GMT+2" as some write it.
func (d *dateParser) offset(s string) {
	digits := strings.ReplaceAll(s[1:], ":", "")
	v, err := strconv.Atoi(digits)
	d.ok = d.ok && err == nil && len(s) == len("+0100")
	switch {
	case err != nil || len(digits) > 4:
		return
	case len(digits) <= 2:
		v *= 100
	}
	seconds := (v/100*60 + v%100) * 60
	if v/100 > 24 || v%100 > 59 {
		d.ok = false
		return
	}
	if s[0] == '-' {
		seconds = -seconds
	}
	d.zone = time.FixedZone("", seconds)
}

func (d *dateParser) number(s string) {
	if parts := strings.FieldsFunc(s, func(r rune) bool { return r == '-' || r == '/' || r == '.' }); len(parts) == 3 {
		d.ok = false // 23-Nov-2026, 2026/11/23, 23.11.2026
		d.triple(parts)
		return
	}
	v, err := strconv.Atoi(s)
	switch {
	case err != nil:
		d.ok = false
	case d.day < 0 && len(s) <= 2:
		d.day = v
	case d.year < 0:
		d.setYear(v, len(s))
	default:
		d.ok = false
	}
}

func (d *dateParser) triple(parts []string) {
	if len(parts[0]) == 4 {
		parts[0], parts[2] = parts[2], parts[0]
	}
	d.day, _ = strconv.Atoi(parts[0])
	if m, err := strconv.Atoi(parts[1]); err == nil {
		d.month = m
	} else {
		d.month = monthOf(parts[1])
	}
	if y, err := strconv.Atoi(parts[2]); err == nil {
		d.setYear(y, len(parts[2]))
	}
}

// setYear: RFC 5322 section 4.3 for years of two and three digits.
func (d *dateParser) setYear(v, digits int) {
	switch {
	case digits <= 2 && v < 50:
		v += 2000
	case digits <= 3:
		v += 1900
	}
	d.year = v
}

var monthNames = [...]string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}

func monthOf(s string) int {
	if len(s) >= 3 {
		for i, m := range monthNames {
			if strings.EqualFold(s[:3], m) {
				return i + 1
			}
		}
	}
	return -1
}

// zones of RFC 5322 section 4.3, in hours; the military letters there are to
// be read as -0000, that is, as nothing known.
var zones = map[string]int{"EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7,
	"CET": 1, "CEST": 2, "MET": 1, "MEST": 2, "BST": 1, "EET": 2, "EEST": 3, "MSK": 3, "JST": 9, "KST": 9}

func (d *dateParser) letters(s string) {
	upper := strings.ToUpper(strings.Trim(s, "."))
	switch {
	case d.month < 0 && d.hour < 0 && monthOf(s) > 0:
		d.month = monthOf(s)
	case d.hour < 0:
		// The name of a day, in whatever language.
	case upper == "AM" || upper == "PM":
		d.ok = false
		if upper == "PM" && d.hour < 12 {
			d.afternoon = 12
		} else if upper == "AM" && d.hour == 12 {
			d.hour = 0
		}
	case upper == "GMT" || upper == "UT" || upper == "UTC" || upper == "Z":
		d.zone = time.UTC
	case len(upper) > 3 && (strings.HasPrefix(upper, "GMT") || strings.HasPrefix(upper, "UTC")) && (upper[3] == '+' || upper[3] == '-'):
		d.ok = false
		d.offset(upper[3:])
	default:
		if hours, known := zones[upper]; known && d.zone == nil {
			d.zone = time.FixedZone(upper, hours*3600)
		} else if d.zone == nil && d.month > 0 && len(upper) > 1 {
			d.ok = false
		} else if d.month < 0 && monthOf(s) > 0 {
			d.month = monthOf(s)
		}
	}
}

func (d *dateParser) time() (time.Time, bool) {
	if d.year < 1900 || d.year > 9999 || d.month < 1 || d.month > 12 || d.day < 1 || d.day > 31 {
		return time.Time{}, false
	}
	if d.hour < 0 {
		d.hour, d.ok = 0, false
	}
	if d.zone == nil {
		d.zone, d.ok = time.UTC, false
	}
	if d.hour > 23 {
		return time.Time{}, false
	}
	t := time.Date(d.year, time.Month(d.month), d.day, d.hour+d.afternoon, d.minute, d.second, 0, d.zone)
	return t, d.ok
}
