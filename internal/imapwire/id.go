package imapwire

import (
	"strings"

	"github.com/emersion/go-imap/v2"
)

// ID reads the payload of an ID response (RFC 2971 section 3.2). Fields that are
// not in the RFC are skipped; NIL gives a struct without any.
func (d *Decoder) ID() (*imap.IDData, error) {
	data := new(imap.IDData)
	fields := map[string]*string{
		"name": &data.Name, "version": &data.Version, "os": &data.OS, "os-version": &data.OSVersion,
		"vendor": &data.Vendor, "support-url": &data.SupportURL, "address": &data.Address, "date": &data.Date,
		"command": &data.Command, "arguments": &data.Arguments, "environment": &data.Environment,
	}
	key, hasKey := "", false
	err := d.ReadNList(func() error {
		s, err := d.textField()
		if err != nil {
			return err
		}
		if !hasKey {
			key, hasKey = strings.ToLower(s), true
			return nil
		}
		if field, ok := fields[key]; ok {
			*field = s
		}
		hasKey = false
		return nil
	})
	return data, err
}
