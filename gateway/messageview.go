package gateway

import (
	"github.com/emersion/go-imap/v2"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/message"
)

// maxBody is how long a form of the body may be in an answer.
const maxBody = 1 << 20

// wanted is how much of a message is asked for.
type wanted struct {
	view       posternv1.Message_View
	text, html bool
	bodyBytes  int
}

// wantedOf reduces the view to what the read mask leaves of it: who asks only
// for the subject does not make the server read the message.
func wantedOf(req *posternv1.GetMessageRequest, paths []maskPath) wanted {
	w := wanted{view: req.GetView(), bodyBytes: int(req.GetMaxBodyBytes())}
	if w.view == posternv1.Message_VIEW_UNSPECIFIED {
		w.view = posternv1.Message_FULL
	}
	if w.bodyBytes == 0 {
		w.bodyBytes = maxBody
	}
	form := req.GetBodyForm()
	w.text, w.html = form != posternv1.GetMessageRequest_HTML, form != posternv1.GetMessageRequest_TEXT
	if len(paths) == 0 || w.view != posternv1.Message_FULL {
		return w
	}
	body := names(paths, "body")
	w.text = w.text && (body && names(paths, "body", "text") || names(paths, "snippet"))
	w.html = w.html && body && names(paths, "body", "html")
	if !body && !names(paths, "snippet") && !names(paths, "headers") && !names(paths, "defects") {
		w.view = posternv1.Message_METADATA
	}
	return w
}

// referencesSection is the one header of a list that ENVELOPE lacks.
var referencesSection = &imap.FetchItemBodySection{
	Specifier: imap.PartSpecifierHeader, HeaderFields: []string{"References"}, Peek: true,
}

// headerSection is the whole header.
var headerSection = &imap.FetchItemBodySection{Specifier: imap.PartSpecifierHeader, Peek: true}

func (w wanted) fetchOptions() *imapconn.FetchOptions { return viewOptions(w.view) }

// viewOptions is what to fetch for a view. What the server has no extension
// for is left out by the connection.
func viewOptions(view posternv1.Message_View) *imapconn.FetchOptions {
	o := &imapconn.FetchOptions{GmailLabels: true}
	o.Flags, o.InternalDate, o.RFC822Size, o.ModSeq = true, true, true, true
	if view == posternv1.Message_MINIMAL {
		return o
	}
	o.Envelope = true
	o.BodyStructure = &imap.FetchItemBodyStructure{Extended: true}
	o.EmailID, o.GmailMsgID, o.Preview = true, true, true
	o.BodySection = []*imap.FetchItemBodySection{referencesSection}
	if view == posternv1.Message_FULL {
		o.BodySection = []*imap.FetchItemBodySection{headerSection}
	}
	return o
}

// messageProto is a message in the view MINIMAL or METADATA. envelope is the
// message's, as [account.ReadEnvelopes] gives it; nil means that there is none.
func messageProto(a *account.Account, id folder.MessageID, m *imapconn.FetchMessage, view posternv1.Message_View, envelope *message.Envelope) *posternv1.Message {
	out := minimalMessage(a.ID, id, m)
	if view == posternv1.Message_MINIMAL {
		return out
	}
	s := message.FromEnvelope(nil, m.BodyStructure)
	if envelope != nil {
		s.Envelope = *envelope
	}
	if block, ok := m.Section(referencesSection); ok {
		e, _ := message.ParseHeader(block).Envelope()
		s.References = e.References
	}
	describe(out, &s)
	out.EmailId = a.EmailID(m, &s.Envelope)
	if m.Preview != nil {
		out.Snippet = message.Snippet(*m.Preview)
	}
	return out
}

// pinned is the account with the scheme of its email ids, which before its
// first watching connection is the best that the server has.
func pinned(a *account.Account, caps imap.CapSet) *account.Account {
	if a.IdentityScheme != "" {
		return a
	}
	copied := *a
	copied.IdentityScheme = account.BestIdentityScheme(caps)
	return &copied
}
