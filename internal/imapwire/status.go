package imapwire

import (
	"math"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// StatusData is what STATUS says of a mailbox, asked for or by NOTIFY.
type StatusData struct {
	imap.StatusData
	// RawName is the mailbox's name as the server wrote it.
	RawName string
	// MailboxID is the MAILBOXID (RFC 8474 section 4.3).
	MailboxID string
}

// Status reads the payload of a STATUS response (RFC 9051 section 7.3.4). A
// value that cannot be read, as a UIDNEXT that does not fit 32 bits, is as if it
// had not been sent.
func (d *Decoder) Status() (*StatusData, error) {
	data := new(StatusData)
	var err error
	if data.Mailbox, data.RawName, err = d.Mailbox(); err != nil {
		return nil, err
	}
	err = d.ReadNList(func() error {
		name, err := d.Atom()
		if err != nil {
			return err
		}
		return d.statusItem(data, strings.ToUpper(name))
	})
	if err != nil {
		return nil, err
	}
	return data, nil
}

func (d *Decoder) statusItem(data *StatusData, name string) error {
	if name == "MAILBOXID" {
		id, err := d.objectID()
		data.MailboxID = id
		return err
	}
	c, err := d.next()
	if err != nil {
		return err
	}
	if !isDigit(c) {
		return d.SkipValue() // APPENDLIMIT may be NIL (RFC 7889 section 4)
	}
	n, err := d.number()
	if err != nil {
		return err
	}
	setStatus(data, name, n)
	return nil
}

func setStatus(data *StatusData, name string, n uint64) {
	n32 := uint32(min(n, math.MaxUint32))
	n63 := int64(min(n, math.MaxInt64))
	switch name {
	case "MESSAGES":
		data.NumMessages = &n32
	case "RECENT":
		data.NumRecent = &n32
	case "UNSEEN":
		data.NumUnseen = &n32
	case "DELETED":
		data.NumDeleted = &n32
	case "UIDNEXT":
		if n <= math.MaxUint32 {
			data.UIDNext = imap.UID(n)
		}
	case "UIDVALIDITY":
		if n <= math.MaxUint32 {
			data.UIDValidity = uint32(n)
		}
	case "SIZE":
		data.Size = &n63
	case "APPENDLIMIT":
		data.AppendLimit = &n32
	case "DELETED-STORAGE":
		data.DeletedStorage = &n63
	case "HIGHESTMODSEQ":
		data.HighestModSeq = n
	}
}
