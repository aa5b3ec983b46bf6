package gateway

import (
	"context"
	"fmt"

	"golang.org/x/text/unicode/norm"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/requestid"
)

// CreateFolder implements FolderService.
func (s *folderService) CreateFolder(ctx context.Context, req *posternv1.CreateFolderRequest) (*posternv1.Folder, error) {
	a, err := s.accounts.Get(ctx, accountID(req.GetParent()))
	if err != nil {
		return nil, err
	}
	role, err := roleOf(req.GetFolder())
	if err != nil {
		return nil, err
	}
	attempt, err := begin(ctx, s.requests, a.ID, "CreateFolder", req.GetRequestId(), req, "")
	if err != nil {
		return nil, err
	}
	if attempt.Outcome != "" {
		return s.created(ctx, attempt.Outcome)
	}
	var f *listedFolder
	err = s.changes.run(ctx, a.ID, func(c *folderChange) error {
		f, err = c.make(ctx, req.GetFolder().GetPath(), role, attempt.Repeated)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("create folder: %w", err)
	}
	out := s.proto(a, f)
	if err := attempt.Finish(ctx, out.GetName()); err != nil {
		return nil, err
	}
	return out, nil
}

// created is the folder that an earlier attempt has made, as it is now.
func (s *folderService) created(ctx context.Context, name string) (*posternv1.Folder, error) {
	f, err := s.GetFolder(ctx, &posternv1.GetFolderRequest{Name: name})
	if isFailure(err, reasonFolderNotFound) {
		return nil, fmt.Errorf("the folder has been deleted since it was created: %w", requestid.ErrReused)
	}
	return f, err
}

// make makes a folder and subscribes to it. One that is there already is the
// outcome of an earlier attempt where there was one.
func (c *folderChange) make(ctx context.Context, path []string, role folder.Role, again bool) (*listedFolder, error) {
	name, path, err := c.nameAt(ctx, path)
	if err != nil {
		return nil, err
	}
	before := c.all.byName(name)
	switch {
	case before == nil || !before.selectable: // what only has folders below it becomes one
		if err := c.create(ctx, name, path, role); err != nil {
			return nil, err
		}
	case !again:
		return nil, folderExists(path)
	}
	if err := c.subscribe(ctx, name, true); err != nil && !isRefused(err) {
		return nil, err
	}
	if err := c.list(ctx); err != nil {
		return nil, err
	}
	f := c.all.byName(name)
	if f == nil {
		f = c.all.like(name)
	}
	if f == nil {
		return nil, unlisted(name)
	}
	if role != "" && f.role != role {
		if f, err = c.setRole(ctx, f, role); err != nil {
			return nil, err
		}
	}
	return f, readStatus(ctx, c.conn, f)
}

// like finds the folder whose name is the same but for its Unicode form: some
// servers, and the file systems below them, choose their own.
func (l folderList) like(name string) *listedFolder {
	for i := range l.folders {
		if norm.NFC.String(l.folders[i].Name) == norm.NFC.String(name) {
			return &l.folders[i]
		}
	}
	return nil
}

// roleOf is the role that a request gives a folder; empty when none is given.
func roleOf(f *posternv1.Folder) (folder.Role, error) {
	switch role := f.GetRole(); role {
	case posternv1.Folder_ROLE_UNSPECIFIED:
		return "", nil
	case posternv1.Folder_INBOX:
		return "", refuseField("folder.role", reasonArgumentInvalid, "INBOX is what it is: its role cannot be given to another folder.")
	default:
		return folder.Role(role.String()), nil
	}
}
