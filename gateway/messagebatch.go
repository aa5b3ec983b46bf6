package gateway

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/moves"
	"github.com/postern-mail/postern/internal/query"
)

const (
	// batchSize is how many messages are changed at a time. Between two batches
	// the connection is free for other requests.
	batchSize = 500
	// batchBudget is what [scanBudget] is for lists.
	batchBudget = 20_000
	// maxFailures bounds the failures that an answer lists.
	maxFailures = 1000
)

// batch is a change of many messages, understood, and what has become of it.
type batch struct {
	account *account.Account
	req     *posternv1.BatchModifyMessagesRequest
	change  change
	resp    *posternv1.BatchModifyMessagesResponse
	// progress is told after each batch.
	progress func(*posternv1.BatchModifyMessagesResponse) error
	// refused is the first error that struck a whole batch.
	refused error
}

// change is what is done to each message.
type change struct {
	addFlags, removeFlags   []imap.Flag
	addLabels, removeLabels []string
	to                      *folder.Folder
	delete                  bool
	trash                   *folder.Folder // for deletions on Gmail, once it is known
}

// BatchModifyMessages implements MessageService.
func (s *messageService) BatchModifyMessages(ctx context.Context, req *posternv1.BatchModifyMessagesRequest) (*posternv1.BatchModifyMessagesResponse, error) {
	return s.batchModify(ctx, req, func(*posternv1.BatchModifyMessagesResponse) error { return nil })
}

// BatchModifyMessagesWithProgress implements MessageService.
func (s *messageService) BatchModifyMessagesWithProgress(
	req *posternv1.BatchModifyMessagesWithProgressRequest, stream grpc.ServerStreamingServer[posternv1.BatchModifyMessagesProgress],
) error {
	resp, err := s.batchModify(stream.Context(), req.GetBatch(), func(so *posternv1.BatchModifyMessagesResponse) error {
		return stream.Send(progressOf(so))
	})
	if err != nil {
		return err
	}
	last := progressOf(resp)
	last.Result = resp
	return stream.Send(last)
}

func progressOf(so *posternv1.BatchModifyMessagesResponse) *posternv1.BatchModifyMessagesProgress {
	return &posternv1.BatchModifyMessagesProgress{Matched: so.GetMatched(), Modified: so.GetModified(), FailedCount: so.GetFailedCount()}
}

func (s *messageService) batchModify(ctx context.Context, req *posternv1.BatchModifyMessagesRequest,
	progress func(*posternv1.BatchModifyMessagesResponse) error,
) (*posternv1.BatchModifyMessagesResponse, error) {
	b := &batch{req: req, progress: progress, resp: &posternv1.BatchModifyMessagesResponse{}}
	var err error
	if b.account, err = s.accounts.Get(ctx, accountID(req.GetParent())); err != nil {
		return nil, err
	}
	if b.change, err = s.changeOf(ctx, b); err != nil {
		return nil, fmt.Errorf("batch modify messages: %w", err)
	}
	run := s.batchNamed
	if len(req.GetNames()) == 0 {
		run = s.batchFiltered
	}
	answer, err := s.once(ctx, b.account.ID, "BatchModifyMessages", req.GetRequestId(), contentOf(req), func(ctx context.Context, _ bool) (string, error) {
		defer s.wrote(b.account.ID)
		if err := run(ctx, b); err != nil {
			return "", err
		}
		if b.resp.GetModified() == 0 && b.refused != nil {
			return "", b.refused
		}
		outcome, err := protojson.Marshal(b.resp)
		return string(outcome), err
	})
	if err != nil {
		return nil, fmt.Errorf("batch modify messages: %w", err)
	}
	resp := &posternv1.BatchModifyMessagesResponse{}
	return resp, protojson.Unmarshal([]byte(answer), resp)
}

func (s *messageService) changeOf(ctx context.Context, b *batch) (change, error) {
	req := b.req
	c := change{addLabels: req.GetAddLabels(), removeLabels: req.GetRemoveLabels(), delete: req.GetDelete()}
	var err error
	if c.addFlags, err = parseFlags("add_flags", req.GetAddFlags()); err != nil {
		return c, err
	}
	if c.removeFlags, err = parseFlags("remove_flags", req.GetRemoveFlags()); err != nil {
		return c, err
	}
	var to folder.Folder
	switch {
	case req.GetMoveTo() != "":
		to, err = s.namedFolder(ctx, b.account.ID, "move_to", req.GetMoveTo())
	case req.GetTrash():
		to, err = s.folderOfRole(ctx, b.account.ID, folder.RoleTrash)
	default:
		return c, nil
	}
	c.to = &to
	return c, err
}

// batchNamed changes messages that were named, folder by folder.
func (s *messageService) batchNamed(ctx context.Context, b *batch) error {
	groups, err := s.groupNames(ctx, b)
	if err != nil {
		return err
	}
	for _, g := range groups {
		for len(g.uids) > 0 {
			if err := s.changeSome(ctx, b, g, imap.UIDSetNum(g.take(batchSize)...)); err != nil {
				return err
			}
		}
	}
	return nil
}

