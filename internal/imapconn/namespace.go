package imapconn

import (
	"context"
	"strings"

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

// personal is the namespace of the user's own mailboxes: the first that the
// server names.
type personal struct {
	prefix    string
	delimiter rune
}

// personalCommand asks for the personal namespace. A server that refuses or
// tells nonsense is not asked again.
func (c *Conn) personalCommand() *command {
	c.personal = &personal{}
	return &command{name: "NAMESPACE", data: exactly("NAMESPACE", func(imapwire.Response) error {
		data, err := c.dec.Namespace()
		if err == nil && len(data.Personal) > 0 {
			c.personal = &personal{data.Personal[0].Prefix, data.Personal[0].Delim}
		}
		return err
	})}
}

// Prefix asks for the prefix of the user's own mailboxes and for their hierarchy
// delimiter, each of which is often empty. Where the server has no namespaces the
// delimiter is that of LIST (RFC 9051 section 6.3.9).
func (c *Conn) Prefix(ctx context.Context) (prefix string, delimiter rune, err error) {
	if c.personal == nil && c.Has(imap.CapNamespace) {
		if err := c.run(ctx, c.personalCommand()); err != nil {
			return "", 0, err
		}
	}
	if c.personal != nil && c.personal.delimiter != 0 {
		return c.personal.prefix, c.personal.delimiter, nil
	}
	l := &listing{c: c, byName: make(map[string]int)}
	ask := &command{name: "LIST", data: l.read, encode: func(e *imapwire.Encoder) {
		e.Atom("LIST").SP().String("").SP().String("")
	}}
	if err := c.run(ctx, ask); err != nil {
		return "", 0, err
	}
	if c.personal != nil {
		prefix = c.personal.prefix
	}
	if len(l.found) > 0 {
		delimiter = l.found[0].Delim
	}
	return prefix, delimiter, nil
}

// prefixOf is the part of a mailbox's name that is the personal namespace's. A
// prefix that is INBOX and a delimiter is written in any case, as INBOX is; what
// would look like INBOX without it keeps it.
func (c *Conn) prefixOf(d *ListData) string {
	if c.personal == nil || c.personal.prefix == "" {
		return ""
	}
	name, n := strings.TrimPrefix(d.Name(), rawMark), len(c.personal.prefix)
	if len(name) <= n || !strings.EqualFold(name[:n], c.personal.prefix) || strings.EqualFold(name[n:], "INBOX") {
		return ""
	}
	isInbox := strings.EqualFold(strings.TrimSuffix(c.personal.prefix, string(d.Delim)), "INBOX")
	if name[:n] != c.personal.prefix && !isInbox {
		return ""
	}
	return name[:n]
}
