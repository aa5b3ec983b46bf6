package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/compose"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/requestid"
)

// draftService implements DraftService.
type draftService struct {
	posternv1.UnimplementedDraftServiceServer
	accounts  accountReader
	mailboxes mailboxes
	lister    folderLister
	changes   *folderChanges
	pager     pager
	requests  *requestid.Store
	composer  composer
	spools    *spools
	watch     Watch
	// submissions send drafts.
	submissions *submissionService
	// turns are those of calls that change the same draft.
	turns turns
}

var draftFields = (&posternv1.Draft{}).ProtoReflect().Descriptor()

// in runs fn with the folder for drafts open. It fails with DRAFT_NOT_FOUND where
// there is none.
func (s *draftService) in(ctx context.Context, a *account.Account, f *folder.Folder, opts *imapconn.DoOptions, fn func(openDraft) error) error {
	if f == nil {
		return draftNotFound()
	}
	return s.mailboxes.Do(ctx, a.ID, f.Name, opts, func(c *imapconn.Conn) error {
		return fn(openDraft{account: a, folder: *f, conn: c})
	})
}

// resolve reads the name of a draft.
func (s *draftService) resolve(ctx context.Context, name string) (a *account.Account, id string, err error) {
	parent, id, _ := strings.Cut(name, "/drafts/")
	a, err = s.accounts.Get(ctx, accountID(parent))
	return a, id, err
}

// currentLooks is how often a draft is looked for before it counts as gone: between
// the look at what there is and its answer, somebody else may have put the next version
// there and taken the last one away.
const currentLooks = 3

// current finds the newest version of a draft; it fails with DRAFT_NOT_FOUND.
func (d openDraft) current(ctx context.Context, id string) (draftVersion, error) {
	for range currentLooks {
		versions, err := readVersions(ctx, d.conn, d.folder.Key)
		if err != nil {
			return draftVersion{}, err
		}
		if own := versionsOf(versions, id); len(own) > 0 {
			return own[0], nil
		}
	}
	return draftVersion{}, draftNotFound()
}

