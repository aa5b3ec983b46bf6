package gateway

import (
	"bytes"
	"context"
	"io"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/message"
)

// maxWalked bounds the texts that are kept while a message is read whole, since
// which of them are its body is known only at the end.
const maxWalked = 8

// walkMessage reads a message to its end, for servers that do not tell how it
// is made up.
func walkMessage(ctx context.Context, c *imapconn.Conn, uid imap.UID, want wanted) (message.Summary, excerpts, error) {
	var summary message.Summary
	found := make(excerpts)
	texts := 0
	keep := func(p *message.Part, body io.Reader, most int64) error {
		var kept bytes.Buffer
		n, err := io.Copy(&kept, io.LimitReader(body, most))
		found[p.Path] = excerpt{data: kept.Bytes(), cut: n >= most}
		return err
	}
	reports := make(map[message.Kind]bool)
	err := fetchRaw(ctx, c, uid, func(raw *imapconn.BodySection) error {
		walked, err := message.Walk(raw.Literal, message.DefaultLimits, func(p *message.Part, body io.Reader) error {
			switch kind := p.Kind(); {
			case (kind == message.KindText || kind == message.KindHTML) && texts < maxWalked:
				texts++
				return keep(p, body, int64(want.bodyBytes)*encodedPerByte)
			case isReport(kind) && !reports[kind]:
				reports[kind] = true
				return keep(p, body, encodedReport)
			}
			return nil
		})
		if err != nil {
			return err
		}
		summary = walked.Summary()
		return nil
	})
	return summary, found, err
}
