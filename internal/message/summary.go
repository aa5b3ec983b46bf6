package message

import (
	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/message/charset"
)

// Summary is what a list of messages shows, and what says which parts to fetch
// for the rest.
type Summary struct {
	Envelope
	// Structure is the tree of parts; nil if it is not known.
	Structure *Part
	// Text and HTML are the parts that are the body; either may be nil.
	Text, HTML *Part
	// Attachments are all other parts that carry something, inline images
	// included.
	Attachments []*Part
	// HasAttachment says that there is one that a person would call so: not
	// only pictures within the HTML, signatures or second bodies.
	HasAttachment bool
	Defects       []Defect
}

// Body is the part that says in text what the message says: the text/plain one,
// or else the HTML. It may be nil.
func (s *Summary) Body() *Part {
	if s.Text != nil {
		return s.Text
	}
	return s.HTML
}

// FromEnvelope summarises what a server tells of a message. A missing or empty
// structure is told as [DefectStructureMissing]: then the message itself has to
// be read, with [Walk].
func FromEnvelope(env *imap.Envelope, bs imap.BodyStructure) Summary {
	root, structureDefects := FromBodyStructure(bs)
	s := newSummary(Envelope{}, root)
	hint := ""
	if body := s.Body(); body != nil && charset.Known(body.Charset()) {
		hint = body.Charset()
	}
	var found defects
	var envelopeDefects []Defect
	s.Envelope, envelopeDefects = envelopeOf(env, hint)
	found.add(envelopeDefects...)
	found.add(structureDefects...)
	s.Defects = found
	return s
}

// Summary summarises a message that [Walk] has read.
func (m *Message) Summary() Summary {
	e, found := m.Header.Envelope()
	return newSummary(e, m.Root, m.Header.Defects, found, m.Defects)
}

func newSummary(e Envelope, root *Part, found ...[]Defect) Summary {
	s := Summary{Envelope: e, Structure: root}
	s.Text, s.HTML = SelectBodies(root)
	s.Attachments, s.HasAttachment = attachments(root, s.Text, s.HTML)
	var all defects
	for _, d := range found {
		all.add(d...)
	}
	s.Defects = all
	return s
}
