package idle

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/idle/diff"
	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/imapconn"
)

// A move is one message that is gone from a folder and another that is new in a
// folder, and a proof that the two are the same mail: the server's answer to a
// move that a request has made, or its own id of the mail (EMAILID of RFC 8474,
// X-GM-MSGID). A fingerprint proves nothing, since mail may be there twice.
//
// It is told when the new message is looked at. Where the folder it came from
// was looked at first, that it is gone from there is held back until all folders
// have been compared once more; where not, that folder is asked whether it is
// gone. As long as nothing is told of either, both are found again after a
// crash; the one event moves both folders on.

// heldBatch are messages found gone in one round of looks.
type heldBatch struct {
	uids  imap.UIDSet
	round uint64
}

// recogniseMoves finds out which of the messages that a look found new were
// moved here, and of which of those that are gone nothing is to be told yet.
func (o *owner) recogniseMoves(ctx context.Context, l *look) error {
	gone := diff.Gone(&l.folder.told, &l.found)
	if len(l.arrivals) == 0 && len(gone) == 0 {
		return nil
	}
	// A server tells of a move before it answers the command.
	if err := o.config.Moves.Settle(ctx, o.id(), l.folder.Key); err != nil {
		return err
	}
	if err := o.findSources(ctx, l); err != nil {
		return err
	}
	o.hold(l, gone)
	return nil
}

// provesIdentity reports whether the server itself says what a message is.
func (o *owner) provesIdentity() bool {
	return o.account.IdentityScheme == account.IdentityEmailID || o.account.IdentityScheme == account.IdentityGmail
}

// findSources fills l.moved: where each of the new messages was before that was
// moved here.
func (o *owner) findSources(ctx context.Context, l *look) error {
	l.moved = make(map[imap.UID]folder.MessageID)
	unknown := make(map[string][]imap.UID) // by email id
	for _, uid := range slices.Sorted(maps.Keys(l.arrivals)) {
		from, ok := o.config.Moves.Source(o.id(), l.folder.messageID(uid))
		if ok && o.told(from) {
			l.moved[uid] = from
		} else if emailID := o.account.EmailID(l.arrivals[uid], l.envelopes[uid]); emailID != "" {
			unknown[emailID] = append(unknown[emailID], uid)
		}
	}
	if !o.provesIdentity() || len(unknown) == 0 {
		return nil
	}
	for _, source := range o.others(l.folder) {
		if err := o.findIn(ctx, l, source, unknown); err != nil {
			return err
		}
	}
	return nil
}

// told reports whether a message counts as there in a folder that is compared.
func (o *owner) told(id folder.MessageID) bool {
	f := o.folders[id.Folder]
	return f != nil && f.comparable() && f.told.UIDValidity == id.UIDValidity && f.told.UIDs.Contains(id.UID)
}

// others are the folders beside one that are compared, in a fixed order.
func (o *owner) others(than *folderState) []*folderState {
	var others []*folderState
	for _, f := range o.folders {
		if f != than && f.comparable() {
			others = append(others, f)
		}
	}
	slices.SortFunc(others, func(a, b *folderState) int { return cmp.Compare(a.Key.String(), b.Key.String()) })
	return others
}

// comparable reports whether what is known of the folder's messages holds.
func (f *folderState) comparable() bool { return f.started && !f.resetting && !f.excluded }

// findIn finds the messages that were moved here from one folder, and takes
// them out of those whose source is not known.
func (o *owner) findIn(ctx context.Context, l *look, source *folderState, unknown map[string][]imap.UID) error {
	wanted := make(map[string]bool, len(unknown))
	for emailID := range unknown {
		wanted[emailID] = true
	}
	candidates := source.identities.among(wanted)
	if len(candidates) == 0 {
		return nil
	}
	var uids imap.UIDSet
	for _, m := range candidates {
		uids.AddNum(m.UID)
	}
	gone, err := o.goneFrom(ctx, l, source, uids)
	if err != nil {
		return err
	}
	for _, m := range candidates {
		arrived := unknown[m.EmailID]
		if len(arrived) == 0 || !gone.Contains(m.UID) || !source.told.UIDs.Contains(m.UID) {
			continue
		}
		l.moved[arrived[0]] = source.messageID(m.UID)
		if unknown[m.EmailID] = arrived[1:]; len(arrived) == 1 {
			delete(unknown, m.EmailID)
		}
	}
	return nil
}

