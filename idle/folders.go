package idle

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/imapconn"
)

const inboxName = "INBOX"

// updateFolders lists the server's folders, announces those that came, went and
// were renamed, and returns those whose state is not what it was.
func (o *owner) updateFolders(ctx context.Context, conn *imapconn.Conn) (changed []*folderState, err error) {
	err = o.config.Folders.Exclusive(ctx, o.id(), func() (err error) {
		for range listAttempts {
			changed, err = o.compareFolders(ctx, conn)
			if !errors.Is(err, folder.ErrChanged) {
				return err
			}
		}
		return logFailed(err)
	})
	return changed, err
}

// listAttempts bounds how often the server is asked for its folders because
// another node has renamed some in the meantime.
const listAttempts = 5

func (o *owner) compareFolders(ctx context.Context, conn *imapconn.Conn) ([]*folderState, error) {
	known, revision, err := o.config.Folders.All(ctx, o.id())
	if err != nil {
		return nil, logFailed(err)
	}
	found, names, err := list(ctx, conn)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 && len(o.names) > 0 {
		// Servers in trouble have been seen to list nothing. Nobody has lost
		// all folders, INBOX included.
		return nil, nil
	}
	found, ghosts, err := o.complete(ctx, conn, found, names, known)
	if err != nil {
		return nil, err
	}
	if renames := o.findRenamed(found, known); len(renames) > 0 {
		if revision, err = o.config.Folders.Rename(ctx, o.id(), renames...); err != nil {
			return nil, logFailed(err)
		}
	}
	seen := make([]folder.Seen, len(found))
	for i := range found {
		seen[i] = found[i].Seen
	}
	resolved, err := o.config.Folders.ResolveSince(ctx, o.id(), revision, seen)
	var tooMany *folder.TooManyFoldersError
	if errors.As(err, &tooMany) || errors.Is(err, folder.ErrChanged) {
		return nil, err // not the log's fault
	}
	if err != nil {
		return nil, logFailed(err)
	}
	if err := o.tellRenamed(ctx, resolved); err != nil {
		return nil, err
	}
	if err := o.dropFolders(ctx, resolved); err != nil {
		return nil, err
	}
	if len(ghosts) > 0 {
		if err := o.config.Folders.Delete(ctx, o.id(), ghosts...); err != nil {
			return nil, logFailed(err)
		}
	}
	return o.mergeFolders(ctx, resolved, found)
}

// mergeFolders takes the listed folders in: announces new ones and returns
// those to look at.
func (o *owner) mergeFolders(ctx context.Context, resolved []folder.Folder, found []listed) ([]*folderState, error) {
	names := make(map[string]*folderState, len(resolved))
	left := false
	for i, r := range resolved {
		f := o.folders[r.Key]
		if f == nil {
			f = &folderState{}
			o.folders[r.Key] = f
		}
		f.Folder = r
		f.listedAs(found[i].status)
		f.excluded = o.account.Watch.Excludes(strings.Join(r.Path(), "/"))
		names[r.Name] = f
		if !f.started && !f.left && o.first.Folders != nil && !slices.Contains(o.first.Folders, r.Key) {
			if err := o.folderCreated(ctx, f); err != nil {
				return nil, err
			}
		}
		if f.excluded && !f.left {
			f.leave()
			left = true
		}
	}
	o.names, o.inbox = names, names[inboxName]
	if o.first.Folders == nil {
		if err := o.saveFirst(ctx, resolved); err != nil {
			return nil, err
		}
	}
	if left {
		if err := o.save(ctx); err != nil {
			return nil, err
		}
	}
	if err := o.beginSync(ctx); err != nil {
		return nil, err
	}
	var changed []*folderState
	for _, r := range resolved {
		switch f := names[r.Name]; {
		case f == o.inbox: // looked at on the watching connection
		case f.due():
			changed = append(changed, f)
		case f.listed == f.mark:
			o.synced.set(f.Key)
		}
	}
	return changed, nil
}

// saveFirst keeps which folders were there at first: in a folder that comes
// later everything is new.
func (o *owner) saveFirst(ctx context.Context, resolved []folder.Folder) error {
	first := *o.first
	first.Seen = make(map[folder.Key]folder.FirstSeen)
	for _, r := range resolved {
		first.Folders = append(first.Folders, r.Key)
		if listed := o.folders[r.Key].listed; listed.next > 0 {
			first.Seen[r.Key] = folder.FirstSeen{UIDValidity: listed.validity, UIDNext: listed.next}
		}
	}
	if err := o.config.Checkpoints.SaveFirst(ctx, o.id(), &first); err != nil {
		return logFailed(err)
	}
	o.first = &first
	return nil
}

func (o *owner) folderCreated(ctx context.Context, f *folderState) error {
	f.begin(f.listed.validity)
	f.dirty = true
	o.renaming = true
	return o.tellOf(ctx, f, &event.FolderCreated{FolderRef: event.FolderAt(o.id(), f.Key, f.Path())})
}

// listedAs takes note of what STATUS says of a folder, nil for nothing.
func (f *folderState) listedAs(status *imapconn.StatusData) {
	now, before := time.Now(), f.listed
	f.asked, f.listed = now, mark{}
	if status != nil {
		f.listed = markOf(status)
	}
	if f.started && before != (mark{}) && f.listed != before {
		f.rhythm.changed(now)
	}
}

