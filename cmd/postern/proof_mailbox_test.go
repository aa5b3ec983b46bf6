package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// placement is where a message is, apart from the name of its folder, which may
// change: Dovecot gives each folder of a mailbox a UIDVALIDITY of its own.
type placement struct {
	validity uint32
	uid      imap.UID
}

// mailbox is one account's mailbox, as another client of the same server uses
// it.
type mailbox struct {
	proof    *proof
	id, user string

	mu       sync.Mutex
	random   *rand.Rand
	client   *imapclient.Client
	opened   string // the folder that is open on the client
	validity uint32 // its UIDVALIDITY
	// sent says which message was put where, and unsure which were sent or moved
	// without an answer.
	sent   map[placement]string
	unsure map[string]bool
	number int
	// delivered is when each message was.
	delivered map[string]time.Time
	// folders are those that mail goes into, with the messages that are there.
	folders map[string][]imap.UID
	made    int // folders that were created
}

func (p *proof) newMailbox(id, user string) *mailbox {
	return &mailbox{
		proof: p, id: id, user: user, random: p.source(uint64(len(p.mailboxes)) + 1),
		sent: map[placement]string{}, unsure: map[string]bool{}, delivered: map[string]time.Time{},
		folders: map[string][]imap.UID{"INBOX": nil, "Archive": nil},
	}
}

// mailbox finds the mailbox of an account.
func (p *proof) mailbox(account string) *mailbox {
	for _, m := range p.mailboxes {
		if m.id == account {
			return m
		}
	}
	p.t.Fatalf("the log tells of account %q, which is not registered", account)
	return nil
}

// deliveredAt is when a message began to be delivered.
func (m *mailbox) deliveredAt(subject string) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.delivered[subject]
}

// connect gives the client, logged in.
func (m *mailbox) connect() (*imapclient.Client, error) {
	if m.client != nil {
		return m.client, nil
	}
	c, err := imapclient.DialInsecure(m.proof.mail.Addr(), nil)
	if err != nil {
		return nil, err
	}
	if err := c.Login(m.user, m.proof.mail.Password()).Wait(); err != nil {
		c.Close()
		return nil, err
	}
	m.client, m.opened = c, ""
	return c, nil
}

// close ends the connection.
func (m *mailbox) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.disconnect()
}

func (m *mailbox) disconnect() {
	if m.client != nil {
		m.client.Close()
		m.client = nil
	}
}

// deliver puts a message into a folder. It says whether that worked; if not,
// the message may be there all the same.
func (m *mailbox) deliver(folder string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.append(folder)
}

func (m *mailbox) append(folder string) bool {
	c, err := m.connect()
	if err != nil {
		return false
	}
	subject := fmt.Sprintf("%s.%d", m.id, m.number)
	m.number++
	raw := mail(subject)
	m.unsure[subject] = true
	m.delivered[subject] = time.Now()
	cmd := c.Append(folder, int64(len(raw)), nil)
	_, _ = cmd.Write(raw) // the answer says more
	_ = cmd.Close()
	data, err := cmd.Wait()
	if err != nil {
		m.disconnect()
		return false
	}
	delete(m.unsure, subject)
	m.sent[placement{data.UIDValidity, data.UID}] = subject
	m.folders[folder] = append(m.folders[folder], data.UID)
	return true
}

// act does one thing that people do to their mailbox, mostly receiving mail. It
// says whether it worked.
func (m *mailbox) act() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	folder := m.anyFolder()
	switch n := m.random.IntN(100); {
	case n < 70:
		return m.append(pickOne(m.random, "INBOX", "INBOX", folder))
	case n < 82:
		return m.change(folder, m.flag)
	case n < 90:
		return m.change(folder, m.move)
	case n < 97:
		return m.change(folder, m.remove)
	case n < 99:
		return m.createFolder()
	default:
		return m.renameOrDelete(folder)
	}
}

// anyFolder is one of the folders, at random.
func (m *mailbox) anyFolder() string {
	n := m.random.IntN(len(m.folders))
	names := make([]string, 0, len(m.folders))
	for i := range m.made {
		for _, name := range []string{folderName(i), renamed(folderName(i))} {
			if _, there := m.folders[name]; there {
				names = append(names, name)
			}
		}
	}
	return append([]string{"INBOX", "Archive"}, names...)[n]
}

func folderName(i int) string      { return fmt.Sprintf("Folder %d", i) }
func renamed(folder string) string { return folder + " (old)" }

// change does something to one of a folder's messages, or delivers one where
// there are none.
func (m *mailbox) change(folder string, what func(c *imapclient.Client, folder string, i int) error) bool {
	if len(m.folders[folder]) == 0 {
		return m.append(folder)
	}
	c, err := m.connect()
	if err == nil && m.opened != folder {
		err = m.open(c, folder)
	}
	if err == nil {
		err = what(c, folder, m.random.IntN(len(m.folders[folder])))
	}
	if err != nil {
		m.disconnect()
	}
	return err == nil
}

