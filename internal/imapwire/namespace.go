package imapwire

import "github.com/emersion/go-imap/v2"

// Namespace reads the payload of a NAMESPACE response (RFC 9051 section 7.3.3,
// RFC 2342). Prefixes are decoded like mailbox names; extensions are skipped.
func (d *Decoder) Namespace() (*imap.NamespaceData, error) {
	data := new(imap.NamespaceData)
	for _, list := range []*[]imap.NamespaceDescriptor{&data.Personal, &data.Other, &data.Shared} {
		if end, err := d.atEnd(); err != nil || end {
			return data, err
		}
		var err error
		if *list, err = d.namespaces(); err != nil {
			return nil, err
		}
	}
	return data, nil
}

func (d *Decoder) namespaces() (list []imap.NamespaceDescriptor, err error) {
	err = d.ReadNList(func() error {
		if err := d.openList(); err != nil {
			return err
		}
		var n imap.NamespaceDescriptor
		var err error
		if n.Prefix, _, err = d.Mailbox(); err != nil {
			return err
		}
		if n.Delim, err = d.delimiter(); err != nil {
			return err
		}
		list = append(list, n)
		return d.skipMembers()
	})
	return list, err
}
