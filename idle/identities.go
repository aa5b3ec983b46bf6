package idle

import (
	"cmp"
	"slices"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/folder"
)

const (
	// maxIdentities is how many messages of a folder are remembered by what they
	// are: more than a reset compares again, and few enough that a folder costs
	// some kilobytes.
	maxIdentities = 300
	// maxEmailID is the length of an EMAILID (RFC 8474 section 4.2). The other
	// schemes' ids are shorter.
	maxEmailID = 255
)

// identities remember what the newest messages of a folder are, by their UIDs.
// The zero value is empty. All ids are kept in one piece of memory, for there
// are many folders.
type identities struct {
	entries []identityEntry // by ascending UID
	text    []byte
	dead    int // bytes of text that no entry points to
}

type identityEntry struct {
	uid           imap.UID
	start, length uint32
}

func (s *identities) find(uid imap.UID) (int, bool) {
	return slices.BinarySearchFunc(s.entries, uid, func(e identityEntry, uid imap.UID) int { return cmp.Compare(e.uid, uid) })
}

func (s *identities) textOf(e identityEntry) []byte { return s.text[e.start : e.start+e.length] }

// get returns what a message is, empty if that is not known.
func (s *identities) get(uid imap.UID) string {
	if i, ok := s.find(uid); ok {
		return string(s.textOf(s.entries[i]))
	}
	return ""
}

// set remembers what a message is. Where there are too many, the lowest UID is
// forgotten.
func (s *identities) set(uid imap.UID, emailID string) {
	if emailID == "" || len(emailID) > maxEmailID {
		return
	}
	s.forget(uid)
	i, _ := s.find(uid)
	if len(s.entries) >= maxIdentities {
		if i == 0 {
			return
		}
		s.dead += int(s.entries[0].length)
		s.entries = slices.Delete(s.entries, 0, 1)
		i--
	}
	if s.dead > len(s.text)/2 {
		s.compact()
	}
	s.entries = slices.Insert(s.entries, i, identityEntry{uid, uint32(len(s.text)), uint32(len(emailID))})
	s.text = append(s.text, emailID...)
}

// forget drops a message.
func (s *identities) forget(uid imap.UID) {
	if i, ok := s.find(uid); ok {
		s.dead += int(s.entries[i].length)
		s.entries = slices.Delete(s.entries, i, i+1)
	}
}

func (s *identities) compact() {
	text := make([]byte, 0, len(s.text)-s.dead)
	for i, e := range s.entries {
		s.entries[i].start = uint32(len(text))
		text = append(text, s.textOf(e)...)
	}
	s.text, s.dead = text, 0
}

// list gives all, by ascending UID.
func (s *identities) list() []folder.Identity {
	if len(s.entries) == 0 {
		return nil
	}
	list := make([]folder.Identity, len(s.entries))
	for i, e := range s.entries {
		list[i] = folder.Identity{UID: e.uid, EmailID: string(s.textOf(e))}
	}
	return list
}

// among gives the messages whose identities are wanted, by ascending UID.
func (s *identities) among(wanted map[string]bool) []folder.Identity {
	var found []folder.Identity
	for _, e := range s.entries {
		if wanted[string(s.textOf(e))] {
			found = append(found, folder.Identity{UID: e.uid, EmailID: string(s.textOf(e))})
		}
	}
	return found
}
