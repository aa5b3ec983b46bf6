package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/emersion/go-imap/v2"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/requestid"
)

// folderService implements FolderService.
type folderService struct {
	posternv1.UnimplementedFolderServiceServer
	accounts accountReader
	lister   folderLister
	pager    pager
	changes  *folderChanges
	requests *requestid.Store
	watch    Watch
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
	after, err := s.pager.position(req)
	if err != nil {
		return nil, err
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
	if len(after) > 0 {
		i, found := slices.BinarySearchFunc(folders, string(after), func(f listedFolder, name string) int { return compareFolders(f.Name, name) })
		if found {
			i++
		}
		folders = folders[i:]
	}
	page, next, err := cutPage(s.pager, req, folders, func(f listedFolder) []byte { return []byte(f.Name) })
	resp := &posternv1.ListFoldersResponse{NextPageToken: next}
	for _, f := range page {
		out := s.proto(a, &f)
		keep(out, paths)
		resp.Folders = append(resp.Folders, out)
	}
	return resp, err
}

// GetFolder implements FolderService.
func (s *folderService) GetFolder(ctx context.Context, req *posternv1.GetFolderRequest) (*posternv1.Folder, error) {
	paths, err := readPaths(req.GetReadMask(), folderFields, "read_mask")
	if err != nil {
		return nil, err
	}
	a, key, err := s.resolve(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	// All are listed, because the role of one depends on the others; only this
	// one's state is asked for.
	var f *listedFolder
	err = s.lister.with(ctx, a.ID, func(c *imapconn.Conn, all folderList) (err error) {
		if f, err = all.byKey(key); err != nil {
			return err
		}
		return readStatus(ctx, c, f)
	})
	if err != nil {
		return nil, fmt.Errorf("get folder: %w", err)
	}
	out := s.proto(a, f)
	keep(out, paths)
	return out, nil
}

// resolve reads the name of a folder.
func (s *folderService) resolve(ctx context.Context, name string) (*account.Account, folder.Key, error) {
	parent, id, _ := strings.Cut(name, "/folders/")
	a, err := s.accounts.Get(ctx, accountID(parent))
	if err != nil {
		return nil, folder.Key{}, err
	}
	key, err := folder.ParseKey(id)
	return a, key, err
}

// readStatus asks for the state of one folder, unless it can have none.
func readStatus(ctx context.Context, c *imapconn.Conn, f *listedFolder) (err error) {
	if !f.selectable {
		return nil
	}
	if strings.EqualFold(c.Selected(), f.Name) {
		// RFC 9051 section 6.3.11: not of the open one.
		if err := c.Unselect(ctx); err != nil {
			return err
		}
	}
	f.status, err = c.Status(ctx, f.Name, folderState)
	return err
}

// proto is a folder as the API shows it.
func (s *folderService) proto(a *account.Account, f *listedFolder) *posternv1.Folder {
	out := &posternv1.Folder{
		Name:       event.FolderName(a.ID, f.Key),
		Path:       f.Path(),
		Role:       posternv1.Folder_Role(posternv1.Folder_Role_value[string(f.role)]),
		RoleSource: posternv1.Folder_RoleSource(posternv1.Folder_RoleSource_value[string(f.source)]),
		Selectable: f.selectable,
		Subscribed: f.subscribed,
		Etag:       f.etag(),
	}
	if f.selectable {
		out.WatchMode = watchMode(a, f)
	}
	if s.watch != nil && out.WatchMode != posternv1.Folder_WATCH_MODE_UNSPECIFIED {
		out.LastSyncTime = timeProto(s.watch.Synced(a.ID, f.Key))
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

// etag stands for what can be changed of a folder.
func (f *listedFolder) etag() string {
	sum := sha256.Sum256([]byte(strings.Join([]string{f.Name, string(f.role), string(f.source), strconv.FormatBool(f.subscribed)}, "\x00")))
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}

// watchMode says how the owner of the account notices changes in a folder, by
// the rules it goes by: by NOTIFY where the server has accepted that, else INBOX
// and the folders that the account names by IDLE where the server has it; the
// others are looked at from time to time.
func watchMode(a *account.Account, f *listedFolder) posternv1.Folder_WatchMode {
	path := strings.Join(f.Path(), "/")
	switch {
	case a.Paused || a.Watch.Excludes(path):
		return posternv1.Folder_WATCH_MODE_UNSPECIFIED
	case a.Status.Notify && !f.IsInbox():
		return posternv1.Folder_NOTIFY
	case !slices.Contains(a.Status.Capabilities, string(imap.CapIdle)):
		return posternv1.Folder_POLL
	case f.IsInbox() || slices.Contains(a.Watch.IdleFolders, path):
		return posternv1.Folder_IDLE
	}
	return posternv1.Folder_POLL
}