// due reports whether a folder is to be looked at, given what STATUS said last.
func (f *folderState) due() bool {
	now := time.Now()
	switch {
	case f.excluded || now.Before(f.parked):
		return false
	case !f.started || f.resetting || f.uidsUnknown || f.recheck:
		return true
	}
	return f.listed == mark{} || f.listed != f.mark
}

// findRenamed finds, among folders that went and folders that came, those that
// are the same under another name. Those that were renamed through the API are
// known already.
func (o *owner) findRenamed(found []listed, known []folder.Folder) []folder.Renamed {
	there := make(map[string]bool, len(found))
	for _, l := range found {
		there[l.Name] = true
	}
	for _, k := range known {
		if o.folders[k.Key] != nil && !k.Deleted && there[k.Name] {
			there[k.Told().Name] = true // and is under its new name
		}
	}
	watched := make(map[string]bool, len(known))
	for _, k := range known {
		watched[k.Name] = watched[k.Name] || !k.Deleted && o.folders[k.Key] != nil
	}
	var renames []folder.Renamed
	for _, l := range found {
		if watched[l.Name] || o.names[l.Name] != nil || l.status == nil {
			continue
		}
		if f := o.renamedFrom(l, there); f != nil {
			there[f.Name] = true // and cannot be another one, too
			renames = append(renames, folder.Renamed{Key: f.Key, To: l.Seen})
		}
	}
	return renames
}

// tellRenamed announces the folders that have another name than the log knows.
func (o *owner) tellRenamed(ctx context.Context, resolved []folder.Folder) error {
	for _, r := range resolved {
		f := o.folders[r.Key]
		if f == nil || f.Name == "" || f.Name == r.Name {
			continue
		}
		o.renaming = true
		previous := f.Path()
		f.Folder = r
		o.config.Connector.Reselect(o.id())
		err := o.tellOf(ctx, f, &event.FolderRenamed{FolderRef: event.FolderAt(o.id(), f.Key, f.Path()), PreviousPath: previous})
		if err != nil {
			return err
		}
		if err := o.config.Folders.Told(ctx, o.id(), f.Key); err != nil {
			return logFailed(err)
		}
	}
	return nil
}

// renamedFrom returns the folder that is gone and was what l is: UIDVALIDITY
// and UIDNEXT survive a RENAME (RFC 9051 section 6.3.6). Where several folders
// share a UIDVALIDITY, as on servers that give all the same, only one that has
// not changed otherwise counts. Two candidates are none.
func (o *owner) renamedFrom(l listed, there map[string]bool) *folderState {
	var from *folderState
	for name, f := range o.names {
		if there[name] || !f.started || !o.sameFolder(f, markOf(l.status)) {
			continue
		}
		if from != nil {
			return nil
		}
		from = f
	}
	return from
}

func (o *owner) sameFolder(f *folderState, now mark) bool {
	if now.validity == 0 || now.validity != f.told.UIDValidity {
		return false
	}
	for _, other := range o.folders {
		if other != f && other.told.UIDValidity == f.told.UIDValidity {
			return f.told.UIDNext == now.next && f.told.Count() == uint64(now.messages)
		}
	}
	return now.next >= f.told.UIDNext
}

// dropFolders announces the folders that are gone.
func (o *owner) dropFolders(ctx context.Context, resolved []folder.Folder) error {
	there := make(map[folder.Key]bool, len(resolved))
	for _, r := range resolved {
		there[r.Key] = true
	}
	for key, f := range o.folders {
		if there[key] {
			continue
		}
		o.renaming = true
		o.config.Connector.Reselect(o.id())
		if err := o.tellOf(ctx, f, &event.FolderDeleted{FolderRef: event.FolderAt(o.id(), key, pathOf(f))}); err != nil {
			return err
		}
		if err := o.forgetFolder(ctx, key); err != nil {
			return logFailed(err)
		}
		delete(o.folders, key)
		delete(o.names, f.Name)
		o.synced.forget(key)
	}
	return nil
}

// forgetFolder drops what is kept about a folder whose end was told.
func (o *owner) forgetFolder(ctx context.Context, key folder.Key) error {
	if err := o.config.Folders.Delete(ctx, o.id(), key); err != nil {
		return err
	}
	return o.config.Checkpoints.Delete(ctx, o.id(), key)
}

// pathOf is the folder's path, nil when its name is not known any more.
func pathOf(f *folderState) []string {
	if f.Name == "" {
		return nil
	}
	return f.Path()
}

const (
	// phantomAfter is how many refusals to open a listed folder make it a
	// phantom, and phantomPause how long it is then left alone.
	phantomAfter = 3
	phantomPause = 6 * time.Hour
)

// unselectable takes note that the server refused to open a folder it lists.
func (o *owner) unselectable(f *folderState, err error) {
	f.failures++
	o.log.Info("the server lists a folder and does not open it", "folder", f.Key.String(), "error", err)
	if f.failures >= phantomAfter {
		f.parked = time.Now().Add(phantomPause)
	}
}
