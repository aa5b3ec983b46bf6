package imapwire

import (
	"strings"

	"github.com/emersion/go-imap/v2"
)

// QuotaData is what QUOTA says of a quota root (RFC 9208 section 4.2.1).
type QuotaData struct {
	Root      string
	Resources map[imap.QuotaResourceType]QuotaResource
}

// QuotaResource is the use and the limit of a resource. The unit of STORAGE is
// 1,024 bytes (RFC 9208 section 5.1).
type QuotaResource struct {
	Usage, Limit int64
}

// QuotaRootData is what QUOTAROOT says of a mailbox (RFC 9208 section 4.2.2).
type QuotaRootData struct {
	Mailbox string
	Roots   []string
}

// Quota reads the payload of a QUOTA response.
func (d *Decoder) Quota() (*QuotaData, error) {
	data := &QuotaData{Resources: make(map[imap.QuotaResourceType]QuotaResource)}
	var err error
	if data.Root, err = d.textField(); err != nil {
		return nil, err
	}
	err = d.ReadNList(func() error {
		name, err := d.AString()
		if err != nil {
			return err
		}
		var r QuotaResource
		if r.Usage, err = d.size(); err != nil {
			return err
		}
		if r.Limit, err = d.size(); err != nil {
			return err
		}
		data.Resources[imap.QuotaResourceType(strings.ToUpper(name))] = r
		return nil
	})
	if err != nil {
		return nil, err
	}
	return data, nil
}

// QuotaRoot reads the payload of a QUOTAROOT response.
func (d *Decoder) QuotaRoot() (*QuotaRootData, error) {
	data := new(QuotaRootData)
	var err error
	if data.Mailbox, _, err = d.Mailbox(); err != nil {
		return nil, err
	}
	for {
		if end, err := d.atEnd(); err != nil || end {
			return data, err
		}
		if err := d.countElement(); err != nil {
			return nil, err
		}
		root, err := d.AString()
		if err != nil {
			return nil, err
		}
		data.Roots = append(data.Roots, validText(root))
	}
}
