package message

import (
	"strconv"

	"github.com/emersion/go-imap/v2"
)

// FromBodyStructure gives the tree of parts that a server tells of. It is nil
// if bs is.
func FromBodyStructure(bs imap.BodyStructure) (*Part, []Defect) {
	b := structureBuilder{parts: DefaultLimits.Parts}
	root := b.body(bs, "", 0)
	if root == nil || root.IsMultipart() && len(root.Children) == 0 {
		b.found.add(DefectStructureMissing)
	}
	return root, b.found
}

type structureBuilder struct {
	parts int // how many more may come
	found defects
}

// body converts the body of a whole message. prefix is the number of the
// message's part with a dot, or empty.
//
// RFC 9051 section 6.4.5.1: the parts of a multipart that is a message's body
// take the message's number and theirs; a body that is no multipart is 1.
func (b *structureBuilder) body(bs imap.BodyStructure, prefix string, depth int) *Part {
	if m, ok := bs.(*imap.BodyStructureMultiPart); ok && m != nil {
		return b.multipart(m, prefix+"TEXT", prefix, depth)
	}
	return b.part(bs, prefix+"1", depth)
}

func (b *structureBuilder) part(bs imap.BodyStructure, path string, depth int) *Part {
	switch bs := bs.(type) {
	case *imap.BodyStructureMultiPart:
		if bs != nil {
			return b.multipart(bs, path, path+".", depth)
		}
	case *imap.BodyStructureSinglePart:
		if bs != nil {
			return b.single(bs, path, depth)
		}
	}
	return nil
}

func (b *structureBuilder) multipart(bs *imap.BodyStructureMultiPart, path, prefix string, depth int) *Part {
	p := &Part{Path: path, Size: -1}
	var extended imap.BodyStructureMultiPartExt
	if bs.Extended != nil {
		extended = *bs.Extended
	}
	d := description{
		contentType: valueOf(bs.MediaType(), extended.Params),
		disposition: dispositionOf(extended.Disposition),
	}
	p.describe(d, "", &b.found)
	if depth >= DefaultLimits.Depth {
		b.found.add(DefectTooDeep)
		return p
	}
	for i, child := range bs.Children {
		if b.parts--; b.parts < 0 {
			b.found.add(DefectTooManyParts)
			break
		}
		if c := b.part(child, prefix+strconv.Itoa(i+1), depth+1); c != nil {
			p.Children = append(p.Children, c)
		}
	}
	return p
}

func (b *structureBuilder) single(bs *imap.BodyStructureSinglePart, path string, depth int) *Part {
	p := &Part{Path: path, Size: int64(bs.Size)}
	d := description{
		contentType: valueOf(bs.MediaType(), bs.Params),
		encoding:    bs.Encoding,
		id:          bs.ID,
		text:        bs.Description,
	}
	if bs.Type == "" {
		d.contentType.text = "" // "/" would be a defect; nothing said is text/plain.
	}
	if bs.Extended != nil {
		d.disposition = dispositionOf(bs.Extended.Disposition)
	}
	p.describe(d, "", &b.found)
	if m := bs.MessageRFC822; m != nil {
		if m.Envelope != nil {
			e, found := EnvelopeOf(m.Envelope)
			b.found.add(found...)
			p.Envelope = &e
		}
		if depth >= DefaultLimits.Depth {
			b.found.add(DefectTooDeep)
		} else if body := b.body(m.BodyStructure, path+".", depth+1); body != nil {
			p.Children = []*Part{body}
		}
	}
	return p
}

func dispositionOf(d *imap.BodyStructureDisposition) value {
	if d == nil {
		return value{}
	}
	return valueOf(d.Value, d.Params)
}
