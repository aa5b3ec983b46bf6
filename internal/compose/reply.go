package compose

import (
	"fmt"
	"html"
	"slices"
	"strings"
	"time"
)

// Mode says how a message answers another.
type Mode string

// The modes, as the API has them.
const (
	Reply    Mode = "REPLY"     // to whoever wrote it
	ReplyAll Mode = "REPLY_ALL" // and to all who got it
	Forward  Mode = "FORWARD"   // to somebody else
)

// Original is a message that is answered.
type Original struct {
	From, ReplyTo, To, Cc []Address
	Subject               string
	Date                  time.Time
	// MessageID, InReplyTo and References are without angle brackets.
	MessageID             string
	InReplyTo, References []string
	// Text and HTML are what may be quoted; HTML must be safe to be part of
	// another document.
	Text, HTML string
}

// Answer makes a message the answer to another: it sets what joins the two into one
// conversation (RFC 5322 section 3.6.4), and what the message leaves open: the
// subject, and for replies the recipients. With quote the text of the original is
// put below that of the message. self are the sender's own addresses, which do not
// get the answer.
func (m *Message) Answer(o *Original, mode Mode, self []string, quote bool) {
	if mode != Forward {
		m.InReplyTo = nil
		if o.MessageID != "" {
			m.InReplyTo = []string{o.MessageID}
		}
	}
	m.References = references(o)
	if m.Subject == "" {
		m.Subject = subject(o.Subject, mode)
	}
	if mode != Forward && len(m.To)+len(m.Cc)+len(m.Bcc) == 0 {
		m.addressAnswer(o, mode, self)
	}
	if quote || mode == Forward {
		m.quote(o, mode)
	}
}

// references are those of the original and then itself. Of a long conversation the
// first is kept, which names it, and the last ones.
func references(o *Original) []string {
	known := o.References
	if len(known) == 0 && len(o.InReplyTo) == 1 {
		known = o.InReplyTo
	}
	known = slices.Clone(known)
	if o.MessageID != "" {
		known = append(known, o.MessageID)
	}
	// What others have written may not be written on.
	known = slices.DeleteFunc(known, func(id string) bool { return !messageID.MatchString(id) })
	const most = 20
	if len(known) > most {
		known = append(known[:1], known[len(known)-most+1:]...)
	}
	return known
}

// subject puts "Re:" or "Fwd:" before a subject that does not have it.
func subject(original string, mode Mode) string {
	prefix, others := "Re: ", []string{"re:", "aw:", "sv:", "antw:", "odp:"}
	if mode == Forward {
		prefix, others = "Fwd: ", []string{"fwd:", "fw:", "wg:"}
	}
	original = strings.TrimSpace(original)
	lower := strings.ToLower(original)
	if slices.ContainsFunc(others, func(p string) bool { return strings.HasPrefix(lower, p) }) {
		return original
	}
	return prefix + original
}

// addressAnswer chooses who gets a reply: whoever is to be answered, and for all
// those to whom the original went. A reply to one's own message goes where that
// went.
func (m *Message) addressAnswer(o *Original, mode Mode, self []string) {
	isSelf := func(a Address) bool {
		return slices.ContainsFunc(self, func(own string) bool { return strings.EqualFold(own, a.Address) })
	}
	to := o.ReplyTo
	if len(to) == 0 {
		to = o.From
	}
	var cc []Address
	if slices.ContainsFunc(o.From, isSelf) && len(o.To) > 0 {
		to = o.To
		if mode == ReplyAll {
			cc = o.Cc
		}
	} else if mode == ReplyAll {
		cc = append(slices.Clone(o.To), o.Cc...)
	}
	m.To = distinct(to, nil, isSelf)
	if len(m.To) == 0 {
		m.To = slices.Clone(to) // it goes to oneself, then
	}
	m.Cc = distinct(cc, m.To, isSelf)
}

// distinct are the addresses that are not the sender's, each once, without those
// that get the message already.
func distinct(addresses, already []Address, isSelf func(Address) bool) []Address {
	var out []Address
	for _, a := range addresses {
		same := func(b Address) bool { return strings.EqualFold(a.Address, b.Address) }
		if a.Address != "" && !isSelf(a) && !slices.ContainsFunc(out, same) && !slices.ContainsFunc(already, same) {
			out = append(out, a)
		}
	}
	return out
}

// quote puts the text of the original below that of the message.
func (m *Message) quote(o *Original, mode Mode) {
	plain := strings.TrimRight(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(o.Text), "\n")
	quotedHTML := o.HTML
	if quotedHTML == "" {
		quotedHTML = strings.ReplaceAll(html.EscapeString(plain), "\n", "<br>\n")
	}
	lead := attribution(o)
	withHTML := m.HTML != "" || m.Text == "" && o.HTML != ""
	if mode == Forward {
		lead = forwarded(o)
	} else {
		plain = "> " + strings.ReplaceAll(plain, "\n", "\n> ")
	}
	if withHTML {
		m.HTML += fmt.Sprintf("\n<br>\n<div>%s</div>\n<blockquote type=\"cite\">\n%s\n</blockquote>\n",
			strings.ReplaceAll(html.EscapeString(lead), "\n", "<br>\n"), quotedHTML)
	}
	// Text that is to be made of the HTML has the quotation from there.
	if m.Text != "" || !withHTML {
		if m.Text != "" {
			m.Text = strings.TrimRight(m.Text, "\r\n") + "\n\n"
		}
		m.Text += lead + "\n" + plain + "\n"
	}
}

// attribution is the line above a quotation.
func attribution(o *Original) string {
	who := "somebody"
	if len(o.From) > 0 {
		who = o.From[0].text()
	}
	if o.Date.IsZero() {
		return who + " wrote:"
	}
	return fmt.Sprintf("On %s, %s wrote:", o.Date.Format("Mon, 2 Jan 2006 at 15:04 -0700"), who)
}

// forwarded is the block above a forwarded text.
func forwarded(o *Original) string {
	lines := []string{"---------- Forwarded message ----------"}
	add := func(name, value string) {
		if value != "" {
			lines = append(lines, name+": "+value)
		}
	}
	add("From", texts(o.From))
	if !o.Date.IsZero() {
		add("Date", o.Date.Format(time.RFC1123Z))
	}
	add("Subject", o.Subject)
	add("To", texts(o.To))
	add("Cc", texts(o.Cc))
	return strings.Join(lines, "\n") + "\n"
}

func texts(addresses []Address) string {
	all := make([]string, len(addresses))
	for i, a := range addresses {
		all[i] = a.text()
	}
	return strings.Join(all, ", ")
}

// text is an address for people.
func (a Address) text() string {
	if a.Name == "" {
		return a.Address
	}
	return a.Name + " <" + a.Address + ">"
}
