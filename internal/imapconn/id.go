package imapconn

import (
	"context"
	"errors"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/imapwire"
)

var defaultID = ClientID{Name: "Postern", Vendor: "Postern", SupportURL: "https://github.com/postern-mail/postern"}

// introduce sends ID and ENABLE in one write. Neither is worth failing for.
func (c *Conn) introduce(ctx context.Context, cfg *Config) error {
	var cmds []*command
	if c.Has(imap.CapID) {
		cmds = append(cmds, c.idCommand(cfg.ID))
	}
	wanted := c.enableable(cfg)
	var enable *command
	if len(wanted) > 0 {
		enable = c.enableCommand(wanted)
		cmds = append(cmds, enable)
	}
	if len(cmds) == 0 {
		return nil
	}
	if err := c.run(ctx, cmds...); err != nil {
		return err
	}
	if enable == nil || enable.err() == nil || len(wanted) < 2 {
		return nil
	}
	// A server that chokes on one name refuses them all.
	for _, one := range wanted {
		if err := c.run(ctx, c.enableCommand([]imap.Cap{one})); err != nil {
			return err
		}
	}
	return nil
}

// idCommand returns the ID command (RFC 2971).
func (c *Conn) idCommand(id ClientID) *command {
	if id == (ClientID{}) {
		id = defaultID
	}
	read := exactly("ID", func(imapwire.Response) error {
		data, err := c.dec.ID()
		if err == nil {
			c.id = data
		}
		return err
	})
	return &command{name: "ID", data: read, encode: func(e *imapwire.Encoder) {
		fields := []string{}
		for _, f := range [][2]string{
			{"name", id.Name}, {"version", id.Version}, {"vendor", id.Vendor}, {"support-url", id.SupportURL},
		} {
			if f[1] != "" {
				fields = append(fields, f[0], f[1])
			}
		}
		e.Atom("ID").SP().List(len(fields), func(i int) { e.String(fields[i]) })
	}}
}

// ID introduces the client and returns what the server tells of itself, as
// ServerID does from then on. Dial has done so already where the server has ID.
func (c *Conn) ID(ctx context.Context, id ClientID) (*imap.IDData, error) {
	c.id = nil
	if _, err := c.do(ctx, c.idCommand(id)); err != nil {
		return nil, err
	}
	if c.id == nil {
		return nil, &ProtocolError{Command: "ID", Err: errNoData}
	}
	return c.id, nil
}

// errNoData says that a command succeeded without the answer that it is for.
var errNoData = errors.New("the server sent no data")
