package event

import "github.com/postern-mail/postern/internal/folder"

// FolderRef names the folder that an event is about.
type FolderRef struct {
	Folder string `json:"folder"`
	// Path is the decoded name, one element per level.
	Path []string `json:"path,omitempty"`
}

// FolderAt names a folder of an account.
func FolderAt(account string, key folder.Key, path []string) FolderRef {
	return FolderRef{Folder: FolderName(account, key), Path: path}
}

func (f FolderRef) resource(string) string { return f.Folder }

// addKey: a folder can be made, renamed, deleted and overflow again and again.
func (f FolderRef) addKey(k naturalKey, after uint64) {
	k.text(f.Folder)
	k.number(after)
}

// FolderCreated is the data of folder.created.
type FolderCreated struct{ FolderRef }

// EventType implements [Data].
func (*FolderCreated) EventType() Type { return TypeFolderCreated }

// FolderRenamed is the data of folder.renamed; its Path is the new one.
type FolderRenamed struct {
	FolderRef
	PreviousPath []string `json:"previousPath"`
}

// EventType implements [Data].
func (*FolderRenamed) EventType() Type { return TypeFolderRenamed }

// FolderDeleted is the data of folder.deleted.
type FolderDeleted struct{ FolderRef }

// EventType implements [Data].
func (*FolderDeleted) EventType() Type { return TypeFolderDeleted }

// FolderReset is the data of folder.reset: the server gave the folder a new
// UIDVALIDITY (RFC 9051 section 2.3.1.1), so every message in it has a new
// name. Mail that was known is not announced again.
type FolderReset struct {
	FolderRef
	PreviousUIDValidity uint32 `json:"previousUidValidity"`
	UIDValidity         uint32 `json:"uidValidity"`
}

// EventType implements [Data].
func (*FolderReset) EventType() Type { return TypeFolderReset }

func (f *FolderReset) addKey(k naturalKey, _ uint64) {
	k.text(f.Folder)
	k.number(uint64(f.PreviousUIDValidity))
	k.number(uint64(f.UIDValidity))
}

// FolderOverflow is the data of folder.overflow: very much changed at once. The
// events of it follow; a consumer may rather read the folder again.
type FolderOverflow struct {
	FolderRef
	// Changes is about how many events are to follow.
	Changes uint64 `json:"changes,string"`
	Reason  string `json:"reason"`
}

// EventType implements [Data].
func (*FolderOverflow) EventType() Type { return TypeFolderOverflow }
