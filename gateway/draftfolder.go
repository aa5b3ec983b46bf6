package gateway

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"regexp"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
	"google.golang.org/grpc/codes"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/message"
)

// draftHeader is the header that carries the id of a draft from one version of it
// to the next.
const draftHeader = "X-Postern-Draft-Id"

var draftIDPattern = regexp.MustCompile(`^[a-z0-9]{8,40}$`)

// newDraftID makes an id that nobody can guess. It has another length than that of
// a placement, which is the id of a draft of another mail program.
func newDraftID() string { return strings.ToLower(rand.Text()) }

// draftVersion is one message in the folder for drafts.
type draftVersion struct {
	id  string
	uid imap.UID
}

// maxDrafts bounds the messages of the folder that are looked at, the newest.
const maxDrafts = 20_000

// draftIDSection is the header with the id.
var draftIDSection = &imap.FetchItemBodySection{
	Specifier: imap.PartSpecifierHeader, HeaderFields: []string{draftHeader}, Peek: true,
}

// readVersions reads which drafts the selected folder has, the newest version
// first. A search for one header would be shorter, and there are servers that
// search only the headers of their index. What is marked as \Deleted is gone.
func readVersions(ctx context.Context, c *imapconn.Conn, key folder.Key) ([]draftVersion, error) {
	if err := c.Noop(ctx); err != nil { // what others have done is to be seen
		return nil, err
	}
	n := c.NumMessages()
	if n == 0 {
		return nil, nil
	}
	opts := &imapconn.FetchOptions{MaxSection: 1 << 10}
	opts.UID, opts.Flags, opts.BodySection = true, true, []*imap.FetchItemBodySection{draftIDSection}
	validity := c.SelectData().UIDValidity
	found := make(map[imap.UID]draftVersion)
	gone := make(map[imap.UID]bool)
	err := c.Fetch(ctx, imap.SeqSet{{Start: n - min(n, maxDrafts) + 1, Stop: n}}, opts, func(m *imapconn.FetchMessage) error {
		if m.UID == 0 {
			return nil
		}
		if m.Flags != nil {
			gone[m.UID] = slices.ContainsFunc(m.Flags, func(f imap.Flag) bool { return strings.EqualFold(string(f), string(imap.FlagDeleted)) })
		}
		if block, ok := m.Section(draftIDSection); ok {
			id := strings.TrimSpace(message.ParseHeader(block).Get(draftHeader))
			if !draftIDPattern.MatchString(id) {
				id = folder.MessageID{Folder: key, UIDValidity: validity, UID: m.UID}.String()
			}
			found[m.UID] = draftVersion{id: id, uid: m.UID}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	versions := make([]draftVersion, 0, len(found))
	for uid, v := range found {
		if !gone[uid] {
			versions = append(versions, v)
		}
	}
	slices.SortFunc(versions, func(a, b draftVersion) int { return cmp.Compare(b.uid, a.uid) })
	return versions, nil
}

// versionsOf gives the versions of one draft, the newest first.
func versionsOf(versions []draftVersion, id string) []draftVersion {
	return slices.DeleteFunc(slices.Clone(versions), func(v draftVersion) bool { return v.id != id })
}

// newestVersions leaves of each draft its newest version.
func newestVersions(versions []draftVersion) []draftVersion {
	seen := make(map[string]bool, len(versions))
	return slices.DeleteFunc(slices.Clone(versions), func(v draftVersion) bool {
		superseded := seen[v.id]
		seen[v.id] = true
		return superseded
	})
}

func setOf(versions []draftVersion) imap.UIDSet {
	var set imap.UIDSet
	for _, v := range versions {
		set.AddNum(v.uid)
	}
	return set
}

// draftEtag stands for a version: a message never changes.
func draftEtag(validity uint32, uid imap.UID) string {
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, validity), uint32(uid)))
}

// folderFor finds the folder for drafts. It is nil where there is none, unless it
// is to be made.
func (s *draftService) folderFor(ctx context.Context, a *account.Account, create bool) (*folder.Folder, error) {
	list, err := s.lister.list(ctx, a.ID, nil)
	if err != nil {
		return nil, err
	}
	if f := list.withRole(folder.RoleDrafts); f != nil {
		return &f.Folder, nil
	}
	if !create {
		return nil, nil
	}
	var made *listedFolder
	err = s.changes.run(ctx, a.ID, func(c *folderChange) error {
		if made = c.all.withRole(folder.RoleDrafts); made != nil {
			return nil
		}
		made, err = c.make(ctx, []string{"Drafts"}, folder.RoleDrafts, true)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &made.Folder, nil
}

// withRole finds the folder that has a role, or nil.
func (l folderList) withRole(role folder.Role) *listedFolder {
	if i := slices.IndexFunc(l.folders, func(f listedFolder) bool { return f.role == role }); i >= 0 {
		return &l.folders[i]
	}
	return nil
}

func draftNotFound() error {
	return refuse(codes.NotFound, reasonDraftNotFound,
		"There is no such draft, or it is gone: it was deleted or sent, or changed by another mail program.")
}

func draftChanged() error {
	return refuse(codes.Aborted, reasonEtagMismatch,
		"Somebody else has changed the draft meanwhile: get it again, and repeat the change with its new etag.")
}
