package gateway

import (
	"slices"

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
	view posternv1.Message_View
	// text and html are the forms of the body; sanitized is the HTML, safe to
	// show, and blockRemote leaves images out of it that are elsewhere.
	text, html, sanitized, blockRemote bool
	// reports: what the machine-readable parts say.
	reports   bool
	bodyBytes int
}

// wantedOf reduces the view to what the read mask leaves of it: who asks only
// for the subject does not make the server read the message.
func wantedOf(req *posternv1.GetMessageRequest, paths []maskPath) (wanted, error) {
	w := wanted{
		view: req.GetView(), bodyBytes: int(req.GetMaxBodyBytes()), reports: true,
		sanitized: req.GetSanitizeHtml(), blockRemote: req.GetBlockRemoteImages(),
	}
	if w.blockRemote && !w.sanitized {
		return w, refuseField("block_remote_images", reasonArgumentInvalid,
			"Images can be left out of the sanitised HTML only: set sanitize_html as well.")
	}
	if w.view == posternv1.Message_VIEW_UNSPECIFIED {
		w.view = posternv1.Message_FULL
	}
	if w.bodyBytes == 0 {
		w.bodyBytes = maxBody
	}
	form := req.GetBodyForm()
	w.text, w.html = form != posternv1.GetMessageRequest_HTML, form != posternv1.GetMessageRequest_TEXT
	if len(paths) == 0 || w.view != posternv1.Message_FULL {
		return w, nil
	}
	w.text = w.text && (names(paths, "body", "text") || namesAny(paths, "snippet", "security"))
	w.html = w.html && names(paths, "body", "html")
	w.sanitized = w.sanitized && (names(paths, "body", "sanitized_html") || names(paths, "body", "remote_images"))
	w.reports = namesAny(paths, "calendar", "delivery_report", "abuse_report", "read_receipt")
	if !w.reports && !namesAny(paths, "body", "snippet", "security", "headers", "defects", "authentication") {
		w.view = posternv1.Message_METADATA
	}
	return w, nil
}

// namesAny reports whether the mask names one of the fields, or something in
// it.
func namesAny(paths []maskPath, fields ...string) bool {
	return slices.ContainsFunc(fields, func(f string) bool { return names(paths, f) })
}

// How much of a header is read, in a list and of one message.
const (
	maxReferences = 64 << 10
	maxHeader     = 1 << 20
)

// referencesSection is the one header of a list that ENVELOPE lacks.
var referencesSection = &imap.FetchItemBodySection{
	Specifier: imap.PartSpecifierHeader, HeaderFields: []string{"References"}, Peek: true,
}

// headerSection is the whole header.
var headerSection = &imap.FetchItemBodySection{Specifier: imap.PartSpecifierHeader, Peek: true}

// viewOptions is what to fetch for the fields of a view that the mask names. What
// the server has no extension for is left out by the connection.
func viewOptions(view posternv1.Message_View, paths []maskPath) *imapconn.FetchOptions {
	o := &imapconn.FetchOptions{GmailLabels: true, MaxSection: maxReferences}
	o.Flags, o.InternalDate, o.RFC822Size, o.ModSeq = true, true, true, true
	if view == posternv1.Message_MINIMAL {
		return o
	}
	full := view == posternv1.Message_FULL
	asked := func(fields ...string) bool { return full || len(paths) == 0 || namesAny(paths, fields...) }
	o.Envelope = asked("date", "from", "authors", "sender", "to", "cc", "bcc", "reply_to", "subject", "message_id", "in_reply_to", "email_id")
	if asked("attachments", "security", "snippet") {
		o.BodyStructure = &imap.FetchItemBodyStructure{Extended: true}
	}
	o.EmailID, o.GmailMsgID, o.Preview = asked("email_id"), asked("email_id"), asked("snippet")
	o.ThreadID, o.GmailThreadID = asked("thread"), asked("thread")
	switch {
	case full:
		o.MaxSection = maxHeader
		o.BodySection = []*imap.FetchItemBodySection{headerSection}
	case asked("references"):
		o.BodySection = []*imap.FetchItemBodySection{referencesSection}
	}
	return o
}

// messageProto is a message in the view MINIMAL or METADATA. envelope is the
// message's, as [account.ReadEnvelopes] gives it; nil means that there is none.
// unread is the part that its snippet has to be made of, where the server gave
// no good preview.
func messageProto(
	a *account.Account, id folder.MessageID, m *imapconn.FetchMessage, view posternv1.Message_View, envelope *message.Envelope,
) (out *posternv1.Message, unread *message.Part) {
	out = minimalMessage(a.ID, id, m)
	if view == posternv1.Message_MINIMAL {
		return out, nil
	}
	s := message.FromEnvelope(nil, m.BodyStructure)
	switch {
	case envelope == nil:
	case m.Envelope != nil && message.HasRaw8Bit(m.Envelope):
		s = message.FromEnvelope(m.Envelope, m.BodyStructure)
	default:
		s.Envelope = *envelope
	}
	if block, ok := m.Section(referencesSection); ok {
		e, _ := message.ParseHeader(block).Envelope()
		s.References = e.References
	}
	describe(out, &s)
	out.Attachments = attachmentsBrief(out.GetName(), s.Attachments)
	out.EmailId = a.EmailID(m, envelope)
	body := s.Body()
	if preview, good := goodPreview(m, body); good {
		out.Snippet = message.Snippet(preview)
		return out, nil
	}
	return out, body
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
