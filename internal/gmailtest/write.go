package gmailtest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
)

var errReadOnly = no("[CANNOT] The folder is open for reading only (Failure)")

// storeFlags changes flags or labels (X-GM-LABELS).
func (s *session) storeFlags(args []value, uid bool) (string, error) {
	if len(args) < 3 {
		return "", bad("Could not parse command")
	}
	if s.readOnly {
		return "", errReadOnly
	}
	set, args := args[0].text, args[1:]
	var unchanged uint64
	if args[0].isList {
		if len(args[0].list) != 2 || args[0].list[0].upper() != "UNCHANGEDSINCE" {
			return "", bad("Could not parse command")
		}
		if _, err := fmt.Sscan(args[0].list[1].text, &unchanged); err != nil {
			return "", bad("Could not parse command")
		}
		s.condStore = true
		args = args[1:]
	}
	item := strings.ToUpper(args[0].text)
	item, silent := strings.CutSuffix(item, ".SILENT")
	names := args[1:]
	if names[0].isList {
		names = names[0].list
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	chosen, err := s.choose(set, uid)
	if err != nil {
		return "", err
	}
	var modified []string
	if unchanged > 0 {
		chosen = slices.DeleteFunc(chosen, func(m numbered) bool {
			if m.modSeq > unchanged {
				modified = append(modified, m.in(uid))
			}
			return m.modSeq > unchanged
		})
	}
	if err := s.apply(item, names, chosen); err != nil {
		return "", err
	}
	for _, m := range chosen {
		switch {
		case m.gone || s.store.held:
		case silent && !s.condStore:
			s.told[m.entry] = m.modSeq
		case silent:
			s.told[m.entry] = m.modSeq
			s.untagged("* %d FETCH (UID %d MODSEQ (%d))", m.number, m.uid, m.modSeq)
		case strings.HasSuffix(item, "X-GM-LABELS"):
			s.told[m.entry] = m.modSeq
			s.untagged("* %d FETCH (X-GM-LABELS %s UID %d)", m.number, s.labelList(m.entry), m.uid)
		default:
			s.tellFlags(m.number, m.entry)
		}
	}
	if len(modified) > 0 {
		return fmt.Sprintf("[MODIFIED %s] Conditional STORE failed", strings.Join(modified, ",")), nil
	}
	return "Success", nil
}

// in is the message's number as a command has it.
func (m numbered) in(uid bool) string {
	if uid {
		return fmt.Sprint(m.uid)
	}
	return fmt.Sprint(m.number)
}

// apply makes the change of a STORE.
func (s *session) apply(item string, names []value, chosen []numbered) error {
	on, replace := strings.HasPrefix(item, "+"), !strings.HasPrefix(item, "+") && !strings.HasPrefix(item, "-")
	var setDeleted []*entry
	switch strings.TrimLeft(item, "+-") {
	case "X-GM-LABELS":
		labels := make([]string, len(names))
		for i, name := range names {
			labels[i] = s.name(name)
		}
		s.store.change(func(n uint64) {
			for _, m := range chosen {
				m.modSeq = n
				if replace {
					own := m.labels[s.selected.label]
					clear(m.labels)
					if own && s.selected.label != "" {
						m.labels[s.selected.label] = true
					}
				}
				s.store.label(m.message, labels, on || replace)
			}
		})
	case "FLAGS":
		s.store.change(func(n uint64) {
			for _, m := range chosen {
				m.modSeq = n
				if replace {
					for _, flag := range m.allFlags() {
						s.store.flag(m.message, flag, false)
					}
					m.deleted = false
				}
				for _, name := range names {
					if canonical(imap.Flag(name.text)) == imap.FlagDeleted {
						m.deleted = on || replace
						setDeleted = append(setDeleted, m.entry)
						continue
					}
					s.store.flag(m.message, imap.Flag(name.text), on || replace)
				}
			}
		})
	default:
		return bad("Could not parse command")
	}
	setDeleted = slices.DeleteFunc(setDeleted, func(e *entry) bool { return !e.deleted })
	if len(setDeleted) > 0 && !s.server.settings.keepDeleted {
		s.store.remove(s.selected, setDeleted)
	}
	return nil
}

func (s *session) copy(args []value, uid bool) (string, error) {
	return s.transfer(args, uid, false)
}

func (s *session) move(args []value, uid bool) (string, error) {
	if s.readOnly {
		return "", errReadOnly
	}
	return s.transfer(args, uid, true)
}

// transfer gives messages the label of another folder, and if they move takes
// that of this one away.
func (s *session) transfer(args []value, uid, moves bool) (string, error) {
	if len(args) != 2 {
		return "", bad("Could not parse command")
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	chosen, err := s.choose(args[0].text, uid)
	if err != nil {
		return "", err
	}
	to := s.store.folder(s.name(args[1]))
	if to == nil {
		return "", no("[TRYCREATE] No folder %s (Failure)", args[1].text)
	}
	if len(chosen) == 0 {
		return "Success", nil
	}
	entries := make([]*entry, len(chosen))
	for i, m := range chosen {
		entries[i] = m.entry
	}
	s.store.moveTo(to, entries)
	code := copied(to, entries)
	if !moves {
		return code + "Success", nil
	}
	// What went to the trash or came out of it is gone from here already.
	if rest := slices.DeleteFunc(slices.Clone(entries), func(e *entry) bool { return e.gone }); len(rest) > 0 && s.selected.label != "" && to != s.selected {
		s.store.remove(s.selected, rest)
	}
	if code != "" {
		s.untagged("* OK %s", strings.TrimSpace(code))
	}
	return "Success", nil
}

// copied is the code COPYUID.
func copied(to *folder, entries []*entry) string {
	var from, at []string
	for _, e := range entries {
		if there := to.find(e.message); there != nil {
			from = append(from, fmt.Sprint(e.uid))
			at = append(at, fmt.Sprint(there.uid))
		}
	}
	if len(from) == 0 {
		return ""
	}
	return fmt.Sprintf("[COPYUID %d %s %s] ", to.validity, strings.Join(from, ","), strings.Join(at, ","))
}

func (s *session) expunge(args []value, uid bool) (string, error) {
	if s.readOnly {
		return "", errReadOnly
	}
	set := "1:*"
	if uid {
		if len(args) != 1 {
			return "", bad("Could not parse command")
		}
		set = args[0].text
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	chosen, err := s.choose(set, uid)
	if err != nil {
		return "", err
	}
	s.expungeDeleted(chosen)
	return "Success", nil
}

func (s *session) expungeDeleted(chosen []numbered) {
	var deleted []*entry
	for _, m := range chosen {
		if m.deleted {
			deleted = append(deleted, m.entry)
		}
	}
	if len(deleted) > 0 {
		s.store.remove(s.selected, deleted)
	}
}

func (s *session) close([]value, bool) (string, error) {
	if !s.readOnly {
		s.store.mu.Lock()
		defer s.store.mu.Unlock()
		chosen, err := s.choose("1:*", false)
		if err != nil {
			return "", err
		}
		s.expungeDeleted(chosen)
	}
	s.selected = nil
	return "Returned to authenticated state. (Success)", nil
}

func (s *session) unselect([]value, bool) (string, error) {
	s.selected = nil
	return "Returned to authenticated state. (Success)", nil
}

// append stores a message: APPEND folder [(flags)] ["date"] literal.
func (s *session) append(args []value) (string, error) {
	if len(args) < 2 {
		return "", bad("Could not parse command")
	}
	name, raw, args := s.name(args[0]), args[len(args)-1].text, args[1:len(args)-1]
	var flags []imap.Flag
	arrived := time.Now()
	for _, arg := range args {
		if arg.isList {
			for _, flag := range arg.list {
				flags = append(flags, imap.Flag(flag.text))
			}
		} else {
			arrived = parseArrival(arg.text)
		}
	}
	s.store.mu.Lock()
	f := s.store.folder(name)
	if f == nil {
		s.store.mu.Unlock()
		return "", no("[TRYCREATE] No folder %s (Failure)", name)
	}
	m := s.store.add([]byte(raw), arrived, flags, f.destination()...)
	code := ""
	if e := f.find(m); e != nil {
		code = fmt.Sprintf("[APPENDUID %d %d] ", f.validity, e.uid)
	}
	s.store.mu.Unlock()
	s.poll(true)
	return code + "(Success)", nil
}