// GetDraft implements DraftService.
func (s *draftService) GetDraft(ctx context.Context, req *posternv1.GetDraftRequest) (*posternv1.Draft, error) {
	paths, err := readPaths(req.GetReadMask(), draftFields, "read_mask")
	if err != nil {
		return nil, err
	}
	a, id, err := s.resolve(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	out, err := s.read(ctx, a, id)
	if err != nil {
		return nil, fmt.Errorf("get draft: %w", err)
	}
	keep(out, paths)
	return out, nil
}

func (s *draftService) read(ctx context.Context, a *account.Account, id string) (*posternv1.Draft, error) {
	f, err := s.folderFor(ctx, a, false)
	if err != nil {
		return nil, err
	}
	return s.readIn(ctx, a, f, id)
}

func (s *draftService) readIn(ctx context.Context, a *account.Account, f *folder.Folder, id string) (out *posternv1.Draft, err error) {
	err = s.in(ctx, a, f, readOnlyMailbox, func(d openDraft) error {
		_, out, err = d.readCurrent(ctx, id, "", maxBody)
		return err
	})
	return out, err
}

// readAttempts bounds how often a draft is looked for again because it was changed
// while it was read.
const readAttempts = 5

// readCurrent reads the newest version of a draft. With an etag that must be the one
// that it stands for.
func (d openDraft) readCurrent(ctx context.Context, id, etag string, bodyBytes int) (v draftVersion, draft *posternv1.Draft, err error) {
	for range readAttempts {
		if v, err = d.current(ctx, id); err != nil {
			return v, nil, err
		}
		if etag != "" && etag != draftEtag(d.conn.SelectData().UIDValidity, v.uid) {
			return v, nil, draftChanged()
		}
		draft, err = d.read(ctx, v, bodyBytes)
		if !isFailure(err, reasonMessageGone) && !isFailure(err, reasonMessageMoved) {
			return v, draft, err
		}
	}
	return v, nil, draftChanged()
}

// CreateDraft implements DraftService.
func (s *draftService) CreateDraft(ctx context.Context, req *posternv1.CreateDraftRequest) (*posternv1.Draft, error) {
	a, err := s.accounts.Get(ctx, accountID(req.GetParent()))
	if err != nil {
		return nil, err
	}
	attempt, err := begin(ctx, s.requests, a.ID, "CreateDraft", req.GetRequestId(), req, newDraftID())
	if err != nil {
		return nil, err
	}
	out, err := s.create(ctx, a, attempt, req.GetDraft())
	if err != nil {
		return nil, fmt.Errorf("create draft: %w", err)
	}
	s.look(a)
	return out, attempt.Finish(ctx, out.GetName())
}

func (s *draftService) create(ctx context.Context, a *account.Account, attempt *requestid.Attempt, draft *posternv1.Draft) (*posternv1.Draft, error) {
	id := attempt.Plan
	done, err := s.turns.take(ctx, a.ID+"/"+id)
	if err != nil {
		return nil, err
	}
	defer done()
	if attempt.Repeated {
		// What an earlier attempt has made is there, whether or not it got to say so.
		out, err := s.read(ctx, a, id)
		if !isFailure(err, reasonDraftNotFound) {
			return out, err
		}
		if attempt.Outcome != "" {
			return nil, fmt.Errorf("the draft is gone since it was created: %w", requestid.ErrReused)
		}
	}
	written, err := s.write(ctx, a, id, draft, nil)
	if err != nil {
		return nil, err
	}
	defer written.Close()
	f, err := s.folderFor(ctx, a, true)
	if err != nil {
		return nil, err
	}
	var out *posternv1.Draft
	err = s.in(ctx, a, f, once, func(d openDraft) error {
		if _, err := d.append(ctx, id, written); err != nil {
			return err
		}
		_, out, err = d.readCurrent(ctx, id, "", maxBody)
		return err
	})
	return out, err
}

// look has changes announced soon.
func (s *draftService) look(a *account.Account) {
	if s.watch != nil {
		s.watch.Look(a.ID)
	}
}

// once is for what must not be sent twice.
var once = &imapconn.DoOptions{Once: true}

// isFailure reports whether err is a failure of ours for that reason.
func isFailure(err error, why reason) bool {
	var f *failure
	return errors.As(err, &f) && f.reason == why
}

// append puts a new version of a draft into the folder and finds it there.
func (d openDraft) append(ctx context.Context, id string, written *writtenDraft) (draftVersion, error) {
	m, err := written.appended(d.conn)
	if err != nil {
		return draftVersion{}, err
	}
	data, err := d.conn.Append(ctx, d.folder.Name, m)
	if err != nil {
		return draftVersion{}, err
	}
	if len(data.UIDs) == 1 && data.UIDValidity == d.conn.SelectData().UIDValidity {
		return draftVersion{id: id, uid: data.UIDs[0]}, nil
	}
	return d.current(ctx, id)
}

// UpdateDraft implements DraftService.
func (s *draftService) UpdateDraft(ctx context.Context, req *posternv1.UpdateDraftRequest) (*posternv1.Draft, error) {
	paths, err := draftUpdatePaths(req)
	if err != nil {
		return nil, err
	}
	a, id, err := s.resolve(ctx, req.GetDraft().GetName())
	if err != nil {
		return nil, err
	}
	done, err := s.turns.take(ctx, a.ID+"/"+id)
	if err != nil {
		return nil, err
	}
	defer done()
	out, err := s.update(ctx, a, id, req.GetDraft(), paths)
	if err != nil {
		return nil, fmt.Errorf("update draft: %w", err)
	}
	s.look(a)
	return out, nil
}

func (s *draftService) update(ctx context.Context, a *account.Account, id string, in *posternv1.Draft, paths []maskPath) (*posternv1.Draft, error) {
	f, err := s.folderFor(ctx, a, false)
	if err != nil {
		return nil, err
	}
	var before draftVersion
	var base *posternv1.Draft
	err = s.in(ctx, a, f, readOnlyMailbox, func(d openDraft) error {
		before, base, err = d.readCurrent(ctx, id, in.GetEtag(), compose.MaxBody)
		return err
	})
	if err != nil || len(paths) == 0 {
		return base, err
	}
	next, err := changedDraft(base, in, paths)
	if err != nil {
		return nil, err
	}
	written, err := s.write(ctx, a, id, next, base)
	if err != nil && !s.isCurrent(ctx, a, f, before) {
		return nil, draftChanged() // and its attachments with it
	}
	if err != nil {
		return nil, err
	}
	defer written.Close()
	if err := s.in(ctx, a, f, once, func(d openDraft) error { return d.replace(ctx, before, written) }); err != nil {
		return nil, err
	}
	return s.readIn(ctx, a, f, id)
}

// isCurrent reports whether a version is still the newest, or cannot be asked for.
func (s *draftService) isCurrent(ctx context.Context, a *account.Account, f *folder.Folder, v draftVersion) bool {
	current := v
	err := s.in(ctx, a, f, readOnlyMailbox, func(d openDraft) (err error) {
		current, err = d.current(ctx, v.id)
		return err
	})
	return err != nil || current == v
}

// settableDraft are the fields that an update may change.
var settableDraft = []string{
	"from", "to", "cc", "bcc", "reply_to", "subject", "text", "html", "headers", "attachments", "reply", "calendar", "raw",
}

func draftUpdatePaths(req *posternv1.UpdateDraftRequest) ([]maskPath, error) {
	paths, err := updatePaths(req.GetUpdateMask(), req.GetDraft(), settableDraft)
	if len(req.GetUpdateMask().GetPaths()) == 0 {
		for i, p := range paths {
			paths[i] = p[:1] // an address is changed as a whole
		}
	}
	return paths, err
}

// changedDraft is a draft with the fields that the paths name as they are in the
// request.
func changedDraft(base, in *posternv1.Draft, paths []maskPath) (*posternv1.Draft, error) {
	if len(in.GetRaw()) > 0 && names(paths, "raw") {
		return &posternv1.Draft{Raw: in.GetRaw()}, nil
	}
	next := proto.Clone(base).(*posternv1.Draft)
	for _, path := range paths {
		overwrite(next.ProtoReflect(), in.ProtoReflect(), path)
	}
	next.Raw = nil // it is not what is there that is given in it
	forgetMadeText(next, base)
	if base.GetTruncated() && (!names(paths, "text") || !names(paths, "html")) {
		return nil, refuse(codes.InvalidArgument, reasonMessageTooLarge,
			"The text of the draft is too long to be kept while other fields are changed: give text and html as well, or raw.")
	}
	if !names(paths, "headers") {
		// What another mail program wrote and may not be written on is left out.
		next.Headers = slices.DeleteFunc(next.GetHeaders(), func(h *posternv1.Header) bool {
			m := compose.Message{Headers: []compose.Header{{Name: h.GetName(), Value: h.GetValue()}}}
			return slices.ContainsFunc(m.Check(), func(v compose.Violation) bool { return strings.HasPrefix(v.Field, "headers") })
		})
	}
	return next, nil
}

// replace puts a new version of a draft into the folder and removes the old ones.
// Of two who replace the same version at the same time, on two nodes, the one whose
// message the server took first has won; the other takes its own back.
func (d openDraft) replace(ctx context.Context, before draftVersion, written *writtenDraft) error {
	newest, err := d.current(ctx, before.id)
	if err != nil {
		return err
	}
	if newest.uid != before.uid {
		return draftChanged()
	}
	v, err := d.append(ctx, before.id, written)
	if err != nil {
		return err
	}
	versions, err := readVersions(ctx, d.conn, d.folder.Key)
	if err != nil {
		return err
	}
	var old []draftVersion
	for _, other := range versionsOf(versions, before.id) {
		switch {
		case other.uid <= before.uid:
			old = append(old, other)
		case other.uid < v.uid:
			if err := d.conn.Remove(ctx, imap.UIDSetNum(v.uid)); err != nil {
				return err
			}
			return draftChanged()
		}
	}
	// The draft is changed. A version that cannot be removed does not count any
	// more, and goes with the next change.
	if len(old) == 0 {
		return nil
	}
	if err := d.conn.Remove(ctx, setOf(old)); err != nil && ctx.Err() != nil {
		return err
	}
	return nil
}
