package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// oracle replays the log as an application would that keeps a copy of the
// mailboxes, and notes what contradicts itself on the way: an id or a message
// that comes twice, a hole in the numbers, news of what is not there.
type oracle struct {
	faults   []string
	ids      map[string]bool
	accounts map[string]*accountCopy
	counts   map[string]int // of events by type
}

type accountCopy struct {
	last    uint64 // number
	folders map[string]*folderCopy
	// announced says under which subject a message appeared, at each placement
	// there ever was.
	announced map[placement]string
}

type folderCopy struct {
	path     string // "" unless the log tells it
	validity uint32
	messages map[imap.UID]string // their flags
	highest  imap.UID            // that was announced as new
}

func newOracle() *oracle {
	return &oracle{ids: map[string]bool{}, accounts: map[string]*accountCopy{}, counts: map[string]int{}}
}

func (o *oracle) fault(f *fact, format string, args ...any) {
	o.faults = append(o.faults, fmt.Sprintf("%s %s of %s, number %s: %s", f.Type, f.ID, f.account(), f.Sequence, fmt.Sprintf(format, args...)))
}

func (o *oracle) account(id string) *accountCopy {
	a := o.accounts[id]
	if a == nil {
		a = &accountCopy{folders: map[string]*folderCopy{}, announced: map[placement]string{}}
		o.accounts[id] = a
	}
	return a
}

func (a *accountCopy) folder(key string) *folderCopy {
	f := a.folders[key]
	if f == nil {
		f = &folderCopy{messages: map[imap.UID]string{}}
		a.folders[key] = f
	}
	return f
}

// take replays one event.
func (o *oracle) take(f *fact) {
	o.counts[f.Type]++
	if o.ids[f.ID] {
		o.fault(f, "the id is there already")
	}
	o.ids[f.ID] = true
	a := o.account(f.account())
	number, err := strconv.ParseUint(f.Sequence, 10, 64)
	if err != nil || number != a.last+1 {
		o.fault(f, "the event before it was number %d", a.last)
	}
	a.last = number
	entity, _, _ := strings.Cut(f.Type, ".")
	switch entity {
	case "message":
		o.takeMessage(a, f)
	case "folder":
		o.takeFolder(a, f)
	}
	if f.Type == "account.gap" {
		o.fault(f, "%s", f.Data.Reason)
	}
}

func (o *oracle) takeMessage(a *accountCopy, f *fact) {
	key, at, err := located(f.Data.Message)
	if err != nil {
		o.fault(f, "%v", err)
		return
	}
	folder := a.folder(key)
	_, there := folder.messages[at.uid]
	there = there && folder.validity == at.validity
	flags, told := f.flags()
	switch f.Type {
	case "message.created":
		o.appear(a, f, folder, at, f.Data.Envelope.Subject, flags)
	case "message.moved":
		oldKey, oldAt, err := located(f.Data.PreviousMessage)
		from := a.folder(oldKey)
		before, was := from.messages[oldAt.uid]
		if err != nil || !was || from.validity != oldAt.validity {
			o.fault(f, "it was not at %v before", oldAt)
		}
		delete(from.messages, oldAt.uid)
		if !told {
			flags = before
		}
		o.appear(a, f, folder, at, a.announced[oldAt], flags)
	case "message.updated":
		if !there || !told {
			o.fault(f, "no message is at %v, or no flags are told", at)
		}
		folder.messages[at.uid] = flags
	case "message.deleted":
		if !there {
			o.fault(f, "no message is at %v", at)
		}
		delete(folder.messages, at.uid)
	default:
		o.fault(f, "nothing was done that it tells of")
	}
}

// appear puts a message into a folder.
func (o *oracle) appear(a *accountCopy, f *fact, folder *folderCopy, at placement, subject, flags string) {
	if _, again := a.announced[at]; again {
		o.fault(f, "the message at %v was announced before", at)
	}
	a.announced[at] = subject
	if folder.validity != at.validity {
		if folder.validity != 0 {
			o.fault(f, "the folder has UIDVALIDITY %d, the message %d", folder.validity, at.validity)
		}
		folder.validity = at.validity
	}
	if f.Data.Origin == "NEW" {
		if at.uid <= folder.highest {
			o.fault(f, "UID %d was announced before UID %d", folder.highest, at.uid)
		}
		folder.highest = at.uid
	}
	folder.messages[at.uid] = flags
}

func (o *oracle) takeFolder(a *accountCopy, f *fact) {
	key := f.Data.Folder[strings.LastIndexByte(f.Data.Folder, '/')+1:]
	switch f.Type {
	case "folder.created":
		if _, there := a.folders[key]; there {
			o.fault(f, "the folder is there already")
		}
		a.folder(key).path = strings.Join(f.Data.Path, "/")
	case "folder.renamed":
		a.folder(key).path = strings.Join(f.Data.Path, "/")
	case "folder.deleted":
		delete(a.folders, key)
	case "folder.reset":
		folder := a.folder(key)
		if folder.validity != 0 && folder.validity != f.Data.PreviousUIDValidity {
			o.fault(f, "the folder had UIDVALIDITY %d", folder.validity)
		}
		folder.validity, folder.highest = f.Data.UIDValidity, 0
		clear(folder.messages)
	}
}

// differences tells in what the copy of an account is not what the server has.
// keys are the keys of its folders by their path.
func (a *accountCopy) differences(m *mailbox, keys map[string]string, there listing) []string {
	var list []string
	differ := func(format string, args ...any) {
		list = append(list, m.id+": "+fmt.Sprintf(format, args...))
	}
	left := maps.Clone(a.folders)
	for path, actual := range there {
		key := keys[path]
		f := a.folders[key]
		if f == nil { // the log has had nothing to tell of it
			f = &folderCopy{}
		}
		delete(left, key)
		if key == "" || f.path != "" && f.path != path {
			differ("folder %q is %q by the log (key %q)", path, f.path, key)
		}
		if len(f.messages) > 0 && f.validity != actual.validity {
			differ("folder %q has UIDVALIDITY %d, %d by the log", path, actual.validity, f.validity)
		}
		for uid, flags := range actual.messages {
			if told, ok := f.messages[uid]; !ok {
				differ("message %d of %q was not announced", uid, path)
			} else if told != flags {
				differ("message %d of %q has flags %q, %q by the log", uid, path, flags, told)
			}
		}
		for uid := range f.messages {
			if _, ok := actual.messages[uid]; !ok {
				differ("message %d of %q is gone, and the log does not say so", uid, path)
			}
		}
	}
	for key, f := range left {
		differ("folder %q (key %s) is gone, and the log does not say so", f.path, key)
	}
	slices.Sort(list)
	return list
}

// inventions tells which messages were announced that never were.
func (a *accountCopy) inventions(m *mailbox) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []string
	for at, subject := range a.announced {
		if m.sent[at] != subject && !m.unsure[subject] {
			list = append(list, fmt.Sprintf("%s: %q was announced at %v, where there was %q", m.id, subject, at, m.sent[at]))
		}
	}
	return list
}
