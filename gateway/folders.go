package gateway

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
	"google.golang.org/grpc/codes"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/imapconn"
)

// folderService implements FolderService.
type folderService struct {
	posternv1.UnimplementedFolderServiceServer
	accounts accountReader
	lister   folderLister
	pager    pager
}

var folderFields = (&posternv1.Folder{}).ProtoReflect().Descriptor()

// folderState is what is asked of each folder.
var folderState = &imapconn.StatusOptions{StatusOptions: imap.StatusOptions{
	NumMessages: true, NumUnseen: true, UIDNext: true, UIDValidity: true, HighestModSeq: true,
}}

// ListFolders implements FolderService.
func (s *folderService) ListFolders(ctx context.Context, req *posternv1.ListFoldersRequest) (*posternv1.ListFoldersResponse, error) {
	paths, err := readPaths(req.GetReadMask(), folderFields, "read_mask")
	if err != nil {
		return nil, err
	}
	after := ""
	if token := req.GetPageToken(); token != "" {
		position, err := s.pager.position(req, token)
		if err != nil {
			return nil, err
		}
		after = string(position)
	}
	a, err := s.accounts.Get(ctx, accountID(req.GetParent()))
	if err != nil {
		return nil, err
	}
	all, err := s.lister.list(ctx, a.ID, folderState)
	if err != nil {
		return nil, fmt.Errorf("list folders: %w", err)
	}
	folders := all.folders
	if after != "" {
		i, found := slices.BinarySearchFunc(folders, after, func(f listedFolder, name string) int { return compareFolders(f.Name, name) })
		if found {
			i++
		}
		folders = folders[i:]
	}
	resp := &posternv1.ListFoldersResponse{}
	size := pageSize(req.GetPageSize())
	for _, f := range folders[:min(size, len(folders))] {
		out := folderProto(a, &f)
		keep(out, paths)
		resp.Folders = append(resp.Folders, out)
	}
	if len(folders) > size {
		resp.NextPageToken, err = s.pager.token(req, []byte(folders[size-1].Name))
	}
	return resp, err
}

// GetFolder implements FolderService.
func (s *folderService) GetFolder(ctx context.Context, req *posternv1.GetFolderRequest) (*posternv1.Folder, error) {
	paths, err := readPaths(req.GetReadMask(), folderFields, "read_mask")
	if err != nil {
		return nil, err
	}
	parent, id, _ := strings.Cut(req.GetName(), "/folders/")
	a, err := s.accounts.Get(ctx, accountID(parent))
	if err != nil {
		return nil, err
	}
	key, err := folder.ParseKey(id)
	if err != nil {
		return nil, err
	}
	// All are listed, because the role of one depends on the others; only this
	// one's state is asked for.
	all, err := s.lister.list(ctx, a.ID, nil)
	if err != nil {
		return nil, fmt.Errorf("get folder: %w", err)
	}
	folders := all.folders
	i := slices.IndexFunc(folders, func(f listedFolder) bool { return f.Key == key })
	if i < 0 {
		return nil, refuse(codes.NotFound, reasonFolderNotFound, "There is no such folder, or it is gone: list the folders to see what there is.")
	}
	f := &folders[i]
	if f.selectable {
		if f.status, err = s.lister.status(ctx, a.ID, f.Name); err != nil {
			return nil, fmt.Errorf("get folder: %w", err)
		}
	}
	out := folderProto(a, f)
	keep(out, paths)
	return out, nil
}

// status asks for the state of one folder.
func (l folderLister) status(ctx context.Context, accountID, name string) (status *imapconn.StatusData, err error) {
	err = l.mailboxes.Do(ctx, accountID, "", nil, func(c *imapconn.Conn) error {
		status, err = c.Status(ctx, name, folderState)
		return err
	})
	return status, err
}

func folderProto(a *account.Account, f *listedFolder) *posternv1.Folder {
	out := &posternv1.Folder{
		Name:       event.FolderName(a.ID, f.Key),
		Path:       f.Path(),
		Role:       posternv1.Folder_Role(posternv1.Folder_Role_value[string(f.role)]),
		RoleSource: posternv1.Folder_RoleSource(posternv1.Folder_RoleSource_value[string(f.source)]),
		Selectable: f.selectable,
		Subscribed: f.subscribed,
	}
	if f.selectable {
		out.WatchMode = watchMode(a, f)
	}
	if st := f.status; st != nil {
		out.UidValidity, out.UidNext, out.HighestModseq = st.UIDValidity, uint32(st.UIDNext), st.HighestModSeq
		if st.NumMessages != nil {
			out.Total = *st.NumMessages
		}
		if st.NumUnseen != nil {
			out.Unread = *st.NumUnseen
		}
	}
	return out
}

// watchMode says how the owner of the account notices changes in a folder, by
// the rules it goes by: INBOX is watched by IDLE where the server has it, the
// other folders are looked at from time to time.
func watchMode(a *account.Account, f *listedFolder) posternv1.Folder_WatchMode {
	path := strings.Join(f.Path(), "/")
	for _, excluded := range a.Watch.ExcludedFolders {
		if path == excluded || strings.HasPrefix(path, excluded+"/") {
			return posternv1.Folder_WATCH_MODE_UNSPECIFIED
		}
	}
	switch {
	case a.Paused:
		return posternv1.Folder_WATCH_MODE_UNSPECIFIED
	case strings.EqualFold(f.Name, "INBOX") && slices.Contains(a.Status.Capabilities, string(imap.CapIdle)):
		return posternv1.Folder_IDLE
	}
	return posternv1.Folder_POLL
}
