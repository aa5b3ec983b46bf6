package imapwire

import (
	"strings"

	"github.com/emersion/go-imap/v2"
)

// Capability reads the payload of a CAPABILITY response.
func (d *Decoder) Capability() (imap.CapSet, error) {
	return d.capList()
}

// Enabled reads the payload of an ENABLED response (RFC 5161 section 3.2).
func (d *Decoder) Enabled() (imap.CapSet, error) {
	return d.capList()
}

func (d *Decoder) capList() (imap.CapSet, error) {
	caps := make(imap.CapSet)
	for {
		if end, err := d.atEnd(); err != nil || end {
			return caps, err
		}
		if err := d.countElement(); err != nil {
			return caps, err
		}
		name, err := d.Atom()
		if err != nil {
			return caps, err
		}
		addCap(caps, name)
	}
}

// addCap adds a capability in the spelling that go-imap looks for: names do not
// depend on case (RFC 9051 section 7.2.2), its CapSet does.
func addCap(caps imap.CapSet, name string) {
	c := imap.Cap(strings.ToUpper(name))
	switch c {
	case "IMAP4REV1":
		c = imap.CapIMAP4rev1
	case "IMAP4REV2":
		c = imap.CapIMAP4rev2
	}
	caps[c] = struct{}{}
}
