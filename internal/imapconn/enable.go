package imapconn

import (
	"context"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/imapwire"
)

// enableable returns what the Config wants and the server has.
func (c *Conn) enableable(cfg *Config) []imap.Cap {
	if !c.Has(imap.CapEnable) {
		return nil
	}
	wanted := cfg.Enable
	if wanted == nil {
		wanted = DefaultEnable()
	}
	var out []imap.Cap
	for _, w := range wanted {
		if c.Has(w) {
			out = append(out, w)
		}
	}
	return out
}

// enableCommand returns the ENABLE command (RFC 5161 section 3.1).
func (c *Conn) enableCommand(caps []imap.Cap) *command {
	read := exactly("ENABLED", func(imapwire.Response) error {
		enabled, err := c.dec.Enabled()
		if err == nil {
			c.setEnabled(enabled)
		}
		return err
	})
	return &command{name: "ENABLE", data: read, encode: func(e *imapwire.Encoder) {
		e.Atom("ENABLE")
		for _, name := range caps {
			e.SP().Atom(string(name))
		}
	}}
}

// Enable switches on extensions that the server has (RFC 5161). Dial has done
// so already with those of its Config. See Enabled for the outcome.
func (c *Conn) Enable(ctx context.Context, caps ...imap.Cap) error {
	for _, name := range caps {
		if !c.Has(name) {
			return &CapabilityError{Command: "ENABLE", Cap: name}
		}
	}
	if len(caps) == 0 {
		return nil
	}
	_, err := c.do(ctx, c.enableCommand(caps))
	return err
}

// enablable pairs the extensions that make a difference to this client with
// their flags.
var enablable = []struct {
	name imap.Cap
	flag extensions
}{
	{imap.CapCondStore, enabledCondStore},
	{imap.CapQResync, enabledQResync | enabledCondStore}, // RFC 7162 section 3.2.3
	{imap.CapUTF8Accept, enabledUTF8},
	{imap.CapIMAP4rev2, enabledIMAP4rev2 | enabledUTF8}, // RFC 9051 section 5.1
}

func (c *Conn) setEnabled(caps imap.CapSet) {
	for _, x := range enablable {
		if _, ok := caps[x.name]; ok {
			c.enabled |= x.flag
		}
	}
	c.dec.UTF8 = c.enabled&enabledUTF8 != 0
}

// Enabled reports whether CONDSTORE, QRESYNC, UTF8=ACCEPT or IMAP4rev2 is
// switched on.
func (c *Conn) Enabled(name imap.Cap) bool {
	for _, x := range enablable {
		if x.name == name {
			return c.enabled&x.flag == x.flag
		}
	}
	return false
}
