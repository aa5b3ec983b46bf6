package message

import "strings"

// SelectBodies finds the parts that a person reads: the text/plain one and the
// text/html one. Either may be nil.
func SelectBodies(root *Part) (text, html *Part) {
	if root == nil {
		return nil, nil
	}
	switch {
	case root.Type == "multipart/alternative":
		// RFC 2046 section 5.1.4: the last form is the best one.
		for i := len(root.Children) - 1; i >= 0; i-- {
			t, h := SelectBodies(root.Children[i])
			if text == nil {
				text = t
			}
			if html == nil {
				html = h
			}
		}
		return text, html
	case root.Type == "multipart/related":
		return root.selectRelated()
	case root.Type == "multipart/encrypted", root.Type == "multipart/digest":
		return nil, nil
	case root.IsMultipart():
		// Mixed, signed, report and unknown ones (RFC 2046 section 5.1.7):
		// the first part with something to read is the body.
		for _, c := range root.Children {
			if text, html = SelectBodies(c); text != nil || html != nil {
				return text, html
			}
		}
	case root.readable() && root.Type == "text/plain":
		return root, nil
	case root.readable() && root.Type == "text/html":
		return nil, root
	}
	return nil, nil
}

// readable: text that is to be shown rather than saved.
func (p *Part) readable() bool {
	return p.Disposition != DispositionAttachment && (p.Filename == "" || p.Disposition == DispositionInline)
}

// selectRelated finds the bodies in the part that the others of a
// multipart/related serve (RFC 2387 section 3.2). Each part is looked at once:
// twice would be for ever, where each of fifty is in the next.
func (p *Part) selectRelated() (text, html *Part) {
	if start := strings.Trim(p.Params["start"], "<> "); start != "" {
		for _, c := range p.Children {
			if c.ContentID == start {
				return SelectBodies(c)
			}
		}
	}
	// Without a start it is the first part, but some put the pictures first.
	for _, c := range p.Children {
		if text, html = SelectBodies(c); text != nil || html != nil {
			break
		}
	}
	return text, html
}

// Attachments are the parts that carry something besides the bodies, in their
// order. A message/rfc822 is one attachment, whatever is in it.
func Attachments(root *Part) []*Part {
	text, html := SelectBodies(root)
	list, _ := attachments(root, text, html)
	return list
}

// attachments are the parts other than the bodies. found says that one of them is
// what a person would call so.
func attachments(root, text, html *Part) (list []*Part, found bool) {
	var visit func(p *Part, parent string)
	visit = func(p *Part, parent string) {
		switch {
		case p == nil, p == text, p == html:
		case p.IsMultipart():
			for _, c := range p.Children {
				visit(c, p.Type)
			}
		case parent == "multipart/alternative" && p.readable() && p.anotherForm():
		default:
			list = append(list, p)
			found = found || p.isRealAttachment(parent)
		}
	}
	visit(root, "")
	return list, found
}

// anotherForm: alternatives of the body that say the same again. A calendar
// part says more and stays in sight.
func (p *Part) anotherForm() bool {
	switch p.Type {
	case "text/plain", "text/html", "text/enriched", "text/richtext", "text/x-amp-html", "text/watch-html", "text/rtf", "application/rtf":
		return true
	}
	return false
}

// isRealAttachment tells what a person would call an attachment from what only
// serves the message: pictures of its HTML, signatures, reports, later text.
func (p *Part) isRealAttachment(parent string) bool {
	if parent == "multipart/report" || parent == "multipart/encrypted" {
		return false
	}
	embedded := p.ContentID != "" && (parent == "multipart/related" || p.Disposition == DispositionInline && strings.HasPrefix(p.Type, "image/"))
	switch p.Kind() {
	case KindSignature, KindEncrypted, KindDeliveryStatus, KindDisposition, KindFeedback, KindHeaders:
		return false
	case KindText, KindHTML:
		return p.Disposition == DispositionAttachment || p.Filename != ""
	case KindCalendar:
		return p.Disposition == DispositionAttachment
	}
	return !embedded
}
