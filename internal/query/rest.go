package query

import (
	"slices"
	"strings"
	"time"

	"github.com/postern-mail/postern/internal/message"
)

// Needs is what of a message has to be fetched to look at it.
type Needs struct {
	InternalDate bool
	// Headers are the names of the header fields.
	Headers []string
	// Structure is what parts the message has.
	Structure bool
	// Message is all of the message: its header and its text.
	Message bool
}

// Facts are what a look knows of a message: what the plan needs, and the rest
// is zero.
type Facts struct {
	InternalDate time.Time
	Header       message.Header
	// Filenames are the names of the parts that can be downloaded.
	Filenames []string
	// Attached says that it has what a person would call an attachment.
	Attached bool
	// Text is its text, decoded.
	Text string
	// Known says for each of the plan's Known whether it finds the message.
	Known []bool
}

// rest is what a look decides.
type rest interface {
	holds(f *Facts) bool
	// number enters what the look needs into the plan.
	number(p *Plan) rest
}

// vouched leaves out what the search of all matches has seen to already.
func vouched(r rest) rest {
	all, ok := r.(allRest)
	if !ok {
		return r
	}
	var left allRest
	for _, part := range all {
		if _, known := part.(knownRest); !known {
			left = append(left, vouched(part))
		}
	}
	return left
}

type (
	allRest []rest
	anyRest []rest
	notRest struct{ of rest }
	// knownRest is what a search of its own decides.
	knownRest struct {
		criteria *Criteria
		index    int
	}
	// look is what only the message itself decides.
	look struct {
		needs Needs
		test  func(f *Facts) bool
	}
)

func (r allRest) holds(f *Facts) bool {
	return !slices.ContainsFunc(r, func(part rest) bool { return !part.holds(f) })
}

func (r anyRest) holds(f *Facts) bool {
	return slices.ContainsFunc(r, func(part rest) bool { return part.holds(f) })
}

func (r notRest) holds(f *Facts) bool   { return !r.of.holds(f) }
func (r knownRest) holds(f *Facts) bool { return f.Known[r.index] }
func (r look) holds(f *Facts) bool      { return r.test(f) }

func (r allRest) number(p *Plan) rest { return allRest(numberAll(r, p)) }
func (r anyRest) number(p *Plan) rest { return anyRest(numberAll(r, p)) }
func (r notRest) number(p *Plan) rest { return notRest{r.of.number(p)} }

func numberAll(list []rest, p *Plan) []rest {
	numbered := make([]rest, len(list))
	for i, part := range list {
		numbered[i] = part.number(p)
	}
	return numbered
}

func (r knownRest) number(p *Plan) rest {
	p.Known = append(p.Known, r.criteria)
	return knownRest{criteria: r.criteria, index: len(p.Known) - 1}
}

func (r look) number(p *Plan) rest {
	p.Needs.InternalDate = p.Needs.InternalDate || r.needs.InternalDate
	p.Needs.Structure = p.Needs.Structure || r.needs.Structure
	p.Needs.Message = p.Needs.Message || r.needs.Message
	for _, name := range r.needs.Headers {
		if !slices.ContainsFunc(p.Needs.Headers, func(n string) bool { return strings.EqualFold(n, name) }) {
			p.Needs.Headers = append(p.Needs.Headers, name)
		}
	}
	return r
}
