package message

import (
	"io"
	"strconv"
	"strings"
	"time"
)

// maxAttendees bounds the list of an event.
const maxAttendees = 500

// Calendar is what a calendar part says about its first event (RFC 5545).
type Calendar struct {
	// Method is REQUEST, CANCEL, REPLY, … (RFC 5546), or "".
	Method      string
	UID         string
	Sequence    int32
	Summary     string
	Description string
	Location    string
	Status      string
	Start       CalendarTime
	// End is given, or computed of the duration.
	End CalendarTime
	// Rule is how the event repeats, as written; RecurrenceID is the occurrence
	// that is meant, or zero.
	Rule         string
	RecurrenceID CalendarTime
	Organizer    Address
	Attendees    []Attendee
}

// Attendee is somebody who is invited.
type Attendee struct {
	Address
	// Status and Role are PARTSTAT and ROLE in upper case (RFC 5545 section
	// 3.2), or "".
	Status, Role string
}

// ReadCalendar reads the body of p, a calendar part, from r. ok says that there
// is an event in it. The error is r's.
func ReadCalendar(r io.Reader, p *Part) (c Calendar, ok bool, err error) {
	text, err := DecodeText(DecodePart(r, p.Encoding), calendarCharset(p), MaxReport)
	if err != nil {
		return Calendar{}, false, err
	}
	reader := calendarReader{Calendar: Calendar{Method: strings.ToUpper(cleanText(p.Params["method"]))}}
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
				return reader.finish(), true, nil
			}
		case name == "METHOD" && depth <= 1:
			reader.Method = strings.ToUpper(cleanText(val))
		case inEvent && depth <= 2: // Not an alarm's.
			reader.property(name, params, val)
		}
	}
	return reader.finish(), inEvent, nil
}

// calendarCharset: RFC 5545 section 3.1.4 makes UTF-8 the default.
func calendarCharset(p *Part) string {
	if c := p.Charset(); c != "" {
		return c
	}
	return "utf-8"
}

// calendarReader gathers the properties of an event.
type calendarReader struct {
	Calendar

	duration time.Duration
}

func (c *calendarReader) property(name string, params map[string]string, val string) {
	switch name {
	case "UID":
		c.UID = unescapeText(val)
	case "SEQUENCE":
		if n, err := strconv.ParseInt(val, 10, 32); err == nil {
			c.Sequence = int32(n)
		}
	case "SUMMARY":
		c.Summary = unescapeText(val)
	case "DESCRIPTION":
		c.Description = unescapeLines(val)
	case "LOCATION":
		c.Location = unescapeText(val)
	case "STATUS":
		c.Status = strings.ToUpper(cleanText(val))
	case "DTSTART":
		c.Start = calendarTime(params["TZID"], val)
	case "DTEND":
		c.End = calendarTime(params["TZID"], val)
	case "DURATION":
		c.duration = calendarDuration(val)
	case "RRULE":
		c.Rule = cleanText(val)
	case "RECURRENCE-ID":
		c.RecurrenceID = calendarTime(params["TZID"], val)
	case "ORGANIZER":
		c.Organizer = calendarAddress(params, val)
	case "ATTENDEE":
		if len(c.Attendees) < maxAttendees {
			c.Attendees = append(c.Attendees, Attendee{
				Address: calendarAddress(params, val),
				Status:  strings.ToUpper(cleanText(params["PARTSTAT"])),
				Role:    strings.ToUpper(cleanText(params["ROLE"])),
			})
		}
	}
}

// finish computes the end of an event that has a duration.
func (c *calendarReader) finish() Calendar {
	if c.End.Local == "" && c.duration > 0 {
		c.End = c.Start.add(c.duration)
	}
	return c.Calendar
}

// calendarAddress reads a calendar user address (RFC 5545 section 3.3.3).
func calendarAddress(params map[string]string, val string) Address {
	if len(val) > 7 && strings.EqualFold(val[:7], "mailto:") {
		val = val[7:]
	}
	return Address{Name: cleanText(params["CN"]), Address: cleanText(val)}
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

// textEscapes are those of RFC 5545 section 3.3.11.
var textEscapes = strings.NewReplacer(`\\`, `\`, `\;`, ";", `\,`, ",", `\n`, "\n", `\N`, "\n")

func unescapeText(s string) string { return cleanText(textEscapes.Replace(s)) }

// unescapeLines keeps the lines of a text apart.
func unescapeLines(s string) string {
	lines := strings.Split(textEscapes.Replace(s), "\n")
	for i := range lines {
		lines[i] = cleanText(lines[i])
	}
	return strings.Join(lines, "\n")
}
