package imapwire

import (
	"strings"
	"unicode/utf8"

	"github.com/emersion/go-imap/v2"
)

// ListData is what LIST, LSUB or XLIST says of a mailbox.
type ListData struct {
	imap.ListData
	// RawName is the mailbox's name as the server wrote it.
	RawName string
}

// List reads the payload of a LIST response (RFC 9051 section 7.3.1), or of the
// LSUB and XLIST responses, which have the same form. Items of the extended form
// that are not known are skipped.
func (d *Decoder) List() (*ListData, error) {
	data := new(ListData)
	err := d.ReadNList(func() error {
		b, _, err := d.stringBytes()
		if err == nil && len(b) > 0 {
			data.Attrs = append(data.Attrs, d.attr(b))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if data.Delim, err = d.delimiter(); err != nil {
		return nil, err
	}
	if data.Mailbox, data.RawName, err = d.Mailbox(); err != nil {
		return nil, err
	}
	if c, err := d.next(); err != nil || c != '(' {
		return data, err
	}
	return data, d.ReadList(func() error { return d.listItem(data) })
}

// delimiter reads a hierarchy delimiter. NIL and "" are none.
func (d *Decoder) delimiter() (rune, error) {
	s, ok, err := d.NString()
	if err != nil || !ok || s == "" {
		return 0, err
	}
	r, _ := utf8.DecodeRuneInString(validText(s))
	return r, nil
}

// listItem reads an item of mbox-list-extended (RFC 9051 section 9).
func (d *Decoder) listItem(data *ListData) error {
	tag, err := d.AString()
	if err != nil {
		return err
	}
	switch strings.ToUpper(tag) {
	case "CHILDINFO":
		data.ChildInfo = new(imap.ListDataChildInfo)
		return d.ReadNList(func() error {
			option, err := d.AString()
			if strings.EqualFold(option, "SUBSCRIBED") {
				data.ChildInfo.Subscribed = true
			}
			return err
		})
	case "OLDNAME":
		return d.ReadNList(func() (err error) {
			data.OldName, _, err = d.Mailbox()
			return err
		})
	}
	return d.SkipValue()
}
