package message

import (
	"io"
	"strings"
	"time"
)

// Calendar is what a calendar part says about its first event (RFC 5545).
type Calendar struct {
	// Method is REQUEST, CANCEL, REPLY, … (RFC 5546), or "".
	Method    string
	UID       string
	Summary   string
	Location  string
	Status    string
	Start     CalendarTime
	End       CalendarTime
	Organizer Address
}

// CalendarTime is a date with or without a time of day.
type CalendarTime struct {
	// Local is the time on the clock of the zone, "2026-11-24T14:00:00", or a
	// date, "2026-11-24".
	Local string
	// Zone is its TZID as written, "UTC", or "" for whatever zone the reader
	// is in.
	Zone string
	// Time is the instant; the zero time if the zone is not known here.
	Time time.Time
}

// ReadCalendar reads the body of p, a calendar part, from r. ok says that there
// is an event in it. The error is r's.
func ReadCalendar(r io.Reader, p *Part) (c Calendar, ok bool, err error) {
	text, err := DecodeText(DecodePart(r, p.Encoding), calendarCharset(p), maxReport)
	if err != nil {
		return Calendar{}, false, err
	}
	c.Method = strings.ToUpper(p.Params["method"])
	depth, inEvent := 0, false
	for line := range contentLines(text.Content) {
		name, params, val := splitContentLine(line)
		switch {
		case name == "BEGIN":
			depth++
			inEvent = inEvent || strings.EqualFold(val, "VEVENT")
		case name == "END":
			depth--
			if strings.EqualFold(val, "VEVENT") {
				return c, true, nil
			}
		case name == "METHOD" && depth <= 1:
			c.Method = strings.ToUpper(val)
		case inEvent && depth <= 2: // Not an alarm's.
			c.property(name, params, val)
		}
	}
	return c, inEvent, nil
}

// calendarCharset: RFC 5545 section 3.1.4 makes UTF-8 the default.
func calendarCharset(p *Part) string {
	if c := p.Charset(); c != "" {
		return c
	}
	return "utf-8"
}

func (c *Calendar) property(name string, params map[string]string, val string) {
	switch name {
	case "UID":
		c.UID = unescapeText(val)
	case "SUMMARY":
		c.Summary = unescapeText(val)
	case "LOCATION":
		c.Location = unescapeText(val)
	case "STATUS":
		c.Status = strings.ToUpper(val)
	case "DTSTART":
		c.Start = calendarTime(params["TZID"], val)
	case "DTEND":
		c.End = calendarTime(params["TZID"], val)
	case "ORGANIZER":
		address := val
		if len(val) > 7 && strings.EqualFold(val[:7], "mailto:") {
			address = val[7:]
		}
		c.Organizer = Address{Name: cleanText(params["CN"]), Address: cleanText(address)}
	}
}

// calendarTime reads DATE and DATE-TIME (RFC 5545 sections 3.3.4 and 3.3.5).
func calendarTime(zone, val string) CalendarTime {
	if t, err := time.Parse("20060102", val); err == nil {
		return CalendarTime{Local: t.Format(time.DateOnly)}
	}
	const layout = "2006-01-02T15:04:05"
	if t, err := time.Parse("20060102T150405Z", val); err == nil {
		return CalendarTime{Local: t.Format(layout), Zone: "UTC", Time: t}
	}
	t, err := time.Parse("20060102T150405", val)
	if err != nil {
		return CalendarTime{}
	}
	ct := CalendarTime{Local: t.Format(layout), Zone: cleanText(zone)}
	if zone == "" || zone == "Local" {
		return ct
	}
	if loc, err := time.LoadLocation(zone); err == nil {
		ct.Time, _ = time.ParseInLocation(layout, ct.Local, loc)
	}
	return ct
}

// contentLines yields the unfolded lines (RFC 5545 section 3.1).
func contentLines(s string) func(yield func(string) bool) {
	s = strings.NewReplacer("\n ", "", "\n\t", "").Replace(normaliseLines(s))
	return func(yield func(string) bool) {
		for line := range strings.SplitSeq(s, "\n") {
			if line != "" && !yield(line) {
				return
			}
		}
	}
}

// splitContentLine takes apart NAME;PARAM=value;PARAM="value":value.
func splitContentLine(line string) (name string, params map[string]string, val string) {
	quoted, start := false, 0
	var fields []string
	for i := range len(line) {
		switch c := line[i]; {
		case c == '"':
			quoted = !quoted
		case c == ';' && !quoted:
			fields = append(fields, line[start:i])
			start = i + 1
		case c == ':' && !quoted:
			fields = append(fields, line[start:i])
			params = make(map[string]string, len(fields)-1)
			for _, f := range fields[1:] {
				key, v, _ := strings.Cut(f, "=")
				params[strings.ToUpper(key)] = strings.Trim(v, `"`)
			}
			return strings.ToUpper(fields[0]), params, strings.TrimSpace(line[i+1:])
		}
	}
	return "", nil, ""
}

// unescapeText: RFC 5545 section 3.3.11.
func unescapeText(s string) string {
	return cleanText(strings.NewReplacer(`\\`, `\`, `\;`, ";", `\,`, ",", `\n`, " ", `\N`, " ").Replace(s))
}
