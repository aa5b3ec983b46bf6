package event

import (
	"strings"
	"time"

	"github.com/postern-mail/postern/internal/folder"
)

// Origin says why a message is announced.
type Origin string

// Origins of message.created.
const (
	// OriginNew is mail that came after the account was registered.
	OriginNew Origin = "NEW"
	// OriginBackfill is mail that was there before.
	OriginBackfill Origin = "BACKFILL"
	// OriginResync is mail first seen after a folder was reset, which may
	// have come while nobody looked.
	OriginResync Origin = "RESYNC"
	// OriginReappeared is mail that was announced and deleted before.
	OriginReappeared Origin = "REAPPEARED"
)

// Address is one mailbox of an address header.
type Address struct {
	Name    string `json:"name,omitempty"`
	Address string `json:"address"`
}

// Envelope is what a list of messages shows, so that a consumer can act
// without calling back. It is spelled as in the API's Message.
type Envelope struct {
	// From is the first author (RFC 5322 section 3.6.2 allows several).
	From    *Address  `json:"from,omitempty"`
	To      []Address `json:"to"`
	Cc      []Address `json:"cc"`
	Subject string    `json:"subject"`
	// Date is the Date header's, not when the message came; absent when the
	// message has none that can be read.
	Date      *time.Time `json:"date,omitempty"`
	MessageID string     `json:"messageId,omitempty"`
	// Truncated says that lists or texts were cut to keep the event small.
	Truncated bool `json:"truncated,omitempty"`
}

// MessageRef names the message that an event is about.
type MessageRef struct {
	Message string `json:"message"`
	Folder  string `json:"folder"`
	EmailID string `json:"emailId,omitempty"`
	Thread  string `json:"thread,omitempty"`
}

// MessageName is the resource name of a message.
func MessageName(account string, id folder.MessageID) string {
	return "accounts/" + account + "/messages/" + id.String()
}

// FolderName is the resource name of a folder.
func FolderName(account string, key folder.Key) string {
	return "accounts/" + account + "/folders/" + key.String()
}

// AccountName is the resource name of an account.
func AccountName(account string) string { return "accounts/" + account }

// MessageAt names the message at a placement. emailID and thread may be empty.
func MessageAt(account string, id folder.MessageID, emailID, thread string) MessageRef {
	return MessageRef{
		Message: MessageName(account, id),
		Folder:  FolderName(account, id.Folder),
		EmailID: emailID,
		Thread:  thread,
	}
}

// ID is the placement that the name stands for.
func (m MessageRef) ID() (folder.MessageID, error) { return placementIn(m.Message) }

// placementIn is the last element of a message's name.
func placementIn(name string) (folder.MessageID, error) {
	return folder.ParseMessageID(name[strings.LastIndexByte(name, '/')+1:])
}

func (m MessageRef) resource(string) string { return m.Message }

// addKey: folder key, UIDVALIDITY and UID are what the name spells.
func (m MessageRef) addKey(k naturalKey, _ uint64) { k.text(m.Message) }

// MessageCreated is the data of message.created.
type MessageCreated struct {
	MessageRef
	Origin       Origin     `json:"origin"`
	Flags        []string   `json:"flags"`
	Size         int64      `json:"size,string"`
	InternalDate *time.Time `json:"internalDate,omitempty"`
	Envelope     *Envelope  `json:"envelope,omitempty"`
	Snippet      string     `json:"snippet,omitempty"`
}

// EventType implements [Data].
func (*MessageCreated) EventType() Type { return TypeMessageCreated }

// addKey: mail appears once under a name, unless a server takes back that it
// was gone.
func (m *MessageCreated) addKey(k naturalKey, after uint64) {
	m.MessageRef.addKey(k, after)
	if m.Origin == OriginReappeared {
		k.number(after)
	}
}

// Flags tells a change of flags: both states, and the difference for those
// who keep no state.
type Flags struct {
	Before  []string `json:"before"`
	After   []string `json:"after"`
	Added   []string `json:"added"`
	Removed []string `json:"removed"`
}

// MessageUpdated is the data of message.updated.
type MessageUpdated struct {
	MessageRef
	Flags Flags `json:"flags"`
	// ModSeq is the message's MODSEQ after the change (RFC 7162), or 0.
	ModSeq uint64 `json:"modSeq,string,omitempty"`
}

// EventType implements [Data].
func (*MessageUpdated) EventType() Type { return TypeMessageUpdated }

// addKey: a MODSEQ names one change of one message (RFC 7162 section 3.1).
// Without it the same change can come again, so the states are not enough.
func (m *MessageUpdated) addKey(k naturalKey, after uint64) {
	k.text(m.Message)
	k.number(m.ModSeq)
	if m.ModSeq == 0 {
		k.number(after)
		k.texts(m.Flags.Before)
		k.texts(m.Flags.After)
	}
}

// MessageMoved is the data of message.moved. The embedded names are the new
// placement's. In the log it is the end of the message in the former folder as
// well as its beginning in the new one, so that neither is there without the
// other; the checkpoint is the new folder's, since a message that leaves moves no
// position.
type MessageMoved struct {
	MessageRef
	PreviousMessage string `json:"previousMessage"`
	PreviousFolder  string `json:"previousFolder"`
	// Flags are the message's where it is now.
	Flags []string `json:"flags"`
}

// PreviousID is the placement that the message had before.
func (m *MessageMoved) PreviousID() (folder.MessageID, error) { return placementIn(m.PreviousMessage) }

// EventType implements [Data].
func (*MessageMoved) EventType() Type { return TypeMessageMoved }

func (m *MessageMoved) addKey(k naturalKey, _ uint64) {
	k.text(m.PreviousMessage)
	k.text(m.Message)
}

// MessageDeleted is the data of message.deleted.
type MessageDeleted struct{ MessageRef }

// EventType implements [Data].
func (*MessageDeleted) EventType() Type { return TypeMessageDeleted }

// addKey: a message can go again that a server took back to be gone, and a name
// can be given again to another message.
func (m *MessageDeleted) addKey(k naturalKey, after uint64) {
	m.MessageRef.addKey(k, after)
	k.number(after)
}

// MessageMissing is the data of message.missing: the server counted a message
// that could not be read, however often it was tried.
type MessageMissing struct {
	MessageRef
	Detail string `json:"detail,omitempty"`
}

// EventType implements [Data].
func (*MessageMissing) EventType() Type { return TypeMessageMissing }
