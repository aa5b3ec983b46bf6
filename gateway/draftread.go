package gateway

import (
	"bytes"
	"context"
	"io"
	"strings"

	"github.com/emersion/go-imap/v2"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/compose"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/message"
)

// openDraft is the folder for drafts, open on a connection.
type openDraft struct {
	account *account.Account
	folder  folder.Folder
	conn    *imapconn.Conn
}

// placement is where a version of a draft lies.
func (d openDraft) placement(v draftVersion) folder.MessageID {
	return folder.MessageID{Folder: d.folder.Key, UIDValidity: d.conn.SelectData().UIDValidity, UID: v.uid}
}

// read reads a version of a draft, with at most so much of its text and HTML.
func (d openDraft) read(ctx context.Context, v draftVersion, bodyBytes int) (*posternv1.Draft, error) {
	want := wanted{view: posternv1.Message_FULL, text: true, html: true, bodyBytes: bodyBytes}
	a := pinned(d.account, d.conn.Caps())
	m, err := fetchOne(ctx, d.conn, v.uid, viewOptions(want.view, nil))
	if err != nil {
		return nil, err
	}
	at := placed{account: a, folder: d.folder, id: d.placement(v)}
	full, err := readFull(ctx, d.conn, at, m, want)
	if err != nil {
		return nil, err
	}
	draft := draftProto(a.ID, v, at.id, full)
	draft.Text, draft.Html, draft.Truncated = full.GetBody().GetText(), full.GetBody().GetHtml(), full.GetBody().GetTruncated()
	for _, h := range full.GetHeaders() {
		if compose.IsFree(h.GetName()) && !strings.EqualFold(h.GetName(), draftHeader) {
			draft.Headers = append(draft.Headers, h)
		}
	}
	return draft, d.readCalendar(ctx, v, draft)
}

// whole reads the newest version of a draft as it lies in the mailbox, and where that
// is.
func (s *draftService) whole(ctx context.Context, a *account.Account, id string) (raw []byte, at folder.MessageID, err error) {
	f, err := s.folderFor(ctx, a, false)
	if err != nil {
		return nil, at, err
	}
	err = s.in(ctx, a, f, readOnlyMailbox, func(d openDraft) error {
		v, err := d.current(ctx, id)
		if err != nil {
			return err
		}
		opts := &imapconn.FetchOptions{}
		opts.RFC822Size = true
		m, err := fetchOne(ctx, d.conn, v.uid, opts)
		if err != nil {
			return err
		}
		if m.Size > maxDraft {
			return tooLargeMessage(maxDraft, m.Size)
		}
		all := &imap.FetchItemBodySection{Peek: true}
		opts.BodySection, opts.MaxSection = []*imap.FetchItemBodySection{all}, maxDraft
		if m, err = fetchOne(ctx, d.conn, v.uid, opts); err != nil {
			return err
		}
		raw, _ = m.Section(all)
		at = d.placement(v)
		return nil
	})
	return raw, at, err
}

// draftProto is a draft as lists show it.
func draftProto(accountID string, v draftVersion, id folder.MessageID, m *posternv1.Message) *posternv1.Draft {
	draft := &posternv1.Draft{
		Name: "accounts/" + accountID + "/drafts/" + v.id, Message: m.GetName(),
		From: m.GetFrom(), To: m.GetTo(), Cc: m.GetCc(), Bcc: m.GetBcc(), ReplyTo: m.GetReplyTo(), Subject: m.GetSubject(),
		MessageId: m.GetMessageId(), InReplyTo: m.GetInReplyTo(), References: m.GetReferences(),
		Size: m.GetSize(), UpdateTime: m.GetInternalDate(), Etag: draftEtag(id.UIDValidity, id.UID),
	}
	for _, part := range m.GetAttachments() {
		draft.Attachments = append(draft.Attachments, &posternv1.OutgoingAttachment{
			Filename: part.GetFilename(), ContentType: part.GetContentType(), ContentId: part.GetContentId(),
			Inline: part.GetDisposition() == string(message.DispositionInline),
			Source: &posternv1.OutgoingAttachment_Attachment{Attachment: part.GetName()},
		})
	}
	return draft
}

// maxCalendar bounds the calendar object that is read of a draft, as that of one
// that is given.
const maxCalendar = 1 << 20

// readCalendar makes the calendar object of a draft, which is an alternative form
// of its body, what it was when it was given.
func (d openDraft) readCalendar(ctx context.Context, v draftVersion, draft *posternv1.Draft) error {
	for i, part := range draft.GetAttachments() {
		if part.GetContentType() != "text/calendar" || part.GetFilename() != "" {
			continue
		}
		_, path, _ := strings.Cut(part.GetAttachment(), "/attachments/")
		section := &imap.FetchItemBodySection{Part: partNumbers(path), Peek: true}
		mime := &imap.FetchItemBodySection{Part: partNumbers(path), Specifier: imap.PartSpecifierMIME, Peek: true}
		opts := &imapconn.FetchOptions{MaxSection: 2 * maxCalendar}
		opts.RFC822Size, opts.BodySection = true, []*imap.FetchItemBodySection{mime, section}
		m, err := fetchOne(ctx, d.conn, v.uid, opts)
		if err != nil {
			return err
		}
		block, _ := m.Section(mime)
		content, _ := m.Section(section)
		header := message.ParseHeader(block)
		decoded := message.DecodePart(bytes.NewReader(content), strings.ToLower(strings.TrimSpace(header.Get("Content-Transfer-Encoding"))))
		object, err := io.ReadAll(io.LimitReader(decoded, maxCalendar))
		if err != nil {
			return err
		}
		parsed, ok, err := message.ReadCalendar(bytes.NewReader(object), &message.Part{Type: "text/calendar", Params: map[string]string{"charset": "utf-8"}})
		if err != nil || !ok {
			return err
		}
		draft.Calendar = &posternv1.CalendarObject{Method: parsed.Method, Content: string(bytes.ToValidUTF8(object, []byte("\uFFFD")))}
		draft.Attachments = append(draft.Attachments[:i:i], draft.Attachments[i+1:]...)
		return nil
	}
	return nil
}
