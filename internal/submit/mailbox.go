package submit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/folderlist"
	"github.com/postern-mail/postern/internal/imapconn"
)

// Connections lends the IMAP connections of accounts.
type Connections interface {
	Do(ctx context.Context, id, mailbox string, opts *imapconn.DoOptions, fn func(*imapconn.Conn) error) error
}

// IMAPMailbox is the [Mailbox] of accounts: their IMAP servers.
type IMAPMailbox struct {
	Connections Connections
	Folders     *folder.Registry
	// Patience is how long a provider that saves what is sent by itself is waited
	// for; 0 means a minute.
	Patience time.Duration
}

// errNoSent says that there is no folder for sent mail.
var errNoSent = errors.New("the mailbox has no folder for sent mail")

// inSent calls fn with a connection and the name of the folder for sent mail.
func (m *IMAPMailbox) inSent(
	ctx context.Context, a *account.Account, opts *imapconn.DoOptions, fn func(c *imapconn.Conn, sent string) error,
) error {
	return folderlist.Retry(func() (listed bool, err error) {
		missing := false
		err = m.Connections.Do(ctx, a.ID, "", opts, func(c *imapconn.Conn) error {
			folders, err := folderlist.Read(ctx, c, m.Folders, a.ID, nil)
			if err != nil {
				return err
			}
			listed = true
			i := slices.IndexFunc(folders, func(f folderlist.Folder) bool { return f.AssignedRole.Role == folder.RoleSent })
			if missing = i < 0; missing {
				return nil // nothing is wrong with the connection
			}
			return fn(c, folders[i].Name)
		})
		if err == nil && missing {
			err = errNoSent
		}
		return listed, err
	})
}

// FindSent implements [Mailbox].
func (m *IMAPMailbox) FindSent(ctx context.Context, a *account.Account, messageID string) (there bool, err error) {
	err = m.inSent(ctx, a, nil, func(c *imapconn.Conn, sent string) error {
		there, err = contains(ctx, c, sent, messageID)
		return err
	})
	if errors.Is(err, errNoSent) {
		return false, nil
	}
	return there, err
}

// contains reports whether a mailbox has a message with the Message-ID.
func contains(ctx context.Context, c *imapconn.Conn, mailbox, messageID string) (bool, error) {
	// Opened anew, for there are servers that show what came since to nobody else.
	if _, err := c.Select(ctx, mailbox, &imapconn.SelectOptions{ReadOnly: true}); err != nil {
		return false, err
	}
	found, err := c.Search(ctx, &imapconn.SearchCriteria{SearchCriteria: imap.SearchCriteria{
		Header: []imap.SearchCriteriaHeaderField{{Key: "Message-ID", Value: messageID}},
	}}, nil)
	if err != nil {
		return false, err
	}
	return len(found.All) > 0, nil
}

// sentPace is how often the Sent folder is looked at while a copy is waited for.
const sentPace = 5 * time.Second

// SaveSent implements [Mailbox]. A copy that an attempt before put there, of which
// nobody heard, is found by its Message-ID.
func (m *IMAPMailbox) SaveSent(ctx context.Context, a *account.Account, s *Submission, open func() (io.Reader, error)) error {
	var patience time.Duration
	if login, ok := a.SMTPLogin(); ok && s.Save == SaveAuto && imapconn.ProviderOf(login.Host).SavesSent {
		if patience = m.Patience; patience <= 0 {
			patience = time.Minute
		}
	}
	for until := time.Now().Add(patience); ; {
		there, err := m.FindSent(ctx, a, s.MessageID)
		if err != nil || there {
			return err
		}
		if !time.Now().Before(until) {
			return m.appendSent(ctx, a, s, open)
		}
		timer := time.NewTimer(min(sentPace, time.Until(until)))
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

func (m *IMAPMailbox) appendSent(ctx context.Context, a *account.Account, s *Submission, open func() (io.Reader, error)) error {
	return m.inSent(ctx, a, &imapconn.DoOptions{Once: true}, func(c *imapconn.Conn, sent string) error {
		message, err := open()
		if err != nil {
			return err
		}
		_, err = c.Append(ctx, sent, imapconn.AppendMessage{
			Reader: message, Size: s.Size, Flags: []imap.Flag{imap.FlagSeen}, Time: s.EndTime,
		})
		return err
	})
}

// MarkAnswered implements [Mailbox]. A message that is gone has nothing to mark.
func (m *IMAPMailbox) MarkAnswered(ctx context.Context, a *account.Account, answered *Answered) error {
	return m.at(ctx, a, answered.Message, func(c *imapconn.Conn, uid imap.UID) error {
		_, err := c.Store(ctx, imap.UIDSetNum(uid), &imap.StoreFlags{
			Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.Flag(answered.Flag)},
		}, nil)
		if err != nil {
			return fmt.Errorf("add %s: %w", answered.Flag, err)
		}
		return nil
	})
}

// RemoveDraft implements [Mailbox]. A draft that was changed is another placement, and
// stays.
func (m *IMAPMailbox) RemoveDraft(ctx context.Context, a *account.Account, draft string) error {
	return m.at(ctx, a, draft, func(c *imapconn.Conn, uid imap.UID) error { return c.Remove(ctx, imap.UIDSetNum(uid)) })
}

// at runs fn with the mailbox of a placement open, unless that is no longer what it
// was.
func (m *IMAPMailbox) at(ctx context.Context, a *account.Account, placement string, fn func(*imapconn.Conn, imap.UID) error) error {
	id, err := folder.ParseMessageID(placement)
	if err != nil {
		return err
	}
	f, err := m.Folders.ByKey(ctx, a.ID, id.Folder)
	if errors.Is(err, folder.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return m.Connections.Do(ctx, a.ID, f.Name, nil, func(c *imapconn.Conn) error {
		if c.SelectData().UIDValidity != id.UIDValidity {
			return nil
		}
		return fn(c, id.UID)
	})
}
