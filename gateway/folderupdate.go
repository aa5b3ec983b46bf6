package gateway

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/folderlist"
)

// UpdateFolder implements FolderService.
func (s *folderService) UpdateFolder(ctx context.Context, req *posternv1.UpdateFolderRequest) (*posternv1.Folder, error) {
	in := req.GetFolder()
	fields, err := updatePaths(req.GetUpdateMask(), req.GetFolder(), settableFolder)
	if err != nil {
		return nil, err
	}
	role, err := roleOf(in)
	if err != nil && names(fields, "role") {
		return nil, err
	}
	a, key, err := s.resolve(ctx, in.GetName())
	if err != nil {
		return nil, err
	}
	var f *listedFolder
	err = s.changes.run(ctx, a.ID, func(c *folderChange) error {
		if f, err = c.all.byKey(key); err != nil {
			return err
		}
		if err := checkEtag(f, in.GetEtag()); err != nil {
			return err
		}
		if names(fields, "role") && f.IsInbox() {
			return refuseField("folder.role", reasonArgumentInvalid, "The role of INBOX cannot be changed.")
		}
		if names(fields, "path") {
			if err := c.move(ctx, f, in.GetPath()); err != nil {
				return err
			}
		}
		if names(fields, "subscribed") {
			if f, err = c.byKey(ctx, key); err != nil {
				return err
			}
			if err := c.subscribe(ctx, f.Name, in.GetSubscribed()); err != nil {
				return err
			}
		}
		if names(fields, "role") {
			f, err = c.setRole(ctx, f, role)
		} else {
			f, err = c.byKey(ctx, key)
		}
		if err != nil {
			return err
		}
		return readStatus(ctx, c.conn, f)
	})
	if err != nil {
		return nil, fmt.Errorf("update folder: %w", err)
	}
	return s.proto(a, f), nil
}

// settableFolder are the fields that an update may change.
var settableFolder = []string{"path", "subscribed", "role"}

// byKey reads the folders again and finds one of them.
func (c *folderChange) byKey(ctx context.Context, key folder.Key) (*listedFolder, error) {
	if err := c.list(ctx); err != nil {
		return nil, err
	}
	return c.all.byKey(key)
}

// move gives a folder another path, and with it all below it (RFC 9051 section
// 6.3.6).
func (c *folderChange) move(ctx context.Context, f *listedFolder, path []string) error {
	name, path, err := c.nameAt(ctx, path)
	if err != nil {
		return err
	}
	if name == f.Name {
		return nil
	}
	if f.IsInbox() {
		// It would stay, and only its messages go (RFC 9051 section 6.3.6).
		return isInbox("INBOX cannot be renamed or moved.")
	}
	if f.Delimiter != 0 && strings.HasPrefix(name, f.Name+string(f.Delimiter)) {
		return refuseField("folder.path", reasonArgumentInvalid, "A folder cannot be moved below itself.")
	}
	if taken := c.all.byName(name); taken != nil && (taken.selectable || len(c.all.below(taken)) > 0) {
		return folderExists(path)
	}
	moving := append([]listedFolder{*f}, c.all.below(f)...)
	if err := c.leave(ctx); err != nil {
		return err
	}
	err = c.withParents(ctx, path, func() error { return c.conn.Rename(ctx, f.Name, name) })
	if err != nil {
		return err
	}
	return c.moved(ctx, moving, name)
}

// moved keeps what is known in step with a rename that was done: the first folder
// has another name, and so have those of the others that the server renamed along
// with it.
func (c *folderChange) moved(ctx context.Context, moving []listedFolder, to string) error {
	c.reselect(c.accountID)
	found, err := folderlist.List(ctx, c.conn, nil)
	if err != nil {
		return err
	}
	byRaw := make(map[string]folder.Seen, len(found))
	rawTo := ""
	for i := range found {
		d := &found[i]
		byRaw[d.RawName] = folder.Seen{Name: d.Name(), Delimiter: d.Delim, Prefix: d.Prefix}
		if d.Name() == to {
			rawTo = d.RawName
		}
	}
	if rawTo == "" {
		return unlisted(to)
	}
	var renames []folder.Renamed
	for _, f := range moving {
		if now, ok := byRaw[rawTo+strings.TrimPrefix(f.raw, moving[0].raw)]; ok {
			renames = append(renames, folder.Renamed{Key: f.Key, To: now})
		}
	}
	if _, err := c.registry.Rename(ctx, c.accountID, renames...); err != nil {
		return err
	}
	return c.moveSubscriptions(ctx, moving, renames)
}

// moveSubscriptions takes subscriptions along, which RFC 9051 section 6.3.6 leaves
// where they were.
func (c *folderChange) moveSubscriptions(ctx context.Context, moving []listedFolder, renames []folder.Renamed) error {
	for _, renamed := range renames {
		i := slices.IndexFunc(moving, func(f listedFolder) bool { return f.Key == renamed.Key })
		if !moving[i].subscribed {
			continue
		}
		if err := c.subscribe(ctx, renamed.To.Name, true); err != nil && !isRefused(err) {
			return err
		}
		if err := c.subscribe(ctx, moving[i].Name, false); err != nil && !isRefused(err) {
			return err
		}
	}
	return nil
}

func isInbox(message string) error {
	return refuse(codes.FailedPrecondition, reasonFolderIsInbox, "%s", message)
}
