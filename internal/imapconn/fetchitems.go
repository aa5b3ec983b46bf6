package imapconn

import (
	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/imapwire"
)

// available returns the options for the encoder, without what the server lacks.
func (c *Conn) available(o *FetchOptions, byUID bool) *imapwire.FetchOptions {
	objectID, gmail := c.Has(imap.CapObjectID), c.Has(capGmail)
	w := &imapwire.FetchOptions{
		FetchOptions:  o.FetchOptions,
		EmailID:       o.EmailID && objectID,
		ThreadID:      o.ThreadID && objectID,
		SaveDate:      o.SaveDate && c.Has(imap.CapSaveDate),
		Preview:       o.Preview && c.Has(imap.CapPreview),
		GmailMsgID:    o.GmailMsgID && gmail,
		GmailThreadID: o.GmailThreadID && gmail,
		GmailLabels:   o.GmailLabels && gmail,
	}
	// The UID is asked for always: an answer without one is of little use, and
	// an empty list of items would not be allowed.
	w.UID = true
	if !c.Has(imap.CapCondStore) {
		w.ModSeq, w.ChangedSince = false, 0
	}
	w.Vanished = o.Vanished != nil && w.ChangedSince > 0 && byUID && c.enabled&enabledQResync != 0
	if !c.Has(imap.CapBinary) && !c.Has(imap.CapIMAP4rev2) {
		w.BinarySection, w.BinarySectionSize = nil, nil
	}
	return w
}
