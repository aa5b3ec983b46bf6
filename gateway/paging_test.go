package gateway_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"golang.org/x/sync/errgroup"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
)

// changing is a mailbox that other clients change all the time.
type changing struct {
	*mailbox
	folders []string
}

// deliver puts numbered mail into a folder by one client's connection.
func deliver(c *imapclient.Client, folder, subject string) error {
	raw := mail(subject)
	cmd := c.Append(folder, int64(len(raw)), &imap.AppendOptions{Time: time.Now()})
	if _, err := cmd.Write(raw); err != nil {
		return err
	}
	if err := cmd.Close(); err != nil {
		return err
	}
	_, err := cmd.Wait()
	return err
}

// destroy expunges a message of a folder at random.
func destroy(c *imapclient.Client, r *rand.Rand, folder string) error {
	selected, err := c.Select(folder, nil).Wait()
	if err != nil || selected.NumMessages == 0 {
		return err
	}
	number := imap.SeqSetNum(1 + r.Uint32N(selected.NumMessages))
	// Another client may have expunged it in between: then nothing happens.
	if err := c.Store(number, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close(); err != nil {
		return err
	}
	return c.Expunge().Close()
}

// change delivers and expunges until ctx ends.
func (m *changing) change(ctx context.Context, c *imapclient.Client, r *rand.Rand, who int) error {
	for i := 0; ctx.Err() == nil; i++ {
		folder := m.folders[r.IntN(len(m.folders))]
		var err error
		if r.IntN(3) == 0 {
			err = destroy(c, r, folder)
		} else {
			err = deliver(c, folder, fmt.Sprintf("new-%d-%d", who, i))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// walk lists page by page, and fails when a message comes twice. The list ends
// although mail arrives all the time: what comes after the first page is none of
// it.
func (m *changing) walk(ctx context.Context, req *posternv1.ListMessagesRequest, r *rand.Rand) (map[string]bool, error) {
	seen := make(map[string]bool)
	for page := 0; page == 0 || req.PageToken != ""; page++ {
		req.PageSize = 1 + r.Int32N(7)
		resp, err := m.messages.ListMessages(ctx, req)
		if err != nil {
			return nil, fmt.Errorf("page %d: %w", page, err)
		}
		for _, message := range resp.GetMessages() {
			if seen[message.GetName()] {
				return nil, fmt.Errorf("page %d has %s again", page, message.GetSubject())
			}
			seen[message.GetName()] = true
		}
		req.PageToken = resp.GetNextPageToken()
	}
	return seen, nil
}

// Pages neither skip nor repeat while several clients deliver and expunge.
func TestPagesDoNotShift(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for _, k := range []kind{kinds[0], kinds[1]} {
		for name, req := range map[string]*posternv1.ListMessagesRequest{
			"folder":       {Folder: "INBOX"},
			"filter":       {Folder: "INBOX", Filter: "from:ann"},
			"look":         {Folder: "INBOX", Filter: "from.address=ann@example.com after:2020-01-01"},
			"all folders":  {},
			"all filtered": {Filter: "-has:attachment"},
			"sorted":       {Folder: "INBOX", OrderBy: "subject"},
		} {
			if name == "sorted" && !k.dovecot {
				continue // go-imap's server cannot sort
			}
			t.Run(k.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				m := &changing{mailbox: k.mailbox(t, "gRPC"), folders: []string{"INBOX", "Archive"}}
				m.pagesHold(t, req, seed)
			})
		}
	}
}

func (m *changing) pagesHold(t *testing.T, req *posternv1.ListMessagesRequest, seed uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	writer := m.client(t)
	for i := range 40 {
		if err := deliver(writer, m.folders[r.IntN(2)], fmt.Sprintf("old-%02d", i)); err != nil {
			t.Fatal(err)
		}
	}
	req.Parent = m.account
	if req.Folder != "" {
		req.Folder = m.folder(t, req.Folder)
	}
	for round := range 3 {
		there := m.names(t, req)
		ctx, stop := context.WithCancel(t.Context())
		clients, clientsCtx := errgroup.WithContext(ctx)
		for who := range 2 {
			c := m.client(t)
			own := rand.New(rand.NewPCG(seed, uint64(100*round+who)))
			clients.Go(func() error { return m.change(clientsCtx, c, own, 10*round+who) })
		}
		again := &posternv1.ListMessagesRequest{Parent: req.Parent, Folder: req.Folder, Filter: req.Filter, OrderBy: req.OrderBy}
		seen, err := m.walk(asAdmin(clientsCtx), again, r)
		stop()
		if changed := clients.Wait(); changed != nil {
			t.Fatalf("a client that changes the mailbox: %v", changed)
		}
		if err != nil {
			t.Fatal(err)
		}
		left := m.names(t, req)
		for name := range there {
			if left[name] && !seen[name] {
				t.Errorf("round %d skips %s", round, name)
			}
		}
	}
}

// names are all messages of a list, in a mailbox at rest.
func (m *changing) names(t *testing.T, req *posternv1.ListMessagesRequest) map[string]bool {
	t.Helper()
	names := make(map[string]bool)
	all := &posternv1.ListMessagesRequest{
		Parent: req.Parent, Folder: req.Folder, Filter: req.Filter, OrderBy: req.OrderBy, PageSize: 500, View: posternv1.Message_MINIMAL,
	}
	for page := 0; page == 0 || all.PageToken != ""; page++ {
		resp, err := m.messages.ListMessages(m.ctx(t), all)
		if err != nil {
			t.Fatal(err)
		}
		for _, message := range resp.GetMessages() {
			names[message.GetName()] = true
		}
		all.PageToken = resp.GetNextPageToken()
	}
	return names
}
