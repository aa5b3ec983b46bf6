package imapwire

import (
	"strings"

	"github.com/emersion/go-imap/v2"
)

// VanishedData is what VANISHED says (RFC 7162 section 3.2.10).
type VanishedData struct {
	// Earlier says that the messages went before the mailbox was selected or
	// the FETCH was sent, so sequence numbers do not change now.
	Earlier bool
	// UIDs may name messages that never existed, and be as wide as 1:4294967295.
	UIDs imap.UIDSet
}

// Vanished reads the payload of a VANISHED response.
func (d *Decoder) Vanished() (*VanishedData, error) {
	data := new(VanishedData)
	c, err := d.next()
	if err != nil {
		return nil, err
	}
	if c == '(' {
		err := d.ReadList(func() error {
			word, err := d.Atom()
			data.Earlier = data.Earlier || strings.EqualFold(word, "EARLIER")
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	if data.UIDs, err = d.uidSet(); err != nil {
		return nil, err
	}
	return data, nil
}
