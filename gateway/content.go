package gateway

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/compose"
	"github.com/postern-mail/postern/internal/message"
	"github.com/postern-mail/postern/internal/message/safehtml"
	"github.com/postern-mail/postern/internal/submit"
)

// content is what a message that is being written has, wherever it is written.
type content interface {
	GetFrom() *posternv1.Address
	GetTo() []*posternv1.Address
	GetCc() []*posternv1.Address
	GetBcc() []*posternv1.Address
	GetReplyTo() []*posternv1.Address
	GetSubject() string
	GetText() string
	GetHtml() string
	GetHeaders() []*posternv1.Header
	GetAttachments() []*posternv1.OutgoingAttachment
	GetReply() *posternv1.Reply
	GetCalendar() *posternv1.CalendarObject
}

// composer makes messages of what a request says, with what it refers to in the
// mailbox.
type composer struct {
	messages *messageService
	uploads  *submit.Store
	// field is the field of requests that has the content, for violations.
	field string
}

// compose makes a message of the account. The result can be written. It fails with
// the violations of the fields at fault, and like GetMessage for what the message
// answers.
func (c *composer) compose(ctx context.Context, a *account.Account, in content) (*compose.Message, error) {
	m := &compose.Message{
		From: composeAddress(in.GetFrom()), To: composeAddresses(in.GetTo()), Cc: composeAddresses(in.GetCc()),
		Bcc: composeAddresses(in.GetBcc()), ReplyTo: composeAddresses(in.GetReplyTo()),
		Subject: in.GetSubject(), Text: in.GetText(), HTML: in.GetHtml(), Date: time.Now(),
	}
	if m.From.Address == "" {
		m.From = compose.Address{Name: m.From.Name, Address: a.Email}
	}
	for _, h := range in.GetHeaders() {
		m.Headers = append(m.Headers, compose.Header{Name: h.GetName(), Value: h.GetValue()})
	}
	if object := in.GetCalendar(); object != nil {
		m.Invitation = &compose.Invitation{Method: object.GetMethod(), Content: object.GetContent()}
	}
	for i, attachment := range in.GetAttachments() {
		part, err := c.attachment(ctx, a, fmt.Sprintf("%s.attachments[%d]", c.field, i), attachment)
		if err != nil {
			return nil, err
		}
		m.Attachments = append(m.Attachments, part)
	}
	if in.GetReply() != nil {
		if err := c.answer(ctx, a, m, in.GetReply()); err != nil {
			return nil, err
		}
	}
	m.MessageID = newMessageID(m.From.Address)
	if wrong := m.Check(); len(wrong) > 0 {
		return nil, refuseContent(c.field, wrong)
	}
	return m, nil
}

func composeAddress(a *posternv1.Address) compose.Address {
	return compose.Address{Name: a.GetName(), Address: a.GetAddress()}
}

func composeAddresses(list []*posternv1.Address) []compose.Address {
	out := make([]compose.Address, len(list))
	for i, a := range list {
		out[i] = composeAddress(a)
	}
	return out
}

// newMessageID makes an id that nobody else makes (RFC 5322 section 3.6.4), in the
// domain of the sender.
func newMessageID(from string) string { return strings.ToLower(rand.Text()) + "@" + domainOf(from) }

// domainOf is the domain of an address, as part of an id.
func domainOf(address string) string {
	wire, _, err := compose.Wire(address)
	if err != nil {
		return "localhost"
	}
	return strings.Trim(wire[strings.LastIndexByte(wire, '@')+1:], "[]")
}

// refuseContent is the failure of a message that cannot be written. The field is
// that of the request which has the message.
func refuseContent(field string, wrong []compose.Violation) error {
	bad := &errdetails.BadRequest{}
	texts := make([]string, len(wrong))
	if field != "" {
		field += "."
	}
	for i, v := range wrong {
		bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{
			Field: field + v.Field, Description: v.Description, Reason: string(reasonArgumentInvalid),
		})
		texts[i] = v.Field + ": " + v.Description
	}
	return refuse(codes.InvalidArgument, reasonArgumentInvalid, "The message cannot be written: %s.", strings.Join(texts, "; ")).detail(bad)
}

// attachment makes a part of what a request has or refers to.
func (c *composer) attachment(
	ctx context.Context, a *account.Account, field string, in *posternv1.OutgoingAttachment,
) (compose.Attachment, error) {
	out := compose.Attachment{
		Filename: in.GetFilename(), ContentType: in.GetContentType(), ContentID: in.GetContentId(), Inline: in.GetInline(),
	}
	switch source := in.GetSource().(type) {
	case *posternv1.OutgoingAttachment_Content:
		out.Open = func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(source.Content)), nil
		}
	case *posternv1.OutgoingAttachment_Attachment:
		if !strings.HasPrefix(source.Attachment, "accounts/"+a.ID+"/") {
			return out, refuseField(field+".attachment", reasonArgumentInvalid, "The attachment belongs to another account: give its content.")
		}
		there, err := c.findPart(ctx, source.Attachment)
		if err != nil {
			return out, err
		}
		out.Filename, out.ContentType = cmp.Or(out.Filename, there.GetFilename()), cmp.Or(out.ContentType, there.GetContentType())
		out.Open = func(ctx context.Context) (io.ReadCloser, error) { return c.openPart(ctx, source.Attachment), nil }
	case *posternv1.OutgoingAttachment_Upload:
		id := lastSegment(source.Upload)
		there, err := c.uploads.Upload(ctx, a.ID, id)
		if err != nil {
			return out, err
		}
		out.Filename, out.ContentType = cmp.Or(out.Filename, there.Filename), cmp.Or(out.ContentType, there.ContentType)
		out.Open = func(ctx context.Context) (io.ReadCloser, error) {
			content, err := c.uploads.OpenUpload(ctx, a.ID, id)
			return io.NopCloser(content), err
		}
	}
	return out, nil
}

