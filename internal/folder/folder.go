package folder

import (
	"encoding/json"
	"strings"
)

// Folder is a folder's identity.
type Folder struct {
	Key Key
	// Name is the folder's name as the server has it, with its delimiters, in
	// the form that imapconn takes.
	Name string
	// Delimiter separates the levels of Name; 0 when there are none.
	Delimiter rune
	// Prefix is what Name begins with because the user's folders are in a
	// namespace of that prefix (RFC 2342). It is no part of the path.
	Prefix string
	// Was is the name under which the event log knows the folder, while that is
	// not Name any more: see [Registry.Told].
	Was string
	// Role is what somebody said that the folder is for; empty when nobody did.
	Role Role
	// Deleted says that the folder is gone. Its key is not given out again.
	Deleted bool
}

// storedFolder is a Folder in JSON. Names are bytes there: some servers have
// names that are no UTF-8, which JSON would not bring back.
type storedFolder struct {
	Key       Key    `json:"key"`
	Name      []byte `json:"name"`
	Delimiter rune   `json:"delimiter,omitempty"`
	Prefix    []byte `json:"prefix,omitempty"`
	Was       []byte `json:"was,omitempty"`
	Role      Role   `json:"role,omitempty"`
	Deleted   bool   `json:"deleted,omitempty"`
}

// MarshalJSON implements [json.Marshaler].
func (f Folder) MarshalJSON() ([]byte, error) {
	return json.Marshal(storedFolder{f.Key, []byte(f.Name), f.Delimiter, []byte(f.Prefix), []byte(f.Was), f.Role, f.Deleted})
}

// UnmarshalJSON implements [json.Unmarshaler].
func (f *Folder) UnmarshalJSON(b []byte) error {
	var s storedFolder
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	*f = Folder{s.Key, string(s.Name), s.Delimiter, string(s.Prefix), string(s.Was), s.Role, s.Deleted}
	return nil
}

// Path is the name as one element per level, without the namespace's prefix.
func (f Folder) Path() []string {
	// A name in no valid encoding is marked by a NUL, for the server; people
	// see it as it is.
	name := strings.TrimPrefix(f.Name, "\x00")
	name = strings.ToValidUTF8(strings.TrimPrefix(name, f.Prefix), "\uFFFD")
	if f.Delimiter == 0 {
		return []string{name}
	}
	return strings.Split(name, string(f.Delimiter))
}

// Told is the folder under the name by which the event log knows it.
func (f Folder) Told() Folder {
	if f.Was != "" {
		f.Name = f.Was
	}
	return f
}

// IsInbox reports whether the folder is INBOX, whose name alone does not depend
// on case (RFC 9051 section 5.1).
func (f Folder) IsInbox() bool { return strings.EqualFold(f.Name, "INBOX") }

// Seen is a folder as a server lists it.
type Seen struct {
	Name      string
	Delimiter rune
	Prefix    string
}
