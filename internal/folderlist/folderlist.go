// Package folderlist reads the folders of an account from its server, with their
// identity and what each is for.
package folderlist

import (
	"cmp"
	"context"
	"errors"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/imapconn"
)

// Known are the folders that are known of accounts; [folder.Registry] is them.
type Known interface {
	All(ctx context.Context, account string) (folders []folder.Folder, revision uint64, err error)
	Foresee(ctx context.Context, account string, seen []folder.Seen) ([]folder.Folder, error)
}

// Folder is a folder that is on the server.
type Folder struct {
	folder.Folder
	folder.AssignedRole
	// Listed is what the server says of it. A folder that was known, and is there
	// although the server does not list it, has a name there and no attributes.
	Listed *imapconn.ListData
}

// found is a folder before it is known which.
type found struct {
	folder.Seen
	listed *imapconn.ListData
}

// Read lists the folders of an account on a connection to its server, in no order. With
// status it asks for the state of each, in the same round trip where the server has
// LIST-STATUS. One list is not believed: those that it lacks although they are known
// are looked for. It fails with an [*imapconn.StaleListError] if another connection is
// to be asked.
func Read(ctx context.Context, c *imapconn.Conn, known Known, account string, status *imapconn.StatusOptions) ([]Folder, error) {
	all, err := find(ctx, c, known, account, status)
	if err != nil {
		return nil, err
	}
	seen := make([]folder.Seen, len(all))
	for i := range all {
		seen[i] = all[i].Seen
	}
	folders, err := known.Foresee(ctx, account, seen)
	if err != nil {
		return nil, err
	}
	candidates := make([]folder.RoleCandidate, len(all))
	for i := range all {
		candidates[i] = folder.RoleCandidate{Folder: folders[i], Attrs: all[i].listed.Attrs}
	}
	out := make([]Folder, len(all))
	for i, role := range folder.InferRoles(candidates) {
		out[i] = Folder{Folder: folders[i], AssignedRole: role, Listed: all[i].listed}
	}
	return out, nil
}

// existence is what is asked of a folder to see whether it is there.
var existence = &imapconn.StatusOptions{StatusOptions: imap.StatusOptions{UIDValidity: true}}

// find lists the folders, and adds those that the list lacks although they are known
// and there, as whoever watches the account does.
func find(ctx context.Context, c *imapconn.Conn, known Known, account string, status *imapconn.StatusOptions) ([]found, error) {
	// Before the list: what became known after it may be younger.
	before, _, err := known.All(ctx, account)
	if err != nil {
		return nil, err
	}
	list, err := List(ctx, c, status)
	if err != nil {
		return nil, err
	}
	all := make([]found, len(list))
	there := make(map[string]bool, len(list))
	for i := range list {
		data := &list[i]
		all[i] = found{folder.Seen{Name: data.Name(), Delimiter: data.Delim, Prefix: data.Prefix}, data}
		there[data.Name()] = true
	}
	var lacking []folder.Seen
	var names []string
	for _, k := range before {
		if !k.Deleted && !there[k.Name] {
			lacking = append(lacking, folder.Seen{Name: k.Name, Delimiter: k.Delimiter, Prefix: k.Prefix})
			names = append(names, k.Name)
		}
	}
	results, err := c.StatusUnlisted(ctx, names, cmp.Or(status, existence))
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
			all = append(all, found{lacking[i], data})
		}
	}
	return all, nil
}

// List gives what the server lists on a connection, which may be stale: see [Read]. The
// state of each folder is asked for in the same round trip where the server has
// LIST-STATUS.
func List(ctx context.Context, c *imapconn.Conn, status *imapconn.StatusOptions) ([]imapconn.ListData, error) {
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

// Retry calls try, which lists folders on a connection that it is lent and then goes
// on, and once more, for another connection, if it failed since the lists of the first
// one are stale. try says whether it had listed the folders.
func Retry(try func() (listed bool, err error)) error {
	listed, err := try()
	if _, stale := errors.AsType[*imapconn.StaleListError](err); stale && !listed {
		_, err = try()
	}
	return err
}