// findPart looks an attachment up in the mailbox.
func (c *composer) findPart(ctx context.Context, name string) (*posternv1.Attachment, error) {
	of, path, _ := strings.Cut(name, "/attachments/")
	m, err := c.messages.GetMessage(ctx, &posternv1.GetMessageRequest{Name: of, View: posternv1.Message_METADATA})
	if err != nil {
		return nil, fmt.Errorf("look for the attachment: %w", err)
	}
	for _, part := range m.GetAttachments() {
		if part.GetPart() == path {
			return part, nil
		}
	}
	return nil, attachmentNotFound(path)
}

// openPart reads an attachment from the mailbox. Closing it ends the reading.
func (c *composer) openPart(ctx context.Context, name string) io.ReadCloser {
	ctx, cancel := context.WithCancel(ctx)
	r, w := io.Pipe()
	part := &mailboxPart{PipeReader: r, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(part.done)
		err := c.messages.downloadPart(ctx, &posternv1.DownloadAttachmentRequest{Name: name}, pipeSink{w})
		w.CloseWithError(err) // nil is the end
	}()
	return part
}

// mailboxPart is an attachment that is being read.
type mailboxPart struct {
	*io.PipeReader
	cancel context.CancelFunc
	done   chan struct{}
}

// Close ends the reading and waits until the connection is given back.
func (p *mailboxPart) Close() error {
	p.cancel()
	err := p.PipeReader.Close()
	<-p.done
	return err
}

// pipeSink passes a download to a reader.
type pipeSink struct{ *io.PipeWriter }

func (pipeSink) begin(file) error { return nil }

// answer makes a message the answer to one of the mailbox.
func (c *composer) answer(ctx context.Context, a *account.Account, m *compose.Message, reply *posternv1.Reply) error {
	if !strings.HasPrefix(reply.GetMessage(), "accounts/"+a.ID+"/") {
		return refuseField(c.field+".reply.message", reasonArgumentInvalid, "The message belongs to another account.")
	}
	original, err := c.messages.GetMessage(ctx, &posternv1.GetMessageRequest{Name: reply.GetMessage(), View: posternv1.Message_FULL})
	if err != nil {
		return fmt.Errorf("read the message that is answered: %w", err)
	}
	mode := modeOf(reply.GetMode())
	if mode == compose.Forward {
		for _, part := range original.GetAttachments() {
			m.Attachments = append(m.Attachments, c.forwarded(part))
		}
	}
	o := originalOf(original)
	if reply.GetQuote() || mode == compose.Forward {
		o.HTML = quotable(original, mode)
	}
	m.Answer(o, mode, []string{a.Email, m.From.Address}, reply.GetQuote())
	return nil
}

func modeOf(mode posternv1.Reply_Mode) compose.Mode {
	switch mode {
	case posternv1.Reply_REPLY_ALL:
		return compose.ReplyAll
	case posternv1.Reply_FORWARD:
		return compose.Forward
	default:
		return compose.Reply
	}
}

// forwarded is a part of a message that is passed on.
func (c *composer) forwarded(part *posternv1.Attachment) compose.Attachment {
	name := part.GetName()
	return compose.Attachment{
		Filename: part.GetFilename(), ContentType: part.GetContentType(), ContentID: part.GetContentId(),
		Inline: part.GetDisposition() == string(message.DispositionInline),
		Open:   func(ctx context.Context) (io.ReadCloser, error) { return c.openPart(ctx, name), nil },
	}
}

// quotable is the HTML of a message as it may be part of another: without what acts,
// and without what the one who wrote it is told by when it is shown. Who passes it on
// has its pictures with it, and those that are elsewhere.
func quotable(m *posternv1.Message, mode compose.Mode) string {
	page := m.GetBody().GetHtml()
	if page == "" {
		return ""
	}
	pictures := make(map[string]string)
	if mode == compose.Forward {
		for _, part := range m.GetAttachments() {
			if id := part.GetContentId(); id != "" {
				pictures[id] = "cid:" + id
			}
		}
	}
	return safehtml.Sanitize(page, safehtml.Options{
		Image:       func(id string) string { return pictures[id] },
		BlockRemote: mode != compose.Forward,
		Limit:       maxBody,
	}).HTML
}

// originalOf is a message as one that is answered.
func originalOf(m *posternv1.Message) *compose.Original {
	o := &compose.Original{
		ReplyTo: composeAddresses(m.GetReplyTo()), To: composeAddresses(m.GetTo()), Cc: composeAddresses(m.GetCc()),
		Subject: m.GetSubject(), MessageID: m.GetMessageId(), InReplyTo: m.GetInReplyTo(), References: m.GetReferences(),
		Text: m.GetBody().GetText(),
	}
	if m.GetFrom() != nil {
		o.From = []compose.Address{composeAddress(m.GetFrom())}
	}
	if m.GetDate() != nil {
		o.Date = m.GetDate().AsTime()
	}
	return o
}
