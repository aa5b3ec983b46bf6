package gateway

import (
	"bytes"
	"io"
	"strings"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/message"
	"github.com/postern-mail/postern/internal/message/safehtml"
)

// bodyReader makes the body of an answer out of the parts that were fetched.
type bodyReader struct {
	summary     *message.Summary
	found       excerpts
	want        wanted
	messageName string

	body    *posternv1.Body
	defects []message.Defect
}

// read sets the body, and the security of a text that holds its own.
func (b *bodyReader) read(out *posternv1.Message) error {
	b.body = &posternv1.Body{}
	out.Body = b.body
	s, want := b.summary, b.want
	if s.HTML != nil && (want.html || want.sanitized) {
		page, err := b.decode(s.HTML, message.ReadHTML)
		if err != nil {
			return err
		}
		if want.html {
			b.body.Html = page
		}
		if want.sanitized {
			b.sanitize(page)
		}
	}
	var err error
	switch {
	case s.Text != nil && (want.text || s.HTML == nil):
		b.body.Text, err = b.decode(s.Text, message.ReadText)
	case s.HTML != nil && want.text:
		b.body.Text, err = b.decode(s.HTML, message.ReadHTMLAsText)
	}
	if out.GetSecurity() == nil {
		out.Security = securityProto(message.InlineSecurity(b.body.GetText()))
	}
	return err
}

func (b *bodyReader) decode(p *message.Part, how func(io.Reader, *message.Part, int) (message.Text, error)) (string, error) {
	part, ok := b.found[p.Path]
	if !ok {
		return "", nil
	}
	text, err := how(bytes.NewReader(part.data), p, b.want.bodyBytes)
	b.body.Truncated = b.body.GetTruncated() || text.Truncated || part.cut
	b.defects = append(b.defects, text.Defects...)
	return text.Content, err
}

// sanitize makes the HTML safe to show, with its inline images at the paths of
// their downloads.
func (b *bodyReader) sanitize(page string) {
	images := make(map[string]string)
	for _, p := range b.summary.Attachments {
		if _, taken := images[p.ContentID]; p.ContentID != "" && !taken && strings.HasPrefix(p.Type, "image/") {
			images[p.ContentID] = "/v1/" + attachmentName(b.messageName, p) + ":download"
		}
	}
	safe := safehtml.Sanitize(page, safehtml.Options{
		Image:       func(id string) string { return images[id] },
		BlockRemote: b.want.blockRemote,
		Limit:       b.want.bodyBytes,
	})
	b.body.SanitizedHtml = safe.HTML
	b.body.RemoteImages = safe.Remote
	b.body.Truncated = b.body.GetTruncated() || safe.Truncated
}
