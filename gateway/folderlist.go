package gateway

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
	"google.golang.org/grpc/codes"

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
	var found []foundFolder
	var list folderList
	err := l.do(ctx, accountID, func(c *imapconn.Conn) (listed bool, err error) {
		list.gmail = c.Has(capGmail)
		found, err = l.read(ctx, c, accountID, status)
		return err == nil, err
	})
	if err != nil {
		return folderList{}, err
	}
	list.folders, err = l.identify(ctx, accountID, found)
	return list, err
}

// with calls fn with a connection and the folders as they are, without their
// state.
func (l folderLister) with(ctx context.Context, accountID string, fn func(*imapconn.Conn, folderList) error) error {
	return l.do(ctx, accountID, func(c *imapconn.Conn) (listed bool, err error) {
		all, err := l.listOn(ctx, c, accountID)
		if err != nil {
			return false, err
		}
		return true, fn(c, all)
	})
}

// do calls fn with a connection, and once more with another one if it turned out
// before the folders were listed that the connection's lists are stale.
func (l folderLister) do(ctx context.Context, accountID string, fn func(*imapconn.Conn) (listed bool, err error)) error {
	var listed bool
	try := func() error {
		return l.mailboxes.Do(ctx, accountID, "", nil, func(c *imapconn.Conn) (err error) {
			listed, err = fn(c)
			return err
		})
	}
	err := try()
	var stale *imapconn.StaleListError
	if errors.As(err, &stale) && !listed {
		err = try()
	}
	return err
}

// listOn is list on a connection that is lent already, without the folders'
// state.
func (l folderLister) listOn(ctx context.Context, c *imapconn.Conn, accountID string) (folderList, error) {
	list := folderList{gmail: c.Has(capGmail)}
	found, err := l.read(ctx, c, accountID, nil)
	if err == nil {
		list.folders, err = l.identify(ctx, accountID, found)
	}
	return list, err
}

// foundFolder is a folder that is on the server, under the name by which it is
// known.
type foundFolder struct {
	folder.Seen
	*imapconn.ListData
}

// read lists the folders, and adds those that the list lacks although they are
// known and there, as whoever watches the account does.
func (l folderLister) read(ctx context.Context, c *imapconn.Conn, accountID string, status *imapconn.StatusOptions) ([]foundFolder, error) {
	// Before the list: what became known after it may be younger.
	known, _, err := l.folders.All(ctx, accountID)
	if err != nil {
		return nil, err
	}
	list, err := readList(ctx, c, status)
	if err != nil {
		return nil, err
	}
	found := make([]foundFolder, len(list))
	there := make(map[string]bool, len(list))
	for i := range list {
		data := &list[i]
		found[i] = foundFolder{folder.Seen{Name: data.Name(), Delimiter: data.Delim, Prefix: data.Prefix}, data}
		there[data.Name()] = true
	}
	var lacking []folder.Seen
	var names []string
	for _, k := range known {
		if !k.Deleted && !there[k.Name] {
			lacking = append(lacking, folder.Seen{Name: k.Name, Delimiter: k.Delimiter, Prefix: k.Prefix})
			names = append(names, k.Name)
		}
	}
	results, err := c.StatusUnlisted(ctx, names, folderState)
	if err != nil {
		return nil, err
	}
	for i, result := range results {
		if result.Err == nil {
			data := &imapconn.ListData{}
			data.RawName = result.Data.RawName
			if status != nil {
				data.Status = result.Data
			}
			found = append(found, foundFolder{lacking[i], data})
		}
	}
	return found, nil
}

func readList(ctx context.Context, c *imapconn.Conn, status *imapconn.StatusOptions) ([]imapconn.ListData, error) {
	opts := &imapconn.ListOptions{Status: status, Prefixes: true}
	opts.ReturnSpecialUse, opts.ReturnSubscribed = true, true
	if status == nil {
		return c.List(ctx, opts)
	}
	if !c.Has(imap.CapListStatus) {
		// The state of the open mailbox cannot be asked for.
		if err := c.Unselect(ctx); err != nil {
			return nil, err
		}
	}
	return c.ListStatus(ctx, opts)
}

// identify gives folders their keys and roles, and puts them in order.
func (l folderLister) identify(ctx context.Context, accountID string, found []foundFolder) ([]listedFolder, error) {
	seen := make([]folder.Seen, len(found))
	for i := range found {
		seen[i] = found[i].Seen
	}
	keys, err := l.folders.Foresee(ctx, accountID, seen)
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
			raw:        found[i].RawName,
			role:       roles[i].Role,
			source:     roles[i].Source,
			selectable: found[i].Selectable(),
			subscribed: slices.Contains(found[i].Attrs, imap.MailboxAttrSubscribed),
			status:     found[i].Status,
		}
	}
	slices.SortFunc(out, func(a, b listedFolder) int { return compareFolders(a.Name, b.Name) })
	return out, nil
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