func (m *mailbox) open(c *imapclient.Client, folder string) error {
	data, err := c.Select(folder, nil).Wait()
	if err == nil {
		m.opened, m.validity = folder, data.UIDValidity
	}
	return err
}

func (m *mailbox) flag(c *imapclient.Client, folder string, i int) error {
	op := pickOne(m.random, imap.StoreFlagsAdd, imap.StoreFlagsDel)
	flag := pickOne(m.random, imap.FlagSeen, imap.FlagFlagged, imap.FlagAnswered, "$Work")
	return c.Store(imap.UIDSetNum(m.folders[folder][i]), &imap.StoreFlags{Op: op, Silent: true, Flags: []imap.Flag{flag}}, nil).Close()
}

func (m *mailbox) move(c *imapclient.Client, folder string, i int) error {
	uid, to := m.folders[folder][i], pickOne(m.random, "INBOX", "Archive", m.anyFolder())
	if to == folder {
		return nil
	}
	subject := m.sent[placement{m.validity, uid}]
	m.unsure[subject] = true
	m.take(folder, i)
	data, err := c.Move(imap.UIDSetNum(uid), to).Wait()
	if err != nil {
		return err
	}
	uids, ok := data.DestUIDs.(imap.UIDSet)
	if !ok || len(uids) != 1 {
		return errors.New("the answer to MOVE lacks the new UID")
	}
	delete(m.unsure, subject)
	m.sent[placement{data.UIDValidity, uids[0].Start}] = subject
	m.folders[to] = append(m.folders[to], uids[0].Start)
	return nil
}

func (m *mailbox) remove(c *imapclient.Client, folder string, i int) error {
	uid := m.folders[folder][i]
	m.take(folder, i)
	store := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}
	if err := c.Store(imap.UIDSetNum(uid), store, nil).Close(); err != nil {
		return err
	}
	return c.UIDExpunge(imap.UIDSetNum(uid)).Close()
}

// take forgets a message.
func (m *mailbox) take(folder string, i int) {
	uids := m.folders[folder]
	uids[i] = uids[len(uids)-1]
	m.folders[folder] = uids[:len(uids)-1]
}

func (m *mailbox) createFolder() bool {
	c, err := m.connect()
	if err != nil {
		return false
	}
	name := folderName(m.made)
	m.made++
	if err := c.Create(name, nil).Wait(); err != nil {
		m.disconnect()
		return false
	}
	m.folders[name] = nil
	return true
}

// renameOrDelete renames a folder that was created, once, and deletes it later.
func (m *mailbox) renameOrDelete(folder string) bool {
	if folder == "INBOX" || folder == "Archive" {
		return m.append(folder)
	}
	c, err := m.connect()
	if err == nil && m.opened == folder {
		err = c.Unselect().Wait()
		m.opened = ""
	}
	if err != nil {
		m.disconnect()
		return false
	}
	uids := m.folders[folder]
	delete(m.folders, folder) // after a failure nobody knows
	if folder[len(folder)-1] == ')' {
		err = c.Delete(folder).Wait()
	} else if err = c.Rename(folder, renamed(folder), nil).Wait(); err == nil {
		m.folders[renamed(folder)] = uids
	}
	if err != nil {
		m.disconnect()
	}
	return err == nil
}

// listing is what a mailbox holds: its folders, and the flags of the messages in
// each.
type listing map[string]folderListing

type folderListing struct {
	validity uint32
	messages map[imap.UID]string
}

// list asks the server what there is.
func (m *mailbox) list() (listing, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.disconnect()
	c, err := m.connect()
	if err != nil {
		return nil, err
	}
	found, err := c.List("", "*", nil).Collect()
	if err != nil {
		return nil, err
	}
	all := listing{}
	for _, data := range found {
		opened, err := c.Select(data.Mailbox, &imap.SelectOptions{ReadOnly: true}).Wait()
		if err != nil {
			return nil, fmt.Errorf("select %q: %w", data.Mailbox, err)
		}
		m.opened = data.Mailbox
		f := folderListing{validity: opened.UIDValidity, messages: map[imap.UID]string{}}
		all[data.Mailbox] = f
		if opened.NumMessages == 0 {
			continue
		}
		messages, err := c.Fetch(imap.SeqSet{{Start: 1, Stop: 0}}, &imap.FetchOptions{UID: true, Flags: true}).Collect()
		if err != nil {
			return nil, err
		}
		for _, msg := range messages {
			flags := make([]string, len(msg.Flags))
			for i, flag := range msg.Flags {
				flags[i] = string(flag)
			}
			f.messages[msg.UID] = flagText(flags)
		}
	}
	return all, nil
}

func pickOne[T any](random *rand.Rand, of ...T) T { return of[random.IntN(len(of))] }
