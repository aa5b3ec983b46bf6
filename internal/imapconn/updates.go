package imapconn

import (
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/imapwire"
)

const (
	// maxFolders bounds the folders that are remembered by name between two
	// looks at Updates.
	maxFolders = 256
	// maxAlerts and maxAlertLen bound the alerts.
	maxAlerts   = 4
	maxAlertLen = 512
)

// Updates sums up what the server told without being asked. It is a hint that
// something has changed, and says where to look; it is bounded whatever the
// server sends.
type Updates struct {
	// Exists says that the number of messages in the selected mailbox was told.
	Exists bool
	// Expunged says that messages have left the selected mailbox.
	Expunged bool
	// Flags says that messages in the selected mailbox have changed.
	Flags bool
	// Folders names other mailboxes that have changed, by NOTIFY (RFC 5465), as
	// the methods of [Conn] take them.
	Folders []string
	// Listed says that mailboxes were made, renamed or deleted, by NOTIFY.
	Listed bool
	// Overflow says that more folders have changed than Folders names: look
	// everywhere.
	Overflow bool
	// NotifyEnded says that the server gave up notifying, with
	// [NOTIFICATIONOVERFLOW]: look everywhere. It then tells nothing of the
	// selected mailbox either, until the next NOTIFY (RFC 5465 section 5.8).
	NotifyEnded bool
	// Alerts has what the server wants the user to read (RFC 9051 section 7.1).
	Alerts []string
}

// Mailbox reports whether something has changed in the selected mailbox.
func (u *Updates) Mailbox() bool { return u.Exists || u.Expunged || u.Flags }

// Any reports whether anything has changed.
func (u *Updates) Any() bool {
	return u.Mailbox() || u.Overflow || u.Listed || u.NotifyEnded || len(u.Folders) > 0
}

// Updates returns what the server told since the last call, and forgets it.
func (c *Conn) Updates() Updates {
	u := c.updates
	c.updates = Updates{}
	return u
}

func (u *Updates) folder(name string) {
	if slices.Contains(u.Folders, name) {
		return
	}
	if len(u.Folders) >= maxFolders {
		u.Overflow = true
		return
	}
	u.Folders = append(u.Folders, name)
}

// news takes a STATUS response that NOTIFY brought.
func (c *Conn) news(data *StatusData) {
	c.updates.folder(nameOf(data.Mailbox, data.RawName, c.dec.UTF8))
}

func (u *Updates) alert(text string) {
	if len(u.Alerts) < maxAlerts && !slices.Contains(u.Alerts, text) {
		u.Alerts = append(u.Alerts, strings.ToValidUTF8(text[:min(len(text), maxAlertLen)], ""))
	}
}

// unsolicited takes a response in that no command claimed. Reading its payload
// is left to the decoder wherever nothing is to be learned from it.
func (c *Conn) unsolicited(r imapwire.Response) error {
	switch r.Name {
	case "EXISTS":
		c.updates.Exists = true
		c.exists(r.Num)
	case "EXPUNGE":
		c.updates.Expunged = true
		c.expunged(r.Num)
	case "VANISHED":
		return c.vanishedUnasked()
	case "FETCH":
		c.updates.Flags = true
	case "CAPABILITY":
		return c.readCapability()
	case "STATUS":
		data, err := c.dec.Status()
		if err != nil {
			return err
		}
		c.news(data)
	case "LIST":
		c.updates.Listed = true
	}
	return nil
}

// warned takes note of an untagged NO. With NOTIFY on, Dovecot so tells that some
// events may have got lost.
func (c *Conn) warned() { c.updates.Overflow = c.updates.Overflow || c.notifying }

// note learns from an untagged OK, NO or BAD, or from a completion.
func (c *Conn) note(s *imapwire.Status) {
	switch s.Code {
	case imap.ResponseCodeAlert:
		c.updates.alert(s.Text)
	case "NOTIFICATIONOVERFLOW": // RFC 5465 section 5.8
		// A server that refuses NOTIFY may say so by the same code, which ends
		// nothing.
		c.updates.NotifyEnded = c.updates.NotifyEnded || c.notifying
		c.notifying = false
	case "CAPABILITY":
		if caps, ok := s.Capabilities(); ok {
			c.setCaps(caps)
		}
	}
}

func (c *Conn) exists(n uint32) {
	if m := c.mailbox; m != nil {
		m.messages = n
	}
}

func (c *Conn) vanishedUnasked() error {
	v, err := c.dec.Vanished()
	if err == nil && !v.Earlier {
		c.vanished(v.UIDs)
	}
	return err
}

func (c *Conn) vanished(uids imap.UIDSet) {
	c.updates.Expunged = true
	m := c.mailbox
	if m == nil {
		return
	}
	m.messages -= uint32(min(uint64(m.messages), imapwire.CountUIDs(uids)))
	m.positions.vanished(uids)
}

func (c *Conn) expunged(seq uint32) {
	m := c.mailbox
	if m == nil {
		return
	}
	if m.messages > 0 {
		m.messages--
	}
	m.positions.expunged(seq)
}
