package gateway

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/message"
)

// encodedPerByte bounds how much longer the encoded form of a text is than its
// UTF-8: quoted-printable takes three bytes for one, and line ends.
const encodedPerByte = 4

// bodies are the parts of a message that a person reads, encoded as they are
// in the message.
type bodies map[string]encodedPart

// encodedPart is the beginning of a part.
type encodedPart struct {
	data []byte
	// cut says that the part is longer than data.
	cut bool
}

// readFull completes the view FULL of a message of which the metadata and the
// header were fetched: it fetches those parts that are the body. A structure
// that the server could not tell is found by reading the message itself.
func readFull(ctx context.Context, c *imapconn.Conn, p placed, m *imapconn.FetchMessage, want wanted) (*posternv1.Message, error) {
	block, _ := m.Section(headerSection)
	header := message.ParseHeader(block)
	if slices.ContainsFunc(m.Sections, func(s imapconn.Section) bool { return s.Truncated }) {
		header.Defects = append(header.Defects, message.DefectHeaderTruncated)
	}
	s := message.FromEnvelope(m.Envelope, m.BodyStructure)
	var found bodies
	var err error
	if slices.Contains(s.Defects, message.DefectStructureMissing) {
		s, found, err = walkMessage(ctx, c, p.id.UID, want)
	} else {
		found, err = fetchBodies(ctx, c, p.id.UID, &s, want)
	}
	if err != nil {
		return nil, err
	}
	// The header has all of what ENVELOPE has, and more.
	envelope, envelopeDefects := header.Envelope()
	if len(header.Fields) > 0 {
		s.Envelope = envelope
	}
	out := minimalMessage(p.account.ID, p.id, m)
	describe(out, &s)
	out.EmailId = p.account.EmailID(m, &s.Envelope)
	out.Headers = headersProto(header)
	body, text, bodyDefects, err := readBody(&s, found, want)
	if err != nil {
		return nil, err
	}
	out.Body = body
	switch {
	case m.Preview != nil && *m.Preview != "":
		out.Snippet = message.Snippet(*m.Preview)
	default:
		out.Snippet = message.Snippet(text)
	}
	out.Defects = defectsProto(header.Defects, envelopeDefects, s.Defects, bodyDefects)
	return out, nil
}

// bodyParts are the parts to read: the text if it is wanted, and the HTML if
// it is wanted or has to stand in for the text.
func bodyParts(s *message.Summary, want wanted) []*message.Part {
	var parts []*message.Part
	if s.Text != nil && (want.text || s.HTML == nil) {
		parts = append(parts, s.Text)
	}
	if s.HTML != nil && (want.html || s.Text == nil) {
		parts = append(parts, s.HTML)
	}
	return parts
}

// fetchBodies fetches the beginnings of the parts in one round trip.
func fetchBodies(ctx context.Context, c *imapconn.Conn, uid imap.UID, s *message.Summary, want wanted) (bodies, error) {
	parts := bodyParts(s, want)
	if len(parts) == 0 || !want.text && !want.html {
		return nil, nil
	}
	most := int64(want.bodyBytes) * encodedPerByte
	opts := &imapconn.FetchOptions{MaxSection: most}
	sections := make([]*imap.FetchItemBodySection, len(parts))
	for i, part := range parts {
		sections[i] = &imap.FetchItemBodySection{
			Part: partNumbers(part.Path), Peek: true, Partial: &imap.SectionPartial{Offset: 0, Size: most},
		}
	}
	opts.BodySection = sections
	opts.RFC822Size = true // tells the answer from news of flags
	m, err := fetchOne(ctx, c, uid, opts)
	if err != nil {
		return nil, err
	}
	found := make(bodies)
	for i, part := range parts {
		if data, ok := m.Section(sections[i]); ok {
			found[part.Path] = encodedPart{data: data, cut: int64(len(data)) >= most}
		}
	}
	return found, nil
}

// maxWalked bounds the texts that are kept while a message is read whole, since
// which of them are its body is known only at the end.
const maxWalked = 8

// walkMessage reads a message to its end, for servers that do not tell how it
// is made up.
func walkMessage(ctx context.Context, c *imapconn.Conn, uid imap.UID, want wanted) (message.Summary, bodies, error) {
	most := int64(want.bodyBytes) * encodedPerByte
	var summary message.Summary
	found := make(bodies)
	err := fetchRaw(ctx, c, uid, func(raw *imapconn.BodySection) error {
		walked, err := message.Walk(raw.Literal, message.DefaultLimits, func(p *message.Part, body io.Reader) error {
			if p.Type != "text/plain" && p.Type != "text/html" || len(found) >= maxWalked {
				return nil
			}
			var kept bytes.Buffer
			n, err := io.Copy(&kept, io.LimitReader(body, most))
			found[p.Path] = encodedPart{data: kept.Bytes(), cut: n >= most}
			return err
		})
		if err != nil {
			return err
		}
		summary = walked.Summary()
		summary.Defects = append(summary.Defects, message.DefectStructureMissing)
		return nil
	})
	return summary, found, err
}

// readBody decodes the parts that were fetched. text is what a snippet can be
// made from.
func readBody(s *message.Summary, found bodies, want wanted) (body *posternv1.Body, text string, defects []message.Defect, err error) {
	body = &posternv1.Body{}
	read := func(p *message.Part, how func(io.Reader, *message.Part, int) (message.Text, error)) string {
		part, ok := found[p.Path]
		if !ok || err != nil {
			return ""
		}
		var t message.Text
		t, err = how(bytes.NewReader(part.data), p, want.bodyBytes)
		body.Truncated = body.Truncated || t.Truncated || part.cut
		defects = append(defects, t.Defects...)
		return t.Content
	}
	if s.HTML != nil && want.html {
		body.Html = read(s.HTML, message.ReadHTML)
	}
	switch {
	case s.Text != nil && (want.text || s.HTML == nil):
		text = read(s.Text, message.ReadText)
	case s.HTML != nil && want.text:
		text = read(s.HTML, message.ReadHTMLAsText)
	}
	if want.text || s.HTML == nil {
		body.Text = text
	}
	return body, text, defects, err
}

// partNumbers reads a path such as "1.2". The body of a message that is no
// multipart is part 1.
func partNumbers(path string) []int {
	var numbers []int
	for piece := range strings.SplitSeq(path, ".") {
		n := 0
		for _, d := range piece {
			n = n*10 + int(d-'0')
		}
		numbers = append(numbers, n)
	}
	return numbers
}