// goneFrom asks which messages are no longer in a folder: for copied mail is
// there as well. A folder that cannot be asked has lost none.
func (o *owner) goneFrom(ctx context.Context, l *look, source *folderState, uids imap.UIDSet) (gone imap.UIDSet, err error) {
	gone = diff.Intersect(uids, source.holding())
	if uids = diff.Subtract(uids, gone); len(uids) == 0 {
		return gone, nil
	}
	ask := func(conn *imapconn.Conn) error {
		opened, err := conn.Select(ctx, source.Name, &imapconn.SelectOptions{ReadOnly: true})
		if err != nil || opened.UIDValidity != source.told.UIDValidity {
			return err
		}
		var there imap.UIDSet
		items := &imapconn.FetchOptions{}
		items.UID = true
		err = conn.Fetch(ctx, uids, items, func(m *imapconn.FetchMessage) error {
			if m.UID > 0 {
				there.AddNum(m.UID)
			}
			return nil
		})
		if err == nil {
			gone = diff.Union(gone, diff.Subtract(uids, there))
		}
		return err
	}
	var refused *imapconn.Error
	if l.folder == o.inbox {
		// The watching connection stays where it is.
		err = o.config.Connector.Do(ctx, o.id(), "", &imapconn.DoOptions{ReadOnly: true}, ask)
		if err != nil && ctx.Err() == nil {
			o.log.Info("a folder cannot be asked for moved mail", "folder", source.Key.String(), "error", err)
			err = nil
		}
		return gone, err
	}
	if err = ask(l.conn); err != nil && !errors.As(err, &refused) {
		return gone, err
	}
	_, err = l.conn.Select(ctx, l.folder.Name, &imapconn.SelectOptions{ReadOnly: true})
	return gone, err
}

// hold takes out of what a look tells the messages that are gone and may turn up
// in another folder, and has the other folders compared at once.
func (o *owner) hold(l *look, gone imap.UIDSet) {
	f := l.folder
	held := f.holding()
	l.found.Held = held
	var fresh imap.UIDSet
	for uid := range diff.All(diff.Intersect(gone, o.config.Moves.From(o.id(), f.Key, f.told.UIDValidity))) {
		target, ok := o.config.Moves.Target(o.id(), f.messageID(uid))
		if to := o.folders[target.Folder]; ok && to != nil && to.comparable() && !o.told(target) {
			fresh.AddNum(uid)
		}
	}
	if o.provesIdentity() && len(o.others(f)) > 0 {
		for _, m := range f.identities.list() {
			if gone.Contains(m.UID) {
				fresh.AddNum(m.UID)
			}
		}
	}
	if fresh = diff.Subtract(fresh, held); len(fresh) == 0 {
		return
	}
	f.held = append(f.held, heldBatch{fresh, o.round})
	l.found.Held = diff.Union(held, fresh)
	o.elsewhere = true
}

// holding are the messages that are held back.
func (f *folderState) holding() imap.UIDSet {
	var all imap.UIDSet
	for _, batch := range f.held {
		all = diff.Union(all, batch.uids)
	}
	return all
}

// holds reports whether any folder holds messages back.
func (o *owner) holds() bool {
	for _, f := range o.folders {
		if len(f.held) > 0 {
			return true
		}
	}
	return false
}

// release tells of the messages that were held back when this round of looks
// began and have turned up nowhere: they are gone.
func (o *owner) release(ctx context.Context) error {
	for _, f := range o.folders {
		var due imap.UIDSet
		f.held = slices.DeleteFunc(f.held, func(batch heldBatch) bool {
			if batch.round >= o.round {
				return false
			}
			due = diff.Union(due, batch.uids)
			return true
		})
		var changes []diff.Change
		for uid := range diff.All(diff.Intersect(due, f.told.UIDs)) {
			changes = append(changes, diff.Change{Kind: diff.Deleted, UID: uid})
		}
		if err := o.tellEach(ctx, &look{owner: o, folder: f}, changes, event.OriginNew); err != nil {
			return err
		}
	}
	return nil
}

func movedData(ref event.MessageRef, from folder.MessageID, account string, m *imapconn.FetchMessage) *event.MessageMoved {
	return &event.MessageMoved{
		MessageRef:      ref,
		PreviousMessage: event.MessageName(account, from),
		PreviousFolder:  event.FolderName(account, from.Folder),
		Flags:           texts(diff.MakeFlags(m.Flags)),
	}
}
