package gateway

import (
	"bytes"
	"context"
	"slices"

	"github.com/emersion/go-imap/v2"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/message"
)

// How much of a body is read for its snippet: as it is encoded, and of its text.
// HTML begins with styles.
const (
	snippetPlain = 2 << 10
	snippetHTML  = 16 << 10
	snippetText  = 4 << 10
)

// snippetRound bounds the commands that are in flight together.
const snippetRound = 16

// goodPreview is the preview that the server gave, if it can be believed.
func goodPreview(m *imapconn.FetchMessage, body *message.Part) (string, bool) {
	if m.Preview == nil {
		return "", body == nil
	}
	return *m.Preview, message.PreviewIsGood(*m.Preview, body)
}

// snippets are the messages of a list whose snippet is to be made of their
// beginnings, because the server has no PREVIEW (RFC 8970) or one that does not
// know the charset.
type snippets struct {
	// byPart has the messages by the part to read and its type, which are the
	// same for nearly all.
	byPart map[snippetPart]imap.UIDSet
	wanted map[imap.UID]unreadMessage
}

type snippetPart struct {
	path string
	html bool
}

type unreadMessage struct {
	body *message.Part
	out  *posternv1.Message
}

func (s *snippets) add(uid imap.UID, body *message.Part, out *posternv1.Message) {
	if s.byPart == nil {
		s.byPart = make(map[snippetPart]imap.UIDSet)
		s.wanted = make(map[imap.UID]unreadMessage)
	}
	part := snippetPart{path: body.Path, html: body.Type == "text/html"}
	set := s.byPart[part]
	set.AddNum(uid)
	s.byPart[part] = set
	s.wanted[uid] = unreadMessage{body: body, out: out}
}

// read fetches the beginnings, in one round trip if the messages are not built
// in too many ways, and sets the snippets.
func (s *snippets) read(ctx context.Context, c *imapconn.Conn) error {
	var requests []imapconn.FetchRequest
	for part, set := range s.byPart {
		opts := &imapconn.FetchOptions{MaxSection: snippetHTML}
		opts.BodySection = []*imap.FetchItemBodySection{part.section()}
		requests = append(requests, imapconn.FetchRequest{Set: set, Options: opts})
	}
	for round := range slices.Chunk(requests, snippetRound) {
		err := c.FetchAll(ctx, round, func(m *imapconn.FetchMessage) error {
			w, ok := s.wanted[m.UID]
			if !ok || len(m.Sections) == 0 {
				return nil
			}
			var err error
			w.out.Snippet, err = snippetOf(w.body, m.Sections[0].Data)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (p snippetPart) section() *imap.FetchItemBodySection {
	size := int64(snippetPlain)
	if p.html {
		size = snippetHTML
	}
	return &imap.FetchItemBodySection{
		Part: partNumbers(p.path), Peek: true, Partial: &imap.SectionPartial{Offset: 0, Size: size},
	}
}

// snippetOf makes a snippet of the beginning of a body.
func snippetOf(body *message.Part, encoded []byte) (string, error) {
	read := message.ReadText
	if body.Type == "text/html" {
		read = message.ReadHTMLAsText
	}
	text, err := read(bytes.NewReader(encoded), body, snippetText)
	return message.Snippet(text.Content), err
}
