package gmailtest

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
)

// The system labels, as X-GM-LABELS has them.
const (
	LabelInbox     = `\Inbox`
	LabelSent      = `\Sent`
	LabelImportant = `\Important`
	LabelStarred   = `\Starred`
	LabelDraft     = `\Draft`
	LabelTrash     = `\Trash`
	LabelSpam      = `\Spam`
)

// place is where a message is apart from its labels: kept, or on its way out.
type place int

const (
	kept place = iota
	trashed
	spam
)

// message is stored once, whatever folders show it.
type message struct {
	id, thread uint64
	raw        []byte
	arrived    time.Time
	place      place
	flags      map[imap.Flag]bool // but for \Flagged and \Draft, which are labels
	labels     map[string]bool
	modSeq     uint64
}

// entry is a message in a folder.
type entry struct {
	*message
	uid     imap.UID
	deleted bool // \Deleted belongs to the folder, not to the message
	gone    bool
}

// folder is a view of the messages.
type folder struct {
	name     string
	label    string // the label whose messages it shows; empty for the places
	attr     imap.MailboxAttr
	place    place
	validity uint32
	next     imap.UID
	entries  []*entry
	// unsubscribed folders are still there.
	unsubscribed bool
}

func (f *folder) system() bool { return f.attr != "" || f.name == "INBOX" }

// shows reports whether a message lies in the folder.
func (f *folder) shows(m *message) bool {
	return m.place == f.place && (f.label == "" || m.labels[f.label])
}

// store is the mailbox of the one account.
type store struct {
	mu       sync.Mutex
	messages []*message
	folders  []*folder
	modSeq   uint64
	lastID   uint64
	validity uint32
	held     bool
	waiting  []func() // changes that nobody can see yet
	changed  chan struct{}
}

func newStore() *store {
	s := &store{modSeq: 1000, lastID: 1_278_455_344_230_334_865, changed: make(chan struct{})}
	for _, f := range []folder{
		{name: "INBOX", label: LabelInbox},
		{name: "[Gmail]/All Mail", attr: imap.MailboxAttrAll},
		{name: "[Gmail]/Drafts", label: LabelDraft, attr: imap.MailboxAttrDrafts},
		{name: "[Gmail]/Important", label: LabelImportant, attr: `\Important`},
		{name: "[Gmail]/Sent Mail", label: LabelSent, attr: imap.MailboxAttrSent},
		{name: "[Gmail]/Spam", place: spam, attr: imap.MailboxAttrJunk},
		{name: "[Gmail]/Starred", label: LabelStarred, attr: imap.MailboxAttrFlagged},
		{name: "[Gmail]/Trash", place: trashed, attr: imap.MailboxAttrTrash},
	} {
		s.addFolder(f)
	}
	return s
}

func (s *store) addFolder(f folder) {
	s.validity++
	f.validity, f.next = s.validity, 1
	s.folders = append(s.folders, &f)
	slices.SortFunc(s.folders, func(a, b *folder) int { return strings.Compare(a.name, b.name) })
}

func (s *store) folder(name string) *folder {
	if strings.EqualFold(name, "INBOX") {
		name = "INBOX"
	}
	for _, f := range s.folders {
		if f.name == name {
			return f
		}
	}
	return nil
}

// labelled creates the folder of a label unless there is one: using a label
// creates it.
func (s *store) labelled(label string) {
	if !slices.ContainsFunc(s.folders, func(f *folder) bool { return f.label == label }) {
		s.addFolder(folder{name: label, label: label})
	}
}

// change makes a change to messages, now or once it is released. Its number is
// given out at once, and so is HIGHESTMODSEQ.
func (s *store) change(f func(modSeq uint64)) {
	s.modSeq++
	number := s.modSeq
	apply := func() { f(number); s.settle() }
	if s.held {
		s.waiting = append(s.waiting, apply)
		return
	}
	apply()
}

