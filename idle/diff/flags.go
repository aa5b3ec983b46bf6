package diff

import (
	"cmp"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// Flags are a message's flags and keywords in canonical form: sorted, each
// once, without \Recent, joined by spaces. Two messages have equal flags
// exactly when their Flags are equal, and equal values share their memory
// where the runtime can.
type Flags string

// systemFlags gives the spelling of RFC 9051 section 2.3.2 to flags that
// servers write in other letter cases; flags are case-insensitive.
var systemFlags = map[string]imap.Flag{
	`\seen`: imap.FlagSeen, `\answered`: imap.FlagAnswered, `\flagged`: imap.FlagFlagged,
	`\deleted`: imap.FlagDeleted, `\draft`: imap.FlagDraft,
}

// MakeFlags brings flags into canonical form. \Recent is left out: it belongs
// to the session that sees it (RFC 3501 section 2.3.2), not to the message.
func MakeFlags(flags []imap.Flag) Flags {
	canonical := make([]string, 0, len(flags))
	for _, flag := range flags {
		lower := strings.ToLower(string(flag))
		if system, ok := systemFlags[lower]; ok {
			flag = system
		}
		if lower != `\recent` && flag != "" {
			canonical = append(canonical, string(flag))
		}
	}
	slices.Sort(canonical)
	return Flags(strings.Join(slices.Compact(canonical), " "))
}

// List returns the flags one by one. It is empty, never nil, for no flags.
func (f Flags) List() []imap.Flag {
	list := []imap.Flag{}
	for flag := range strings.FieldsSeq(string(f)) {
		list = append(list, imap.Flag(flag))
	}
	return list
}

// WindowSize is how many messages a Window remembers: enough that the flags of
// mail people still touch are known, and few enough that a folder costs some
// kilobytes.
const WindowSize = 200

// Window remembers the flags of the newest messages of a folder. Its zero
// value is empty.
type Window struct {
	entries []windowEntry // by ascending UID
}

type windowEntry struct {
	uid   imap.UID
	flags Flags
}

func (w *Window) find(uid imap.UID) (int, bool) {
	return slices.BinarySearchFunc(w.entries, uid, func(e windowEntry, uid imap.UID) int {
		return cmp.Compare(e.uid, uid)
	})
}

// Get returns the flags of a message, if it is in the window.
func (w *Window) Get(uid imap.UID) (Flags, bool) {
	if i, ok := w.find(uid); ok {
		return w.entries[i].flags, true
	}
	return "", false
}

// Set remembers a message's flags. When the window is full its lowest UID is
// forgotten.
func (w *Window) Set(uid imap.UID, flags Flags) {
	i, ok := w.find(uid)
	switch {
	case ok:
		w.entries[i].flags = flags
	case len(w.entries) < WindowSize:
		w.entries = slices.Insert(w.entries, i, windowEntry{uid, flags})
	case i > 0:
		copy(w.entries, w.entries[1:i])
		w.entries[i-1] = windowEntry{uid, flags}
	}
}

// Delete forgets a message.
func (w *Window) Delete(uid imap.UID) {
	if i, ok := w.find(uid); ok {
		w.entries = slices.Delete(w.entries, i, i+1)
	}
}

// DeleteFrom forgets the messages from a UID on.
func (w *Window) DeleteFrom(uid imap.UID) {
	i, _ := w.find(uid)
	w.entries = w.entries[:i]
}

// Len returns how many messages are remembered.
func (w *Window) Len() int { return len(w.entries) }

// Each calls visit for every remembered message by ascending UID.
func (w *Window) Each(visit func(imap.UID, Flags)) {
	for _, entry := range w.entries {
		visit(entry.uid, entry.flags)
	}
}
