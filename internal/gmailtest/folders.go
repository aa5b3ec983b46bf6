package gmailtest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/imapwire"
)

// name reads the name of a folder.
func (s *session) name(v value) string {
	if s.utf8 {
		return v.text
	}
	name, _ := imapwire.DecodeUTF7(v.text)
	return name
}

// quoteName writes the name of a folder or a label.
func (s *session) quoteName(name string) string {
	if !s.utf8 {
		name = imapwire.EncodeUTF7(name)
	}
	return quote(name)
}

// quote writes a string: quoted where that is allowed, or else as a literal.
func quote(text string) string {
	if strings.ContainsAny(text, "\r\n\x00") || len(text) > 1000 {
		return fmt.Sprintf("{%d}\r\n%s", len(text), text)
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}

// find gives a folder. The caller holds the store's lock.
func (s *session) find(name string) (*folder, error) {
	if f := s.store.folder(name); f != nil {
		return f, nil
	}
	return nil, no("[NONEXISTENT] Unknown Mailbox: %s (Failure)", name)
}

// list answers LIST, its extended form and LSUB, whose differences nobody minds.
func (s *session) list(args []value) (string, error) {
	if len(args) > 0 && args[0].isList {
		args = args[1:] // selection options
	}
	if len(args) < 2 {
		return "", bad("Could not parse command")
	}
	patterns := []value{args[1]}
	if args[1].isList {
		patterns = args[1].list
	}
	var status []value
	if len(args) > 3 && args[2].upper() == "RETURN" {
		for i, option := range args[3].list {
			if option.upper() == "STATUS" && i+1 < len(args[3].list) {
				status = args[3].list[i+1].list
			}
		}
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	reference := args[0].text
	matches := func(name string) bool {
		return slices.ContainsFunc(patterns, func(p value) bool { return matchName(reference+s.name(p), name) })
	}
	if matches("[Gmail]") {
		s.untagged(`* LIST (\HasChildren \Noselect) "/" "[Gmail]"`)
	}
	for _, f := range s.store.folders {
		if !matches(f.name) {
			continue
		}
		s.untagged("* LIST (%s) \"/\" %s", strings.Join(s.attributes(f), " "), s.quoteName(f.name))
		if status != nil {
			s.untagged("* STATUS %s (%s)", s.quoteName(f.name), f.status(s.store, status))
		}
	}
	return "Success", nil
}

func (s *session) attributes(f *folder) []string {
	attrs := []string{`\HasNoChildren`}
	for _, other := range s.store.folders {
		if strings.HasPrefix(other.name, f.name+"/") {
			attrs[0] = `\HasChildren`
		}
	}
	if f.attr != "" {
		attrs = append(attrs, string(f.attr))
	}
	if !f.unsubscribed {
		attrs = append(attrs, `\Subscribed`)
	}
	return attrs
}

// status are the items of STATUS.
func (f *folder) status(s *store, items []value) string {
	var b strings.Builder
	for _, item := range items {
		n := uint64(0)
		switch item.upper() {
		case "MESSAGES":
			n = uint64(len(f.entries))
		case "UNSEEN":
			for _, e := range f.entries {
				if !e.flags[imap.FlagSeen] {
					n++
				}
			}
		case "UIDNEXT":
			n = uint64(f.next)
		case "UIDVALIDITY":
			n = uint64(f.validity)
		case "HIGHESTMODSEQ":
			n = s.modSeq
		}
		fmt.Fprintf(&b, " %s %d", item.upper(), n)
	}
	return strings.TrimSpace(b.String())
}

func (s *session) status(args []value) (string, error) {
	if len(args) != 2 {
		return "", bad("Could not parse command")
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	f, err := s.find(s.name(args[0]))
	if err != nil {
		return "", err
	}
	s.untagged("* STATUS %s (%s)", s.quoteName(f.name), f.status(s.store, args[1].list))
	return "Success", nil
}

func (s *session) selectFolder(args []value) (string, error) { return s.open(args, false) }
func (s *session) examine(args []value) (string, error)      { return s.open(args, true) }

func (s *session) open(args []value, readOnly bool) (string, error) {
	s.selected = nil
	if len(args) == 0 {
		return "", bad("Could not parse command")
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	f, err := s.find(s.name(args[0]))
	if err != nil {
		return "", err
	}
	if len(args) > 1 {
		s.condStore = true
	}
	s.selected, s.readOnly = f, readOnly
	s.shown = slices.Clone(f.entries)
	s.told = make(map[*entry]uint64, len(s.shown))
	for _, e := range s.shown {
		s.told[e] = e.modSeq
	}
	s.untagged(`* FLAGS (\Answered \Flagged \Draft \Deleted \Seen $NotPhishing $Phishing)`)
	s.untagged(`* OK [PERMANENTFLAGS (\Answered \Flagged \Draft \Deleted \Seen $NotPhishing $Phishing \*)] Flags permitted.`)
	s.untagged("* OK [UIDVALIDITY %d] UIDs valid.", f.validity)
	s.untagged("* %d EXISTS", len(s.shown))
	s.untagged("* 0 RECENT")
	s.untagged("* OK [UIDNEXT %d] Predicted next UID.", f.next)
	s.untagged("* OK [HIGHESTMODSEQ %d]", s.store.modSeq)
	mode := "READ-WRITE"
	if readOnly {
		mode = "READ-ONLY"
	}
	return fmt.Sprintf("[%s] %s selected. (Success)", mode, imapwire.EncodeUTF7(f.name)), nil
}

func (s *session) create(args []value) (string, error) {
	if len(args) == 0 {
		return "", bad("Could not parse command")
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	name := strings.TrimSuffix(s.name(args[0]), "/")
	switch {
	case s.store.folder(name) != nil:
		return "", no("[ALREADYEXISTS] Duplicate folder name %s (Failure)", name)
	case name == "[Gmail]" || strings.HasPrefix(name, "[Gmail]/"):
		return "", no("[CANNOT] Invalid folder name: %s (Failure)", name)
	}
	s.store.labelled(name)
	return "Success", nil
}

// deleteFolder deletes a label. The messages stay in All Mail.
func (s *session) deleteFolder(args []value) (string, error) {
	if len(args) != 1 {
		return "", bad("Could not parse command")
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	f, err := s.find(s.name(args[0]))
	if err != nil {
		return "", err
	}
	if f.system() {
		return "", no("[CANNOT] Cannot delete folder %s (Failure)", f.name)
	}
	s.store.change(func(n uint64) {
		for _, m := range s.store.messages {
			if m.labels[f.label] {
				delete(m.labels, f.label)
				m.modSeq = n
			}
		}
		s.store.folders = slices.DeleteFunc(s.store.folders, func(other *folder) bool { return other == f })
	})
	return "Success", nil
}

func (s *session) rename(args []value) (string, error) {
	if len(args) != 2 {
		return "", bad("Could not parse command")
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	f, err := s.find(s.name(args[0]))
	if err != nil {
		return "", err
	}
	to := s.name(args[1])
	switch {
	case f.system():
		return "", no("[CANNOT] Cannot rename folder %s (Failure)", f.name)
	case s.store.folder(to) != nil:
		return "", no("[ALREADYEXISTS] Duplicate folder name %s (Failure)", to)
	}
	s.store.change(func(n uint64) {
		from := f.name
		for _, other := range s.store.folders {
			rest, inside := strings.CutPrefix(other.name, from)
			if !inside || rest != "" && rest[0] != '/' {
				continue
			}
			for _, m := range s.store.messages {
				if m.labels[other.label] {
					delete(m.labels, other.label)
					m.labels[to+rest] = true
					m.modSeq = n
				}
			}
			other.name, other.label = to+rest, to+rest
		}
	})
	return "Success", nil
}

func (s *session) subscribe(args []value) (string, error)   { return s.setSubscribed(args, true) }
func (s *session) unsubscribe(args []value) (string, error) { return s.setSubscribed(args, false) }

func (s *session) setSubscribed(args []value, on bool) (string, error) {
	if len(args) != 1 {
		return "", bad("Could not parse command")
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	f, err := s.find(s.name(args[0]))
	if err != nil {
		return "", err
	}
	f.unsubscribed = !on
	return "Success", nil
}