// settle brings the folders in line with the messages and wakes whoever waits.
func (s *store) settle() {
	for _, f := range s.folders {
		f.entries = slices.DeleteFunc(f.entries, func(e *entry) bool {
			e.gone = !f.shows(e.message) || !slices.Contains(s.messages, e.message)
			return e.gone
		})
		for _, m := range s.messages {
			if f.shows(m) && f.find(m) == nil {
				f.entries = append(f.entries, &entry{message: m, uid: f.next})
				f.next++
			}
		}
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

func (f *folder) find(m *message) *entry {
	for _, e := range f.entries {
		if e.message == m {
			return e
		}
	}
	return nil
}

// add stores a message. A message that is there already gets the labels only.
func (s *store) add(raw []byte, arrived time.Time, flags []imap.Flag, labels ...string) *message {
	for _, m := range s.messages {
		if m.place == kept && bytes.Equal(m.raw, raw) {
			s.change(func(n uint64) { m.modSeq = n; s.label(m, labels, true) })
			return m
		}
	}
	s.lastID += 1777
	m := &message{
		id: s.lastID, thread: s.threadOf(raw), raw: raw, arrived: arrived,
		flags: make(map[imap.Flag]bool), labels: make(map[string]bool),
	}
	if m.thread == 0 {
		m.thread = m.id
	}
	s.change(func(n uint64) {
		m.modSeq = n
		s.label(m, labels, true)
		for _, flag := range flags {
			s.flag(m, flag, true)
		}
		s.messages = append(s.messages, m)
	})
	return m
}

// threadOf is the thread of the message that this one answers, or 0.
func (s *store) threadOf(raw []byte) uint64 {
	header := headerOf(raw)
	cited := header.Get("References") + " " + header.Get("In-Reply-To")
	for _, m := range slices.Backward(s.messages) {
		theirs := headerOf(m.raw)
		id := strings.TrimSpace(theirs.Get("Message-Id"))
		if id != "" && strings.Contains(cited, id) {
			return m.thread
		}
	}
	return 0
}

// label gives labels to a message or takes them away. Spam and trash are labels
// that move it.
func (s *store) label(m *message, labels []string, on bool) {
	for _, label := range labels {
		to, moves := map[string]place{LabelTrash: trashed, LabelSpam: spam}[label]
		switch {
		case moves && on:
			m.place = to
			maps.DeleteFunc(m.labels, func(l string, _ bool) bool { return l != LabelStarred && l != LabelSent })
		case moves:
			m.place = kept
		case on:
			s.labelled(label)
			m.labels[label] = true
		default:
			delete(m.labels, label)
		}
	}
}

// flag sets or clears a flag of a message.
func (s *store) flag(m *message, flag imap.Flag, on bool) {
	switch canonical(flag) {
	case imap.FlagFlagged:
		s.label(m, []string{LabelStarred}, on)
	case imap.FlagDraft:
		s.label(m, []string{LabelDraft}, on)
	default:
		if on {
			m.flags[canonical(flag)] = true
		} else {
			delete(m.flags, canonical(flag))
		}
	}
}

// canonical is a flag with the letters in the case of the standard.
func canonical(flag imap.Flag) imap.Flag {
	for _, known := range systemFlags {
		if strings.EqualFold(string(known), string(flag)) {
			return known
		}
	}
	return flag
}

var systemFlags = []imap.Flag{imap.FlagAnswered, imap.FlagFlagged, imap.FlagDraft, imap.FlagDeleted, imap.FlagSeen}

// allFlags are the flags of a message in its folder.
func (e *entry) allFlags() []imap.Flag {
	flags := slices.Sorted(maps.Keys(e.flags))
	if e.labels[LabelStarred] {
		flags = append(flags, imap.FlagFlagged)
	}
	if e.labels[LabelDraft] {
		flags = append(flags, imap.FlagDraft)
	}
	if e.deleted {
		flags = append(flags, imap.FlagDeleted)
	}
	return flags
}

// remove takes messages out of a folder, as EXPUNGE does: it takes the label
// away, and deletes only what is spam or trash.
func (s *store) remove(f *folder, entries []*entry) {
	s.change(func(n uint64) {
		for _, e := range entries {
			e.modSeq = n
			switch {
			case f.place != kept:
				s.messages = slices.DeleteFunc(s.messages, func(m *message) bool { return m == e.message })
			case f.label != "":
				delete(e.labels, f.label)
			default:
				e.deleted = false // All Mail keeps it: archiving is the default
			}
		}
	})
}

// moveTo puts messages into a folder, as COPY does: it gives the label.
func (s *store) moveTo(f *folder, entries []*entry) {
	s.change(func(n uint64) {
		for _, e := range entries {
			e.modSeq = n
			switch {
			case f.place == trashed:
				s.label(e.message, []string{LabelTrash}, true)
			case f.place == spam:
				s.label(e.message, []string{LabelSpam}, true)
			default:
				e.place = kept
				if f.label != "" {
					e.labels[f.label] = true
				}
			}
		}
	})
}

// destination are the labels of a message that is put into a folder.
func (f *folder) destination() []string {
	switch {
	case f.place == trashed:
		return []string{LabelTrash}
	case f.place == spam:
		return []string{LabelSpam}
	case f.label != "":
		return []string{f.label}
	}
	return nil
}
