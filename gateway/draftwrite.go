package gateway

import (
	"bytes"
	"context"
	"errors"
	"io"
	"regexp"
	"strings"

	"github.com/emersion/go-imap/v2"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/compose"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/message"
)

// maxDraft is the largest draft that is written, attachments included.
const maxDraft = 50 << 20

// writtenDraft is a draft on its way to the server.
type writtenDraft struct {
	*spool
	utf8 bool // there is UTF-8 in its header
}

// Write implements [io.Writer].
func (w *writtenDraft) Write(p []byte) (int, error) {
	if w.received+int64(len(p)) > maxDraft {
		return 0, tooLargeMessage(maxDraft, 0)
	}
	return w.spool.Write(p)
}

// appended is the draft as APPEND takes it.
func (w *writtenDraft) appended(c *imapconn.Conn) (imapconn.AppendMessage, error) {
	m, err := w.message()
	m.Flags = []imap.Flag{imap.FlagDraft, imap.FlagSeen}
	// Elsewhere most servers take it all the same (RFC 6855 section 4).
	m.UTF8 = w.utf8 && c.Enabled(imap.CapUTF8Accept)
	return m, err
}

// write writes a draft as a message with the id in its header. base is what it was
// before, nil for a new one.
func (s *draftService) write(ctx context.Context, a *account.Account, id string, draft, base *posternv1.Draft) (_ *writtenDraft, err error) {
	spool, err := s.spools.open(ctx)
	if err != nil {
		return nil, err
	}
	w := &writtenDraft{spool: spool}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close())
		}
	}()
	if len(draft.GetRaw()) > 0 {
		return w, w.writeRaw(id, draft.GetRaw())
	}
	m, err := s.composer.compose(ctx, a, draft)
	if err != nil {
		return w, err
	}
	m.KeepBcc = true
	if base != nil {
		if compose.IsID(base.GetMessageId()) {
			m.MessageID = base.GetMessageId()
		}
		if draft.GetReply() == nil {
			m.InReplyTo, m.References = onlyIDs(base.GetInReplyTo()), onlyIDs(base.GetReferences())
		}
	}
	if _, err := io.WriteString(w, draftHeader+": "+id+"\r\n"); err != nil {
		return w, err
	}
	info, err := m.Write(ctx, w)
	w.utf8 = info.UTF8
	return w, err
}

func onlyIDs(list []string) (ids []string) {
	for _, id := range list {
		if compose.IsID(id) {
			ids = append(ids, id)
		}
	}
	return ids
}

var headerLine = regexp.MustCompile(`^[!-9;-~]+[ \t]*:`)

// writeRaw writes a message as it was given, but for its line ends and an id that
// it has from elsewhere.
func (w *writtenDraft) writeRaw(id string, raw []byte) error {
	switch {
	case bytes.IndexByte(raw, 0) >= 0:
		return refuseField("draft.raw", reasonArgumentInvalid, "The message has a NUL, which IMAP cannot carry.")
	case !headerLine.Match(raw):
		return refuseField("draft.raw", reasonArgumentInvalid, "The message does not begin with a header such as \"Subject: …\".")
	}
	// A lone CR is the end of a line to some readers, who would see a header there
	// that is none here.
	raw, err := io.ReadAll(compose.CRLF(bytes.NewReader(raw)))
	if err != nil {
		return err
	}
	header, body, separated := bytes.Cut(raw, []byte("\r\n\r\n"))
	header = withoutField(header, draftHeader)
	for _, part := range [][]byte{[]byte(draftHeader + ": " + id + "\r\n"), header, []byte("\r\n\r\n"), body} {
		if !separated && len(part) == 4 {
			part = []byte("\r\n")
		}
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	w.utf8 = bytes.ContainsFunc(header, func(r rune) bool { return r >= 0x80 })
	return nil
}

// withoutField removes a field from a header, with its continuation lines.
func withoutField(header []byte, name string) []byte {
	var kept [][]byte
	removing := false
	for line := range bytes.SplitSeq(header, []byte("\r\n")) {
		if len(line) == 0 || line[0] != ' ' && line[0] != '\t' {
			field, _, _ := strings.Cut(string(line), ":")
			removing = strings.EqualFold(strings.TrimSpace(field), name)
		}
		if !removing {
			kept = append(kept, line)
		}
	}
	return bytes.Join(kept, []byte("\r\n"))
}

// forgetMadeText drops a text that was made of the HTML, so that it is made again of
// HTML that is new.
func forgetMadeText(draft, base *posternv1.Draft) {
	if base.GetHtml() == "" || draft.GetHtml() == base.GetHtml() || draft.GetText() != base.GetText() {
		return
	}
	made, _, err := message.HTMLToText(strings.NewReader(base.GetHtml()), compose.MaxBody)
	if err == nil && sameText(made, base.GetText()) {
		draft.Text = ""
	}
}

func sameText(a, b string) bool {
	plain := func(s string) string { return strings.TrimSpace(strings.ReplaceAll(s, "\r\n", "\n")) }
	return plain(a) == plain(b)
}
