package message

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

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

// localTime is the form of CalendarTime.Local.
const localTime = "2006-01-02T15:04:05"

// calendarTime reads DATE and DATE-TIME (RFC 5545 sections 3.3.4 and 3.3.5).
func calendarTime(zone, val string) CalendarTime {
	if t, err := time.Parse("20060102", val); err == nil {
		return CalendarTime{Local: t.Format(time.DateOnly)}
	}
	if t, err := time.Parse("20060102T150405Z", val); err == nil {
		return CalendarTime{Local: t.Format(localTime), Zone: "UTC", Time: t}
	}
	t, err := time.Parse("20060102T150405", val)
	if err != nil {
		return CalendarTime{}
	}
	return CalendarTime{Local: t.Format(localTime), Zone: cleanText(zone)}.locate()
}

// locate finds the instant of a local time.
func (t CalendarTime) locate() CalendarTime {
	if zone := location(t.Zone); zone != nil {
		t.Time, _ = time.ParseInLocation(localTime, t.Local, zone)
	}
	return t
}

// add gives a later time. RFC 5545 section 3.8.2.5: a day in a duration is a
// day of the calendar.
func (t CalendarTime) add(d time.Duration) CalendarTime {
	if day, err := time.Parse(time.DateOnly, t.Local); err == nil {
		return CalendarTime{Local: day.Add(d).Format(time.DateOnly)}
	}
	local, err := time.Parse(localTime, t.Local)
	if err != nil {
		return CalendarTime{}
	}
	return CalendarTime{Local: local.Add(d).Format(localTime), Zone: t.Zone}.locate()
}

// durations are those of RFC 5545 section 3.3.6.
var durations = regexp.MustCompile(`^\+?P(?:(\d{1,4})W)?(?:(\d{1,5})D)?(?:T(?:(\d{1,6})H)?(?:(\d{1,6})M)?(?:(\d{1,6})S)?)?$`)

// calendarDuration gives 0 for what is no duration, or goes back.
func calendarDuration(val string) time.Duration {
	const day = 24 * time.Hour
	match := durations.FindStringSubmatch(strings.ToUpper(val))
	if match == nil {
		return 0
	}
	var total time.Duration
	for i, unit := range []time.Duration{7 * day, day, time.Hour, time.Minute, time.Second} {
		if match[i+1] != "" {
			n, _ := strconv.Atoi(match[i+1]) // Digits, and few of them.
			total += time.Duration(n) * unit
		}
	}
	return total
}

// location gives the zone of that name, or nil if it is not known. Names come
// from strangers; time.LoadLocation takes none that lead out of its directory.
func location(name string) *time.Location {
	if name == "" || name == "Local" {
		return nil
	}
	if known, ok := windowsZones[name]; ok {
		name = known
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil
	}
	return zone
}

// windowsZones has the names by which Outlook and Exchange call zones, after
// the table windowsZones of Unicode's CLDR, for the territory 001.
var windowsZones = map[string]string{
	"AUS Central Standard Time":       "Australia/Darwin",
	"AUS Eastern Standard Time":       "Australia/Sydney",
	"Alaskan Standard Time":           "America/Anchorage",
	"Arab Standard Time":              "Asia/Riyadh",
	"Arabian Standard Time":           "Asia/Dubai",
	"Arabic Standard Time":            "Asia/Baghdad",
	"Argentina Standard Time":         "America/Argentina/Buenos_Aires",
	"Atlantic Standard Time":          "America/Halifax",
	"Azores Standard Time":            "Atlantic/Azores",
	"Bangladesh Standard Time":        "Asia/Dhaka",
	"Belarus Standard Time":           "Europe/Minsk",
	"Canada Central Standard Time":    "America/Regina",
	"Cen. Australia Standard Time":    "Australia/Adelaide",
	"Central America Standard Time":   "America/Guatemala",
	"Central Asia Standard Time":      "Asia/Bishkek",
	"Central Europe Standard Time":    "Europe/Budapest",
	"Central European Standard Time":  "Europe/Warsaw",
	"Central Pacific Standard Time":   "Pacific/Guadalcanal",
	"Central Standard Time":           "America/Chicago",
	"Central Standard Time (Mexico)":  "America/Mexico_City",
	"China Standard Time":             "Asia/Shanghai",
	"E. Africa Standard Time":         "Africa/Nairobi",
	"E. Australia Standard Time":      "Australia/Brisbane",
	"E. Europe Standard Time":         "Europe/Chisinau",
	"E. South America Standard Time":  "America/Sao_Paulo",
	"Eastern Standard Time":           "America/New_York",
	"Egypt Standard Time":             "Africa/Cairo",
	"FLE Standard Time":               "Europe/Kyiv",
	"GMT Standard Time":               "Europe/London",
	"GTB Standard Time":               "Europe/Bucharest",
	"Georgian Standard Time":          "Asia/Tbilisi",
	"Greenwich Standard Time":         "Atlantic/Reykjavik",
	"Hawaiian Standard Time":          "Pacific/Honolulu",
	"India Standard Time":             "Asia/Kolkata",
	"Iran Standard Time":              "Asia/Tehran",
	"Israel Standard Time":            "Asia/Jerusalem",
	"Jordan Standard Time":            "Asia/Amman",
	"Kaliningrad Standard Time":       "Europe/Kaliningrad",
	"Korea Standard Time":             "Asia/Seoul",
	"Middle East Standard Time":       "Asia/Beirut",
	"Morocco Standard Time":           "Africa/Casablanca",
	"Mountain Standard Time":          "America/Denver",
	"Myanmar Standard Time":           "Asia/Yangon",
	"N. Central Asia Standard Time":   "Asia/Novosibirsk",
	"Nepal Standard Time":             "Asia/Kathmandu",
	"New Zealand Standard Time":       "Pacific/Auckland",
	"Newfoundland Standard Time":      "America/St_Johns",
	"Pacific SA Standard Time":        "America/Santiago",
	"Pacific Standard Time":           "America/Los_Angeles",
	"Pakistan Standard Time":          "Asia/Karachi",
	"Romance Standard Time":           "Europe/Paris",
	"Russian Standard Time":           "Europe/Moscow",
	"SA Eastern Standard Time":        "America/Cayenne",
	"SA Pacific Standard Time":        "America/Bogota",
	"SA Western Standard Time":        "America/La_Paz",
	"SE Asia Standard Time":           "Asia/Bangkok",
	"Singapore Standard Time":         "Asia/Singapore",
	"South Africa Standard Time":      "Africa/Johannesburg",
	"Sri Lanka Standard Time":         "Asia/Colombo",
	"Taipei Standard Time":            "Asia/Taipei",
	"Tokyo Standard Time":             "Asia/Tokyo",
	"Turkey Standard Time":            "Europe/Istanbul",
	"US Eastern Standard Time":        "America/Indiana/Indianapolis",
	"US Mountain Standard Time":       "America/Phoenix",
	"UTC":                             "UTC",
	"Venezuela Standard Time":         "America/Caracas",
	"W. Australia Standard Time":      "Australia/Perth",
	"W. Central Africa Standard Time": "Africa/Lagos",
	"W. Europe Standard Time":         "Europe/Berlin",
	"West Asia Standard Time":         "Asia/Tashkent",
}
