package query_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/message"
	"github.com/postern-mail/postern/internal/query"
)

// item is a message of a model mailbox.
type item struct {
	uid      imap.UID
	arrived  time.Time
	from     string
	subject  string
	seen     bool
	attached bool
	size     int64
}

// serverZone is the zone that the model server's days are in.
var serverZone = time.FixedZone("", 13*60*60)

// found is the model server's SEARCH. It does not understand what is not ASCII.
func found(c *query.Criteria, m item) bool {
	dayOf := m.arrived.In(serverZone)
	date := time.Date(dayOf.Year(), dayOf.Month(), dayOf.Day(), 0, 0, 0, 0, time.UTC)
	ok := (c.Since.IsZero() || !date.Before(c.Since)) && (c.Before.IsZero() || date.Before(c.Before)) &&
		(c.Larger == 0 || m.size > c.Larger) && (c.Smaller == 0 || m.size < c.Smaller)
	for _, h := range c.Header {
		ok = ok && strings.Contains(strings.ToLower(m.header(h.Key)), strings.ToLower(h.Value))
	}
	for _, set := range c.UID {
		ok = ok && set.Contains(m.uid)
	}
	for range c.Flag {
		ok = ok && m.seen
	}
	for range c.NotFlag {
		ok = ok && !m.seen
	}
	for i := range c.Not {
		ok = ok && !found(&c.Not[i], m)
	}
	for i := range c.Or {
		ok = ok && (found(&c.Or[i][0], m) || found(&c.Or[i][1], m))
	}
	return ok
}

func (m item) header(name string) string {
	if strings.EqualFold(name, "From") {
		return m.from
	}
	return m.subject
}

func (m item) facts() *query.Facts {
	return &query.Facts{
		InternalDate: m.arrived, Attached: m.attached,
		Header: message.ParseHeader(fmt.Appendf(nil, "From: %s\r\nSubject: %s\r\n", m.from, m.subject)),
	}
}

// condition is a random filter together with what it means.
type condition struct {
	text  string
	holds func(item) bool
}

var start = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

func leaf(r *rand.Rand) condition {
	at := start.Add(time.Duration(r.IntN(240)) * time.Hour)
	day := at.Truncate(24 * time.Hour)
	n := 1 + r.IntN(20)
	return []condition{
		{"after:" + day.Format("2006-01-02"), func(m item) bool { return !m.arrived.Before(day) }},
		{"before:" + day.Format("2006-01-02"), func(m item) bool { return m.arrived.Before(day) }},
		{"on:" + day.Format("2006-01-02"), func(m item) bool { return m.arrived.Truncate(24 * time.Hour).Equal(day) }},
		{"internal_date>" + at.Format(time.RFC3339), func(m item) bool { return m.arrived.After(at) }},
		{"internal_date!=" + day.Format("2006-01-02"), func(m item) bool { return !m.arrived.Truncate(24 * time.Hour).Equal(day) }},
		{"is:read", func(m item) bool { return m.seen }},
		{"is:unread", func(m item) bool { return !m.seen }},
		{"has:attachment", func(m item) bool { return m.attached }},
		{fmt.Sprintf("size>%d", n), func(m item) bool { return m.size > int64(n) }},
		{fmt.Sprintf("size!=%d", n), func(m item) bool { return m.size != int64(n) }},
		{fmt.Sprintf("uid>=%d", n), func(m item) bool { return m.uid >= imap.UID(n) }},
		{"from:ann", func(m item) bool { return strings.Contains(m.from, "ann") }},
		{"from=ann@x.org", func(m item) bool { return m.from == "ann@x.org" }},
		{"from.address!=ann@x.org", func(m item) bool { return m.from != "ann@x.org" }},
		{"subject:grüße", func(m item) bool { return strings.Contains(m.subject, "Grüße") }},
		{`subject="re: grüße"`, func(m item) bool { return m.subject == "Re: Grüße" }},
	}[r.IntN(16)]
}

func random(r *rand.Rand, depth int) condition {
	if depth == 0 || r.IntN(4) == 0 {
		return leaf(r)
	}
	a, b := random(r, depth-1), random(r, depth-1)
	switch r.IntN(3) {
	case 0:
		return condition{"(" + a.text + " AND " + b.text + ")", func(m item) bool { return a.holds(m) && b.holds(m) }}
	case 1:
		return condition{"(" + a.text + " OR " + b.text + ")", func(m item) bool { return a.holds(m) || b.holds(m) }}
	}
	return condition{"-" + strings.TrimPrefix("("+a.text+")", "-"), func(m item) bool { return !a.holds(m) }}
}

// Whatever a filter says, the searches bound what it means, and a look decides
// what is between them.
func TestPlansDecide(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 3000 {
		c := random(r, 4)
		p := plan(t, c.text, query.Options{ASCIIOnly: true})
		for uid := range imap.UID(25) {
			m := item{
				uid: uid + 1, arrived: start.Add(time.Duration(r.IntN(240*4)) * 15 * time.Minute),
				from: []string{"ann@x.org", "joanna@x.org", "bob@x.org"}[r.IntN(3)], subject: []string{"Grüße", "Re: Grüße", "x"}[r.IntN(3)],
				seen: r.IntN(2) == 0, attached: r.IntN(2) == 0, size: 1 + r.Int64N(20),
			}
			facts := m.facts()
			for _, known := range p.Known {
				facts.Known = append(facts.Known, found(known, m))
			}
			want := c.holds(m)
			at, least := found(p.Search, m), p.Certain != nil && found(p.Certain, m)
			if want && !at || least && !want || at && p.Match(facts) != want {
				t.Fatalf("%s\n%+v: at most %v, at least %v, looked %v, want %v", c.text, m, at, least, p.Match(facts), want)
			}
		}
	}
}
