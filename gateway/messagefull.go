package gateway

import (
	"context"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/message"
)

// readFull completes the view FULL of a message of which the metadata and the
// header were fetched: it fetches those parts that are the body, or a report. A
// structure that the server could not tell is found by reading the message
// itself.
func readFull(ctx context.Context, c *imapconn.Conn, p placed, m *imapconn.FetchMessage, want wanted) (*posternv1.Message, error) {
	block, told := m.Section(headerSection)
	if m.Unreadable && !told {
		// Reading it would cost the connection. It can still be downloaded, perhaps.
		return minimalMessage(p.account.ID, p.id, m), nil
	}
	header := message.ParseHeader(block)
	if slices.ContainsFunc(m.Sections, func(s imapconn.Section) bool { return s.Truncated }) {
		header.Defects = append(header.Defects, message.DefectHeaderTruncated)
	}
	s := message.FromEnvelope(m.Envelope, m.BodyStructure)
	var found excerpts
	var err error
	missing := slices.Contains(s.Defects, message.DefectStructureMissing)
	if missing || hollow(&s, m.Size-int64(len(block))) {
		s, found, err = walkMessage(ctx, c, p.id.UID, want)
		if missing {
			s.Defects = append(s.Defects, message.DefectStructureMissing)
		}
	} else {
		found, err = fetchExcerpts(ctx, c, p.id.UID, wantedParts(&s, want))
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
	var complete bool
	if out.Attachments, complete = attachmentsWhole(out.GetName(), s.Attachments); !complete {
		s.Defects = append(s.Defects, message.DefectTooManyParts)
	}
	// As in lists: what is guessed of the header must not change what the message
	// is.
	identity, err := account.ReadEnvelopes(ctx, c, []*imapconn.FetchMessage{m})
	if err != nil {
		return nil, err
	}
	out.EmailId = p.account.EmailID(m, identity[m.UID])
	out.Headers = headersProto(header)
	out.Authentication = authenticationProto(header.Authentication())
	b := bodyReader{summary: &s, found: found, want: want, messageName: out.GetName()}
	if err := b.read(out); err != nil {
		return nil, err
	}
	if err := setSnippet(out, m, &s, found); err != nil {
		return nil, err
	}
	if err := readReports(out, &s, found); err != nil {
		return nil, err
	}
	if m.Unreadable {
		s.Defects = append(s.Defects, message.DefectUnreadable)
	}
	out.Defects = defectsProto(header.Defects, envelopeDefects, s.Defects, b.defects)
	return out, nil
}

// hollow reports a structure of parts that are all empty, while the message is
// not: some servers make up an empty part where the delimiter of a multipart
// never occurs, and lose what is there. rest is the message without its header.
func hollow(s *message.Summary, rest int64) bool {
	var empty func(p *message.Part) bool
	empty = func(p *message.Part) bool {
		if p.IsMultipart() {
			return !slices.ContainsFunc(p.Children, func(c *message.Part) bool { return !empty(c) })
		}
		return p.Size == 0
	}
	return s.Structure != nil && s.Structure.IsMultipart() && rest > 0 && empty(s.Structure)
}

// setSnippet prefers the server's preview, as in lists.
func setSnippet(out *posternv1.Message, m *imapconn.FetchMessage, s *message.Summary, found excerpts) error {
	body := s.Body()
	if preview, good := goodPreview(m, body); good {
		out.Snippet = message.Snippet(preview)
		return nil
	}
	for _, p := range []*message.Part{s.Text, s.HTML} {
		if p == nil {
			continue
		}
		if kept, ok := found[p.Path]; ok {
			var err error
			out.Snippet, err = snippetOf(p, kept.data)
			return err
		}
	}
	return nil
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

// wantedPart is a part to read, and how much of it.
type wantedPart struct {
	*message.Part

	most int64
}

// encodedPerByte bounds how much longer the encoded form of a text is than its
// UTF-8: quoted-printable takes three bytes for one, and line ends.
const encodedPerByte = 4

// encodedReport is how much of a report is read: base64 and line ends.
const encodedReport = message.MaxReport * 3 / 2

// wantedParts are the parts to read: the text if it is wanted, the HTML if it is
// wanted or has to stand in for the text, and what programs made for programs.
func wantedParts(s *message.Summary, want wanted) []wantedPart {
	var parts []wantedPart
	most := int64(want.bodyBytes) * encodedPerByte
	html := want.html || want.sanitized
	if s.Text != nil && (want.text || html && s.HTML == nil) {
		parts = append(parts, wantedPart{s.Text, most})
	}
	if s.HTML != nil && (html || want.text && s.Text == nil) {
		parts = append(parts, wantedPart{s.HTML, most})
	}
	if want.reports {
		for _, p := range reportParts(s.Attachments) {
			parts = append(parts, wantedPart{p, encodedReport})
		}
	}
	return parts
}

// excerpts are the beginnings of parts by their paths, encoded as they are in
// the message.
type excerpts map[string]excerpt

type excerpt struct {
	data []byte
	// cut says that the part is longer than data.
	cut bool
}

// fetchExcerpts fetches the beginnings of the parts in one round trip.
func fetchExcerpts(ctx context.Context, c *imapconn.Conn, uid imap.UID, parts []wantedPart) (excerpts, error) {
	if len(parts) == 0 {
		return nil, nil
	}
	opts := &imapconn.FetchOptions{}
	for _, p := range parts {
		opts.MaxSection = max(opts.MaxSection, p.most)
		opts.BodySection = append(opts.BodySection, &imap.FetchItemBodySection{
			Part: partNumbers(p.Path), Peek: true, Partial: &imap.SectionPartial{Offset: 0, Size: p.most},
		})
	}
	opts.RFC822Size = true // tells the answer from news of flags
	m, err := fetchOne(ctx, c, uid, opts)
	if err != nil {
		return nil, err
	}
	found := make(excerpts, len(parts))
	for i, p := range parts {
		if data, ok := m.Section(opts.BodySection[i]); ok {
			found[p.Path] = excerpt{data: data, cut: int64(len(data)) >= p.most}
		}
	}
	return found, nil
}
