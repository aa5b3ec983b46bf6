package event

import (
	"strings"
	"unicode/utf8"
)

// Bounds of what an event quotes from a mailbox. Whoever can send mail chooses
// these texts; an event that did not fit into the log would hold up everything
// behind it for ever. Together they keep an event below 256 KiB.
const (
	maxText      = 2000 // bytes of a subject, a snippet, a detail
	maxAddresses = 50   // addresses of one header
	maxName      = 200  // bytes of a display name or a flag
	maxAddress   = 320  // bytes of an address (RFC 3696 section 3)
	maxFlags     = 100  // flags of one message
	maxPath      = 50   // levels of a folder's path
	maxElement   = 500  // bytes of one level
)

// bounded is implemented by data that quotes a mailbox.
type bounded interface{ bound() }

func (m *MessageCreated) bound() {
	m.MessageRef.bound()
	m.Flags = boundFlags(m.Flags)
	m.Snippet, _ = boundText(m.Snippet)
	if m.Envelope != nil {
		m.Envelope = m.Envelope.bounded()
	}
}

func (m *MessageMoved) bound() {
	m.MessageRef.bound()
	m.Flags = boundFlags(m.Flags)
}

func (m *MessageUpdated) bound() {
	m.MessageRef.bound()
	m.Flags.Before = boundFlags(m.Flags.Before)
	m.Flags.After = boundFlags(m.Flags.After)
	m.Flags.Added = boundFlags(m.Flags.Added)
	m.Flags.Removed = boundFlags(m.Flags.Removed)
}

func (m *MessageMissing) bound() {
	m.MessageRef.bound()
	m.Detail, _ = boundText(m.Detail)
}

func (m *MessageRef) bound() {
	m.EmailID, _ = boundText(m.EmailID)
	m.Thread, _ = boundText(m.Thread)
}

func (f *FolderRef) bound() { f.Path = boundPath(f.Path) }

func (f *FolderRenamed) bound() {
	f.FolderRef.bound()
	f.PreviousPath = boundPath(f.PreviousPath)
}

func (f *FolderOverflow) bound() {
	f.FolderRef.bound()
	f.Reason, _ = boundText(f.Reason)
}

func (a *AccountDegraded) bound()     { a.Detail, _ = boundText(a.Detail) }
func (a *AccountAuthRequired) bound() { a.Detail, _ = boundText(a.Detail) }
func (a *AccountGap) bound()          { a.Reason, _ = boundText(a.Reason) }

// bounded is a copy of e that quotes no more than fits.
func (e *Envelope) bounded() *Envelope {
	out := *e
	var cut [5]bool
	if e.From != nil {
		var from Address
		from, cut[0] = e.From.bounded()
		out.From = &from
	}
	out.To, cut[1] = boundAddresses(e.To)
	out.Cc, cut[2] = boundAddresses(e.Cc)
	out.Subject, cut[3] = boundText(e.Subject)
	out.MessageID, cut[4] = boundText(e.MessageID)
	out.Truncated = e.Truncated || cut != [5]bool{}
	return &out
}

func boundAddresses(list []Address) (out []Address, cut bool) {
	if len(list) > maxAddresses {
		list, cut = list[:maxAddresses], true
	}
	out = make([]Address, len(list))
	for i, a := range list {
		var cutOne bool
		out[i], cutOne = a.bounded()
		cut = cut || cutOne
	}
	return out, cut
}

func (a Address) bounded() (out Address, cut bool) {
	var cutName, cutAddress bool
	out.Name, cutName = boundTo(a.Name, maxName)
	out.Address, cutAddress = boundTo(a.Address, maxAddress)
	return out, cutName || cutAddress
}

// boundFlags never returns nil: no flags are an empty list, not null.
func boundFlags(flags []string) []string {
	out := make([]string, 0, len(flags))
	for _, flag := range flags {
		if len(out) == maxFlags {
			break
		}
		short, _ := boundTo(flag, maxName)
		out = append(out, short)
	}
	return out
}

func boundPath(path []string) []string {
	if path == nil {
		return nil
	}
	if len(path) > maxPath {
		path = path[:maxPath]
	}
	out := make([]string, len(path))
	for i, element := range path {
		out[i], _ = boundTo(element, maxElement)
	}
	return out
}

func boundText(s string) (string, bool) { return boundTo(s, maxText) }

// boundTo cuts s to at most n bytes, between characters. Bytes that are not
// UTF-8 become U+FFFD, so that the JSON that goes out is the JSON that comes
// back, and control characters become spaces: JSON would spend six bytes on
// each.
func boundTo(s string, n int) (short string, cut bool) {
	s = strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, s)
	if len(s) <= n {
		return s, false
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n], true
}
