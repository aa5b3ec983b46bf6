package imapconn

import (
	"context"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/imapwire"
)

// Namespace asks for the prefixes under which the user's mailboxes, other
// users' and shared ones are (RFC 9051 section 6.3.10). It fails without the
// capability.
func (c *Conn) Namespace(ctx context.Context) (*imap.NamespaceData, error) {
	if c.usable() == nil && !c.Has(imap.CapNamespace) {
		return nil, &CapabilityError{Command: "NAMESPACE", Cap: imap.CapNamespace}
	}
	var data *imap.NamespaceData
	read := exactly("NAMESPACE", func(imapwire.Response) (err error) {
		data, err = c.dec.Namespace()
		return err
	})
	if _, err := c.do(ctx, &command{name: "NAMESPACE", data: read}); err != nil {
		return nil, err
	}
	if data == nil {
		return nil, &ProtocolError{Command: "NAMESPACE", Err: errNoData}
	}
	return data, nil
}
