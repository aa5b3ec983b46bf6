package query

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// aDay is how far a server's days can be from ours: it compares the date of a
// message as it stores it, in a zone that is up to 14 hours from UTC (RFC 9051
// section 6.4.4).
const aDay = 24 * time.Hour

// date compares when a message arrived, or with the field "date" when its
// sender says it was sent. A day is one in UTC.
func (p planner) date(t Term, field string) (node, error) {
	from, to, err := p.span(t, field)
	if err != nil {
		return node{}, err
	}
	op := t.Op
	if fixed, ok := map[string]string{"after": ">=", "before": "<", "on": "=", "newer_than": ">=", "older_than": "<"}[field]; ok {
		if op != ":" && op != "=" {
			return node{}, t.Syntax("write %s:%s", field, t.Value)
		}
		op = fixed
	}
	sent := field == "date"
	switch op {
	case ">=":
		return arrived(sent, from, time.Time{}), nil
	case ">":
		return arrived(sent, to, time.Time{}), nil
	case "<":
		return arrived(sent, time.Time{}, from), nil
	case "<=":
		return arrived(sent, time.Time{}, to), nil
	case "!=":
		return noneOf(arrived(sent, from, to)), nil
	}
	return arrived(sent, from, to), nil
}

// arrived holds for messages of a span of time, whose end is not in it. A zero
// time is no bound. The server narrows it down to whole days; which messages of
// the days at its ends belong to it, a look decides.
func arrived(sent bool, from, to time.Time) node {
	upper, lower := &Criteria{}, &Criteria{}
	since, before := &upper.Since, &upper.Before
	surelySince, surelyBefore := &lower.Since, &lower.Before
	if sent {
		since, before = &upper.SentSince, &upper.SentBefore
		surelySince, surelyBefore = &lower.SentSince, &lower.SentBefore
	}
	if !from.IsZero() {
		*since = day(from.Add(-aDay))
		*surelySince = day(from.Add(aDay)).Add(aDay)
	}
	if !to.IsZero() {
		*before = day(to.Add(aDay)).Add(aDay)
		*surelyBefore = day(to.Add(-aDay))
	}
	n := node{upper: upper, lower: lower}
	if !from.IsZero() && !to.IsZero() && !surelySince.Before(*surelyBefore) {
		n.lower = nil
	}
	needs := Needs{InternalDate: !sent}
	if sent {
		needs.Headers = []string{"Date"}
	}
	n.rest = look{needs: needs, test: func(f *Facts) bool {
		at := f.InternalDate
		if sent {
			e, _ := f.Header.Envelope()
			at = e.Date
		}
		return !at.IsZero() && (from.IsZero() || !at.Before(from)) && (to.IsZero() || at.Before(to))
	}}
	return n
}

// day is the beginning of a moment's day in UTC.
func day(t time.Time) time.Time { return t.UTC().Truncate(aDay) }

// span reads a day, a moment, or an age such as 7d, as the time that it takes.
func (p planner) span(t Term, field string) (from, to time.Time, err error) {
	if field == "newer_than" || field == "older_than" {
		at, ok := ago(t.Value, p.Now)
		if !ok {
			return from, to, t.Syntax("%q is not an age such as 12h, 7d, 2w, 6m or 1y", t.Value)
		}
		return at, at, nil
	}
	for _, layout := range []string{"2006-01-02", "2006/01/02"} {
		if day, err := time.Parse(layout, t.Value); err == nil && day.Year() >= 1900 {
			return day, day.Add(aDay), nil
		}
	}
	if at, err := time.Parse(time.RFC3339, t.Value); err == nil && at.Year() >= 1900 {
		// IMAP knows whole seconds only (RFC 9051 section 9, date-time).
		return at, at.Add(time.Second), nil
	}
	return from, to, t.Syntax("%q is not a day such as 2026-01-31, nor a time such as 2026-01-31T08:00:00Z", t.Value)
}

// ago counts hours, days, weeks, months or years back.
func ago(age string, now time.Time) (time.Time, bool) {
	if age == "" {
		return time.Time{}, false
	}
	n, err := strconv.ParseUint(age[:len(age)-1], 10, 16)
	if err != nil || n == 0 {
		return time.Time{}, false
	}
	count := int(n)
	var at time.Time
	switch age[len(age)-1] {
	case 'h':
		at = now.Add(-time.Duration(count) * time.Hour)
	case 'd':
		at = now.AddDate(0, 0, -count)
	case 'w':
		at = now.AddDate(0, 0, -7*count)
	case 'm':
		at = now.AddDate(0, -count, 0)
	case 'y':
		at = now.AddDate(-count, 0, 0)
	default:
		return at, false
	}
	// What lies before all mail is as good a bound as any.
	if oldest := time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC); at.Before(oldest) {
		at = oldest
	}
	return at, true
}

// size compares how long a message is: LARGER and SMALLER leave the bound
// itself out.
func size(t Term, field string) (node, error) {
	n, err := parseSize(t)
	if err != nil {
		return node{}, err
	}
	op := t.Op
	if field != "size" {
		if op != ":" && op != "=" {
			return node{}, t.Syntax("write %s:%s", field, t.Value)
		}
		op = map[string]string{"larger": ">", "smaller": "<"}[field]
	}
	c := &Criteria{}
	switch op {
	case ">":
		c.Larger = n
	case ">=":
		c.Larger = n - 1
	case "<":
		c.Smaller = n
	case "<=":
		c.Smaller = n + 1
	default:
		c.Larger, c.Smaller = n-1, n+1
	}
	return negateIf(op == "!=", exactly(c)), nil
}

// parseSize reads bytes, or with a suffix KiB, MiB or GiB. The bound is IMAP's
// number (RFC 9051 section 9); a message is at least one byte long.
func parseSize(t Term) (int64, error) {
	digits := strings.TrimRight(t.Value, "KMGkmg")
	unit := map[string]int64{"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}[strings.ToUpper(t.Value[len(digits):])]
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || unit == 0 || n == 0 || int64(n) > (math.MaxUint32-1)/unit {
		return 0, t.Syntax("%q is not a size such as 1000000 or 5M", t.Value)
	}
	return int64(n) * unit, nil
}