// group is messages of one folder.
type group struct {
	moves.Place
	folder folder.Folder
	uids   []imap.UID
	// found says that a filter found them, rather than that they were named.
	found bool
}

func (g *group) take(n int) []imap.UID {
	n = min(n, len(g.uids))
	taken := g.uids[:n]
	g.uids = g.uids[n:]
	return taken
}

// groupNames sorts names by their folders, each once. Those that lead nowhere
// fail.
func (s *messageService) groupNames(ctx context.Context, b *batch) ([]*group, error) {
	var groups []*group
	for _, id := range b.placements(b.req.GetNames()) {
		if id.err != nil {
			if id.elsewhere {
				return nil, id.err
			}
			b.fail(ctx, id.name, id.err)
			continue
		}
		i := slices.IndexFunc(groups, func(g *group) bool { return g.Place == moves.PlaceOf(id.MessageID) })
		if i < 0 {
			f, err := s.folders.ByKey(ctx, b.account.ID, id.Folder)
			if err != nil {
				b.fail(ctx, id.name, s.orMoved(ctx, b.account.ID, id.MessageID, folderGone(err)))
				continue
			}
			groups = append(groups, &group{folder: f, Place: moves.PlaceOf(id.MessageID)})
			i = len(groups) - 1
		}
		groups[i].uids = append(groups[i].uids, id.UID)
	}
	return groups, nil
}

// placement is what a name of a request stands for.
type placement struct {
	folder.MessageID
	name string
	err  error
	// elsewhere says that it is one of another account.
	elsewhere bool
}

// placements reads names, each once, and counts them.
func (b *batch) placements(names []string) []placement {
	list := parseNames(b.account.ID, names)
	b.resp.Matched = int64(len(list))
	return list
}

func parseNames(accountID string, names []string) []placement {
	var list []placement
	seen := make(map[string]bool)
	for _, name := range names {
		if seen[name] {
			continue
		}
		seen[name] = true
		p := placement{name: name}
		accountName, id, _ := strings.Cut(name, "/messages/")
		if p.elsewhere = accountName != "accounts/"+accountID; p.elsewhere {
			p.err = refuseField("names", reasonArgumentInvalid, "%s belongs to another account than the parent.", said(name))
		} else {
			p.MessageID, p.err = folder.ParseMessageID(id)
		}
		list = append(list, p)
	}
	return list
}

// batchFiltered changes the messages of a folder that a filter finds.
func (s *messageService) batchFiltered(ctx context.Context, b *batch) error {
	filter, err := query.Parse(b.req.GetFilter())
	if err != nil {
		return err
	}
	g := &group{found: true}
	if g.folder, err = s.namedFolder(ctx, b.account.ID, "folder", b.req.GetFolder()); err != nil {
		return err
	}
	find := newFinder(filter, time.Now())
	find.budget.Store(batchBudget)
	var found imap.UIDSet
	err = s.mailboxes.Do(ctx, b.account.ID, g.folder.Name, readOnlyMailbox, func(c *imapconn.Conn) error {
		g.Place = moves.Place{Folder: g.folder.Key, UIDValidity: c.SelectData().UIDValidity}
		found, err = find.all(ctx, c, 0)
		return err
	})
	if err != nil {
		return err
	}
	b.resp.Matched = countUIDs(found)
	for len(found) > 0 {
		var some imap.UIDSet
		some, found = splitFirst(found, batchSize)
		if b.refused != nil { // it would strike the others, too
			b.failAll(ctx, g, some, b.refused)
			continue
		}
		if err := s.changeSome(ctx, b, g, some); err != nil {
			return err
		}
	}
	return nil
}

// fail notes that a message was left as it was.
func (b *batch) fail(ctx context.Context, name string, err error) {
	b.resp.FailedCount++
	if len(b.resp.GetFailed()) < maxFailures {
		b.resp.Failed = append(b.resp.Failed, &posternv1.BatchModifyMessagesResponse_Failure{Name: name, Error: statusProto(ctx, err)})
	}
}

func statusProto(ctx context.Context, err error) *spb.Status {
	return classify(ctx, err).GRPCStatus().Proto()
}

// failAll notes that messages were left as they were, all for the same reason.
func (b *batch) failAll(ctx context.Context, g *group, uids imap.UIDSet, err error) {
	listed := int64(0)
	for _, uid := range uidsOf(uids, maxFailures-len(b.resp.GetFailed())) {
		b.fail(ctx, b.name(g.Place, uid), err)
		listed++
	}
	b.resp.FailedCount += countUIDs(uids) - listed
}

// name is that of a message at a place.
func (b *batch) name(in moves.Place, uid imap.UID) string {
	return event.MessageName(b.account.ID, folder.MessageID{Folder: in.Folder, UIDValidity: in.UIDValidity, UID: uid})
}
