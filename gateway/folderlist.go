package gateway

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/imapconn"
)

// folderLister reads the folders of an account from its server.
type folderLister struct {
	mailboxes mailboxes
	folders   folderKeys
}

// listedFolder is a folder as the server has it now.
type listedFolder struct {
	folder.Folder
	role       folder.Role
	source     folder.RoleSource
	selectable bool
	subscribed bool
	// status is nil where it was not asked for or the server would not tell.
	status *imapconn.StatusData
}

// folderList is all folders of an account.
type folderList struct {
	folders []listedFolder
	// gmail says that the server is Gmail, whose folders are labels.
	gmail bool
}

// list gives all folders in the order of their paths, INBOX first. With status
// it asks for the state of each, in the same round trip where the server has
// LIST-STATUS.
func (l folderLister) list(ctx context.Context, accountID string, status *imapconn.StatusOptions) (folderList, error) {
	var found []imapconn.ListData
	var list folderList
	err := l.mailboxes.Do(ctx, accountID, "", nil, func(c *imapconn.Conn) error {
		opts := &imapconn.ListOptions{Status: status}
		opts.ReturnSpecialUse, opts.ReturnSubscribed = true, true
		list.gmail = c.Has(capGmail)
		var err error
		if found, err = c.List(ctx, opts); err != nil || status == nil {
			return err
		}
		return fillStatus(ctx, c, found, status)
	})
	if err != nil {
		return folderList{}, err
	}
	list.folders, err = l.identify(ctx, accountID, found)
	return list, err
}

// fillStatus asks for the state of the folders of which the list did not tell
// it. What cannot be opened has none.
func fillStatus(ctx context.Context, c *imapconn.Conn, found []imapconn.ListData, status *imapconn.StatusOptions) error {
	var missing []*imapconn.ListData
	var names []string
	for i := range found {
		if found[i].Status == nil && selectable(found[i].Attrs) {
			missing = append(missing, &found[i])
			names = append(names, found[i].Name())
		}
	}
	results, err := c.StatusAll(ctx, names, status)
	if err != nil {
		return err
	}
	for i := range results {
		missing[i].Status = results[i].Data // nil where it was refused
	}
	return nil
}

// identify gives folders their keys and roles, and puts them in order.
func (l folderLister) identify(ctx context.Context, accountID string, found []imapconn.ListData) ([]listedFolder, error) {
	seen := make([]folder.Seen, len(found))
	for i := range found {
		seen[i] = folder.Seen{Name: found[i].Name(), Delimiter: found[i].Delim}
	}
	keys, err := l.folders.Resolve(ctx, accountID, seen)
	if err != nil {
		return nil, err
	}
	candidates := make([]folder.RoleCandidate, len(found))
	for i := range found {
		candidates[i] = folder.RoleCandidate{Folder: keys[i], Attrs: found[i].Attrs}
	}
	roles := folder.InferRoles(candidates)
	out := make([]listedFolder, len(found))
	for i := range found {
		out[i] = listedFolder{
			Folder:     keys[i],
			role:       roles[i].Role,
			source:     roles[i].Source,
			selectable: selectable(found[i].Attrs),
			subscribed: slices.Contains(found[i].Attrs, imap.MailboxAttrSubscribed),
			status:     found[i].Status,
		}
	}
	slices.SortFunc(out, func(a, b listedFolder) int { return compareFolders(a.Name, b.Name) })
	return out, nil
}

// compareFolders puts INBOX first, and the rest in the order of their names
// without regard to case. It is a total order: page tokens rely on it.
func compareFolders(a, b string) int {
	inbox := func(name string) int {
		if strings.EqualFold(name, "INBOX") {
			return 0
		}
		return 1
	}
	return cmp.Or(
		cmp.Compare(inbox(a), inbox(b)),
		cmp.Compare(strings.ToLower(a), strings.ToLower(b)),
		cmp.Compare(a, b),
	)
}

func selectable(attrs []imap.MailboxAttr) bool {
	// RFC 9051 section 7.3.1: \NonExistent implies \NoSelect.
	return !slices.ContainsFunc(attrs, func(a imap.MailboxAttr) bool {
		return strings.EqualFold(string(a), string(imap.MailboxAttrNoSelect)) || strings.EqualFold(string(a), string(imap.MailboxAttrNonExistent))
	})
}

// everything chooses the folders of a list over all of them. Junk and trash
// are left out, and so are virtual folders that only show again what lies in
// others; on Gmail it is the other way round, and the one for all mail is all.
func (l folderList) everything() []listedFolder {
	var chosen []listedFolder
	for _, f := range l.folders {
		switch {
		case !f.selectable:
		case l.gmail && f.role == folder.RoleAll:
			return []listedFolder{f}
		case f.role == folder.RoleJunk, f.role == folder.RoleTrash, f.role == folder.RoleAll, f.role == folder.RoleFlagged:
		default:
			chosen = append(chosen, f)
		}
	}
	return chosen
}
