package gateway

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
	"google.golang.org/grpc/codes"

	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/folderlist"
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
	raw        string // the name as the server wrote it
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
	var list folderList
	err := l.do(ctx, accountID, func(c *imapconn.Conn) (listed bool, err error) {
		list, err = l.listOn(ctx, c, accountID, status)
		return err == nil, err
	})
	return list, err
}

// with calls fn with a connection and the folders as they are, without their
// state.
func (l folderLister) with(ctx context.Context, accountID string, fn func(*imapconn.Conn, folderList) error) error {
	return l.do(ctx, accountID, func(c *imapconn.Conn) (listed bool, err error) {
		all, err := l.listOn(ctx, c, accountID, nil)
		if err != nil {
			return false, err
		}
		return true, fn(c, all)
	})
}

// do calls fn with a connection, and once more with another one if it turned out
// before the folders were listed that the connection's lists are stale.
func (l folderLister) do(ctx context.Context, accountID string, fn func(*imapconn.Conn) (listed bool, err error)) error {
	return folderlist.Retry(func() (listed bool, err error) {
		err = l.mailboxes.Do(ctx, accountID, "", nil, func(c *imapconn.Conn) (err error) {
			listed, err = fn(c)
			return err
		})
		return listed, err
	})
}

// listOn is list on a connection that is lent already.
func (l folderLister) listOn(ctx context.Context, c *imapconn.Conn, accountID string, status *imapconn.StatusOptions) (folderList, error) {
	found, err := folderlist.Read(ctx, c, l.folders, accountID, status)
	if err != nil {
		return folderList{}, err
	}
	list := folderList{gmail: c.Has(capGmail), folders: make([]listedFolder, len(found))}
	for i, f := range found {
		list.folders[i] = listedFolder{
			Folder:     f.Folder,
			raw:        f.Listed.RawName,
			role:       f.AssignedRole.Role,
			source:     f.Source,
			selectable: f.Listed.Selectable(),
			subscribed: slices.Contains(f.Listed.Attrs, imap.MailboxAttrSubscribed),
			status:     f.Listed.Status,
		}
	}
	slices.SortFunc(list.folders, func(a, b listedFolder) int { return compareFolders(a.Name, b.Name) })
	return list, nil
}

// byKey finds a folder; it fails with FOLDER_NOT_FOUND.
func (l folderList) byKey(key folder.Key) (*listedFolder, error) {
	if i := slices.IndexFunc(l.folders, func(f listedFolder) bool { return f.Key == key }); i >= 0 {
		return &l.folders[i], nil
	}
	return nil, refuse(codes.NotFound, reasonFolderNotFound, "There is no such folder, or it is gone: list the folders to see what there is.")
}

// byName finds the folder of that name on the server, or nil.
func (l folderList) byName(name string) *listedFolder {
	if i := slices.IndexFunc(l.folders, func(f listedFolder) bool { return f.Name == name }); i >= 0 {
		return &l.folders[i]
	}
	return nil
}

// at finds the folder at a path, or nil.
func (l folderList) at(path []string) *listedFolder {
	if i := slices.IndexFunc(l.folders, func(f listedFolder) bool { return slices.Equal(f.Path(), path) }); i >= 0 {
		return &l.folders[i]
	}
	return nil
}

// below gives all folders below one, those farther down first.
func (l folderList) below(f *listedFolder) []listedFolder {
	var inside []listedFolder
	for _, other := range l.folders {
		// By what the server wrote: a name that cannot be decoded may be below one
		// that can.
		if f.Delimiter != 0 && strings.HasPrefix(other.raw, f.raw+string(f.Delimiter)) {
			inside = append(inside, other)
		}
	}
	slices.SortStableFunc(inside, func(a, b listedFolder) int { return cmp.Compare(len(b.Path()), len(a.Path())) })
	return inside
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
