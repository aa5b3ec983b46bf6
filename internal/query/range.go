package query

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/postern-mail/postern/internal/imapwire"
)

// addDate narrows by day. SINCE takes the day in, BEFORE leaves it out; so do
// after and before.
func addDate(c *imapwire.SearchCriteria, t Term, field string) error {
	day, err := parseDay(t)
	if err != nil {
		return err
	}
	op := t.Op
	switch field {
	case "after", "before", "on":
		if op != ":" && op != "=" {
			return &SyntaxError{Pos: t.Pos, Reason: fmt.Sprintf("write %s:%s", field, t.Value)}
		}
		op = map[string]string{"after": ">=", "before": "<", "on": "="}[field]
	}
	next := day.AddDate(0, 0, 1)
	var since, before time.Time
	switch op {
	case ">=":
		since = day
	case ">":
		since = next
	case "<":
		before = day
	case "<=":
		before = next
	case "=", ":":
		since, before = day, next
	case "!=":
		c.Or = append(c.Or, [2]imapwire.SearchCriteria{dates(field, time.Time{}, day), dates(field, next, time.Time{})})
		return nil
	}
	narrowDates(c, field, since, before)
	return nil
}

func dates(field string, since, before time.Time) imapwire.SearchCriteria {
	var c imapwire.SearchCriteria
	narrowDates(&c, field, since, before)
	return c
}

// narrowDates intersects with what is there: the later SINCE, the earlier
// BEFORE. Only the field "date" is about the Date header.
func narrowDates(c *imapwire.SearchCriteria, field string, since, before time.Time) {
	from, to := &c.Since, &c.Before
	if field == "date" {
		from, to = &c.SentSince, &c.SentBefore
	}
	if !since.IsZero() && (from.IsZero() || since.After(*from)) {
		*from = since
	}
	if !before.IsZero() && (to.IsZero() || before.Before(*to)) {
		*to = before
	}
}

func parseDay(t Term) (time.Time, error) {
	for _, layout := range []string{"2006-01-02", "2006/01/02"} {
		if day, err := time.Parse(layout, t.Value); err == nil && day.Year() >= 1900 {
			return day, nil
		}
	}
	if _, err := time.Parse(time.RFC3339, t.Value); err == nil {
		return time.Time{}, &UnsupportedError{Pos: t.Pos, Reason: fmt.Sprintf(
			"the mail server can only search by whole days: write %s", t.Value[:len("2006-01-02")])}
	}
	return time.Time{}, &SyntaxError{Pos: t.Pos, Reason: fmt.Sprintf("%q is not a day such as 2026-01-31", t.Value)}
}

// addSize narrows by size: LARGER and SMALLER leave the bound itself out.
func addSize(c *imapwire.SearchCriteria, t Term, field string) error {
	n, err := parseSize(t)
	if err != nil {
		return err
	}
	op := t.Op
	if field != "size" {
		if op != ":" && op != "=" {
			return &SyntaxError{Pos: t.Pos, Reason: fmt.Sprintf("write %s:%s", field, t.Value)}
		}
		op = map[string]string{"larger": ">", "smaller": "<"}[field]
	}
	switch op {
	case ">":
		narrowSize(c, n, 0)
	case ">=":
		narrowSize(c, n-1, 0)
	case "<":
		narrowSize(c, 0, n)
	case "<=":
		narrowSize(c, 0, n+1)
	case "=", ":":
		narrowSize(c, n-1, n+1)
	case "!=":
		var same imapwire.SearchCriteria
		narrowSize(&same, n-1, n+1)
		c.Not = append(c.Not, same)
	}
	return nil
}

// narrowSize intersects; 0 is no bound.
func narrowSize(c *imapwire.SearchCriteria, larger, smaller int64) {
	c.Larger = max(c.Larger, larger)
	if smaller > 0 && (c.Smaller == 0 || smaller < c.Smaller) {
		c.Smaller = smaller
	}
}

// parseSize reads bytes, or with a suffix KiB, MiB or GiB. The bound is IMAP's
// number (RFC 9051 section 9); a message is at least one byte long.
func parseSize(t Term) (int64, error) {
	digits := strings.TrimRight(t.Value, "KMGkmg")
	unit := map[string]int64{"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}[strings.ToUpper(t.Value[len(digits):])]
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || unit == 0 || n == 0 || int64(n) > (math.MaxUint32-1)/unit {
		return 0, &SyntaxError{Pos: t.Pos, Reason: fmt.Sprintf("%q is not a size such as 1000000 or 5M", t.Value)}
	}
	return int64(n) * unit, nil
}
