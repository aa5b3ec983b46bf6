package gateway

import (
	"encoding/base64"
	"strconv"
	"strings"
	"unicode/utf8"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/imapconn"
)

// threadID says which thread is meant, in the terms of what knows it. Its first
// letter in a name is the kind.
type threadID struct {
	kind threadKind
	// value is the server's id, or the Message-ID that the thread began with, or
	// the id of the one message that there is.
	value string
}

type threadKind byte

const (
	threadByObjectID  threadKind = 'o'
	threadByGmail     threadKind = 'g'
	threadByMessageID threadKind = 'm'
	// threadOfOne: a message that no header ties to another.
	threadOfOne threadKind = 'u'
)

// maxRootID bounds the Message-IDs that a name can hold.
const maxRootID = 250

// rootedThread is the thread that began with a Message-ID. What has none, or one
// that no name can hold, goes by a message of it.
func rootedThread(root string, of folder.MessageID) threadID {
	if root == "" || len(root) > maxRootID {
		return threadID{threadOfOne, of.String()}
	}
	return threadID{threadByMessageID, root}
}

func (id threadID) String() string {
	if id.kind == threadByMessageID {
		return string(id.kind) + base64.RawURLEncoding.EncodeToString([]byte(id.value))
	}
	return string(id.kind) + id.value
}

// parseThreadID reads what String writes.
func parseThreadID(text string) (threadID, bool) {
	if len(text) < 2 {
		return threadID{}, false
	}
	id := threadID{threadKind(text[0]), text[1:]}
	switch id.kind {
	case threadByObjectID:
		return id, true
	case threadByGmail:
		_, err := strconv.ParseUint(id.value, 16, 64)
		return id, err == nil
	case threadByMessageID:
		raw, err := base64.RawURLEncoding.DecodeString(id.value)
		id.value = string(raw)
		return id, err == nil && len(raw) > 0 && utf8.Valid(raw) && !strings.ContainsAny(id.value, "\x00\r\n")
	case threadOfOne:
		_, err := folder.ParseMessageID(id.value)
		return id, err == nil
	}
	return threadID{}, false
}

// threadName is the name of a message's thread where the server told its id.
func threadName(account string, m *imapconn.FetchMessage) string {
	id, ok := serverThread(m)
	if !ok {
		return ""
	}
	return id.name(account)
}

func (id threadID) name(account string) string {
	return "accounts/" + account + "/threads/" + id.String()
}

func serverThread(m *imapconn.FetchMessage) (id threadID, ok bool) {
	switch {
	case m.ThreadID != "":
		return threadID{threadByObjectID, m.ThreadID}, true
	case m.GmailThreadID != 0:
		return threadID{threadByGmail, strconv.FormatUint(m.GmailThreadID, 16)}, true
	}
	return threadID{}, false
}

// criteria finds the messages of a thread that the server knows.
func (id threadID) criteria() *imapconn.SearchCriteria {
	c := &imapconn.SearchCriteria{}
	if id.kind == threadByGmail {
		n, _ := strconv.ParseUint(id.value, 16, 64)
		c.GmailThreadID = []uint64{n}
	} else {
		c.ThreadID = []string{id.value}
	}
	return c
}

// threadSource is the best that tells threads on a server.
func threadSource(c *imapconn.Conn) posternv1.Thread_Source {
	switch {
	case c.Has("OBJECTID"):
		return posternv1.Thread_OBJECTID
	case c.Has(capGmail):
		return posternv1.Thread_GMAIL
	case c.Has("THREAD=REFERENCES"):
		return posternv1.Thread_THREAD_REFERENCES
	}
	return posternv1.Thread_REFERENCES
}
