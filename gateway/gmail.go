package gateway

import (
	"slices"
	"strings"

	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/imapconn"
)

// capGmail is Gmail's extension to IMAP.
const capGmail = "X-GM-EXT-1"

// completeLabels adds the label of the selected folder to messages of Gmail,
// which tells of all others: whatever folder a message is read in, its labels
// are the same.
func completeLabels(c *imapconn.Conn, list ...*imapconn.FetchMessage) {
	if !c.Has(capGmail) {
		return
	}
	label := labelOf(c.Selected())
	if label == "" {
		return
	}
	for _, m := range list {
		if m.GmailLabels != nil && !slices.Contains(m.GmailLabels, label) {
			m.GmailLabels = append(m.GmailLabels, label)
			slices.Sort(m.GmailLabels)
		}
	}
}

// labelOf is the label whose messages a folder of Gmail shows; the folders of
// all mail, spam and trash have none. System folders go by their names in the
// account's language.
func labelOf(name string) string {
	top, _, _ := strings.Cut(name, "/")
	switch {
	case strings.EqualFold(name, "INBOX"):
		return `\Inbox`
	case top != "[Gmail]" && top != "[Google Mail]":
		return name
	}
	roles := folder.InferRoles([]folder.RoleCandidate{{Folder: folder.Folder{Name: name, Delimiter: '/'}}})
	return map[folder.Role]string{
		folder.RoleSent: `\Sent`, folder.RoleDrafts: `\Draft`, folder.RoleFlagged: `\Starred`,
	}[roles[0].Role]
}
