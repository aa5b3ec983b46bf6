package query

import (
	"fmt"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/imapwire"
)

// Criteria are what a server can search for.
type Criteria = imapwire.SearchCriteria

// Options are what a plan depends on besides the filter.
type Options struct {
	// Caps are what the server can do.
	Caps imap.CapSet
	// ASCIIOnly says that the server refuses to search for text beyond ASCII.
	ASCIIOnly bool
	// Now is what relative dates are counted from.
	Now time.Time
}

// Plan is how a filter is carried out: by searches of the server, and where
// these cannot tell exactly by a look at some of the messages.
type Plan struct {
	// Search finds all messages that match, and if the plan is exact no others.
	Search *Criteria
	// Certain finds messages that match for sure; nil finds none.
	Certain *Criteria
	// Known are searches whose outcome a look relies on: see Facts.Known.
	Known []*Criteria
	// Needs is what a look needs to know of a message.
	Needs Needs

	rest rest // nil if the plan is exact
}

// NewPlan makes the plan for a filter. It fails with a [*SyntaxError] for fields
// and values that there are not, and with an [*UnsupportedError] for what can
// neither be searched nor looked up.
func NewPlan(e Expr, o Options) (*Plan, error) {
	n, err := planner(o).node(e)
	if err != nil {
		return nil, err
	}
	p := &Plan{Search: n.upper}
	if p.Search == nil {
		p.Search = &Criteria{}
	}
	if !n.exact {
		p.Certain = n.lower
		p.rest = vouched(n.rest).number(p)
	}
	return p, nil
}

// Check fails as NewPlan does for what no server can carry out.
func Check(e Expr) error {
	_, err := NewPlan(e, Options{Caps: imap.CapSet{capGmail: {}, imap.CapObjectID: {}}, Now: time.Now()})
	return err
}

// Exact reports whether Search finds what matches and nothing else.
func (p *Plan) Exact() bool { return p.rest == nil }

// Match decides about a message that Search has found.
func (p *Plan) Match(f *Facts) bool { return p.rest == nil || p.rest.holds(f) }

// node is a part of a filter, planned. What matches lies between two searches.
type node struct {
	// upper finds at least what matches; nil finds everything.
	upper *Criteria
	// lower finds nothing but what matches; nil finds nothing.
	lower *Criteria
	// exact says that the two are the same search.
	exact bool
	// rest decides about each message.
	rest rest
}

// exactly is a part that the server can search for.
func exactly(c *Criteria) node {
	return node{upper: c, lower: c, exact: true, rest: knownRest{criteria: c}}
}

// planner plans for one server.
type planner Options

func (p planner) node(e Expr) (node, error) {
	switch e := e.(type) {
	case And:
		parts, err := p.nodes(e)
		if err != nil {
			return node{}, err
		}
		return allOf(parts), nil
	case Or:
		parts, err := p.nodes(e)
		if err != nil {
			return node{}, err
		}
		return anyOf(parts), nil
	case Not:
		part, err := p.node(e.Expr)
		if err != nil {
			return node{}, err
		}
		return noneOf(part), nil
	case Term:
		return p.term(e)
	}
	return node{}, fmt.Errorf("filter has an unknown node %T", e)
}

func (p planner) nodes(list []Expr) ([]node, error) {
	nodes := make([]node, len(list))
	for i, e := range list {
		var err error
		if nodes[i], err = p.node(e); err != nil {
			return nil, err
		}
	}
	return nodes, nil
}

// allOf holds when all parts do.
func allOf(parts []node) node {
	all := node{upper: &Criteria{}, lower: &Criteria{}, exact: true}
	var looks allRest
	for _, part := range parts {
		if part.upper != nil {
			narrow(all.upper, part.upper)
		}
		switch {
		case part.lower == nil:
			all.lower = nil
		case all.lower != nil:
			narrow(all.lower, part.lower)
		}
		all.exact = all.exact && part.exact
		looks = append(looks, part.rest)
	}
	if all.exact {
		return exactly(all.upper)
	}
	all.rest = looks
	return all
}

// anyOf holds when one of the parts does.
func anyOf(parts []node) node {
	var upper, lower []Criteria
	var looks anyRest
	exact, unbounded := true, false
	for _, part := range parts {
		if part.upper == nil {
			unbounded = true
		} else {
			upper = append(upper, *part.upper)
		}
		if part.lower != nil {
			lower = append(lower, *part.lower)
		}
		exact = exact && part.exact
		looks = append(looks, part.rest)
	}
	if exact {
		return exactly(either(upper))
	}
	n := node{rest: looks}
	if !unbounded {
		n.upper = either(upper)
	}
	if len(lower) > 0 {
		n.lower = either(lower)
	}
	return n
}

// noneOf holds when the part does not.
func noneOf(part node) node {
	if part.exact {
		return exactly(&Criteria{Not: []Criteria{*part.upper}})
	}
	n := node{rest: notRest{part.rest}}
	if part.lower != nil {
		n.upper = &Criteria{Not: []Criteria{*part.lower}}
	}
	if part.upper != nil {
		n.lower = &Criteria{Not: []Criteria{*part.upper}}
	}
	return n
}

// either finds what one of several finds; IMAP's OR takes two. Halving them
// lets nesting grow with the logarithm of their number: servers recurse over it.
func either(each []Criteria) *Criteria {
	if len(each) == 1 {
		return &each[0]
	}
	middle := len(each) / 2
	return &Criteria{Or: [][2]Criteria{{*either(each[:middle]), *either(each[middle:])}}}
}

// narrow adds the conditions of other to c.
func narrow(c, other *Criteria) {
	c.UID = append(c.UID, other.UID...)
	c.Header = append(c.Header, other.Header...)
	c.Body = append(c.Body, other.Body...)
	c.Text = append(c.Text, other.Text...)
	c.Flag = append(c.Flag, other.Flag...)
	c.NotFlag = append(c.NotFlag, other.NotFlag...)
	c.Not = append(c.Not, other.Not...)
	c.Or = append(c.Or, other.Or...)
	c.EmailID = append(c.EmailID, other.EmailID...)
	c.ThreadID = append(c.ThreadID, other.ThreadID...)
	c.GmailRaw = append(c.GmailRaw, other.GmailRaw...)
	c.GmailMsgID = append(c.GmailMsgID, other.GmailMsgID...)
	c.GmailThreadID = append(c.GmailThreadID, other.GmailThreadID...)
	c.GmailLabels = append(c.GmailLabels, other.GmailLabels...)
	c.Since, c.Before = later(c.Since, other.Since), earlier(c.Before, other.Before)
	c.SentSince, c.SentBefore = later(c.SentSince, other.SentSince), earlier(c.SentBefore, other.SentBefore)
	c.Larger = max(c.Larger, other.Larger)
	if other.Smaller > 0 && (c.Smaller == 0 || other.Smaller < c.Smaller) {
		c.Smaller = other.Smaller
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// earlier: zero is no bound.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
