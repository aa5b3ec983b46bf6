package gateway_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/access"
)

// crowd are accounts of two teams, each with a word of its own in all that it has.
type crowd struct {
	*matrix
	random *rand.Rand
	names  []string // the accounts' ids
	words  []string
	all    []target
}

func newCrowd(t *testing.T, n int) *crowd {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	c := &crowd{matrix: newMatrix(t), random: rand.New(rand.NewPCG(seed, 0))}
	for i := range n {
		id := freshID()
		c.word = fmt.Sprintf("canary%dyranac", i)
		x := target{account: "accounts/" + id, team: []string{"north", "south"}[i%2], created: id, cursor: c.there.cursor, binding: access.Grant{Accounts: []string{id}}}
		c.register(t, id, x.team)
		c.fill(t, &x)
		c.names, c.words, c.all = append(c.names, id), append(c.words, c.word), append(c.all, x)
	}
	return c
}

// parts of a target, each of which may be of another account than the rest.
var parts = []func(to *target, from target){
	func(to *target, from target) { to.folder = from.folder },
	func(to *target, from target) { to.message, to.attachment = from.message, from.attachment },
	func(to *target, from target) { to.thread = from.thread },
	func(to *target, from target) { to.draft = from.draft },
	func(to *target, from target) { to.webhook, to.token = from.webhook, from.token },
}

// mixed is a target of an account, or one whose parts are of several.
func (c *crowd) mixed() target {
	pick := func() target { return c.all[c.random.IntN(len(c.all))] }
	x := pick()
	if c.random.IntN(2) == 0 {
		return x
	}
	for _, part := range parts {
		if c.random.IntN(2) == 0 {
			part(&x, pick())
		}
	}
	return x
}

// crossing are further requests that take something from elsewhere in the mailbox.
var crossing = map[string][]func(x target) proto.Message{
	"SubmissionService/CreateSubmission": {
		func(x target) proto.Message {
			s := text("bob@example.com")
			s.Reply = &posternv1.Reply{Message: x.message, Mode: posternv1.Reply_FORWARD, Quote: true}
			return &posternv1.CreateSubmissionRequest{Parent: x.account, Submission: s}
		},
		func(x target) proto.Message {
			s := text("bob@example.com")
			s.Attachments = []*posternv1.OutgoingAttachment{{Source: &posternv1.OutgoingAttachment_Attachment{Attachment: x.attachment}}}
			return &posternv1.CreateSubmissionRequest{Parent: x.account, Submission: s}
		},
		func(x target) proto.Message {
			return &posternv1.CreateSubmissionRequest{Parent: x.account, Submission: &posternv1.Submission{Draft: x.draft, SendTime: text("").GetSendTime()}}
		},
	},
	"DraftService/CreateDraft": {func(x target) proto.Message {
		return &posternv1.CreateDraftRequest{Parent: x.account, Draft: &posternv1.Draft{Text: "x", Reply: &posternv1.Reply{Message: x.message, Quote: true}}}
	}},
	"MessageService/BatchModifyMessages": {func(x target) proto.Message {
		return &posternv1.BatchModifyMessagesRequest{Parent: x.account, Names: []string{x.message}, MoveTo: x.folder}
	}},
	"EventService/ListEvents":  {func(target) proto.Message { return &posternv1.ListEventsRequest{Parent: "accounts/-"} }},
	"EventService/WatchEvents": {func(target) proto.Message { return &posternv1.WatchEventsRequest{} }},
	"WebhookService/CreateWebhook": {func(x target) proto.Message {
		return &posternv1.CreateWebhookRequest{Webhook: &posternv1.Webhook{
			Url: "https://example.com/", Accounts: []string{x.account}, AccountLabels: x.labels(), Folders: []string{x.folder}, Payload: posternv1.Webhook_BODY,
		}}
	}},
}

// requests are those of a call of a method about a target.
func (c *crowd) requests(name string, x target) []proto.Message {
	r := rows[name]
	if others := crossing[name]; len(others) > 0 && c.random.IntN(2) == 0 {
		r.request = others[c.random.IntN(len(others))]
	}
	return r.requests(x)
}

// grant is a random one: for some accounts, for a team, for both, or for all.
func (c *crowd) grant() access.Grant {
	g := access.Grant{Scopes: allScopes()}
	if c.random.IntN(4) == 0 {
		g.Scopes = scopes(access.Admin)
	}
	if c.random.IntN(8) == 0 {
		return g
	}
	for _, id := range c.names {
		if c.random.IntN(4) == 0 {
			g.Accounts = append(g.Accounts, id)
		}
	}
	if c.random.IntN(2) == 0 || len(g.Accounts) == 0 {
		g.Labels = map[string]string{"team": []string{"north", "south", "west"}[c.random.IntN(3)]}
	}
	return g
}

// exists is the oracle: whether an account is there for who has a grant.
func exists(g access.Grant, id, team string) bool {
	bound := len(g.Accounts) > 0 || len(g.Labels) > 0
	return !bound || slices.Contains(g.Accounts, id) || g.Labels["team"] == team
}

// Whatever is asked for, by whomever, with names of different accounts in one request:
// no byte of an account that does not exist for the caller is in the answer.
func TestNothingLeaks(t *testing.T) {
	t.Parallel()
	c, all := newCrowd(t, 5), methods(t)
	var names []string
	for name, r := range rows {
		if r.spend == "" && !strings.HasPrefix(name, "TemplateService/") && name != "AccountService/CreateAccount" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	fronts := []front{grpcFront{c.house}, restFront{c.house}}
	let, hidden := 0, 0
	for range 800 {
		name, x, g, i := names[c.random.IntN(len(names))], c.mixed(), c.grant(), c.random.IntN(2)
		if grpcOnly[all[name].Name()] {
			i = 0
		}
		requests := c.requests(name, x)
		asked := encoded(t, requests[0])
		got := fronts[i].call(t, all[name], c.token(t, g), requests)
		for k, id := range c.names {
			if exists(g, id, c.all[k].team) {
				continue
			}
			if strings.Contains(got.answer, c.words[k]) || strings.Contains(got.answer, id) && !strings.Contains(asked, id) {
				t.Errorf("%s %v as %+v: something of %s is in %q", name, requests[0], g, id, got.answer)
			}
			if strings.Contains(asked, x.account) && x.account == "accounts/"+id {
				hidden++
				if got.reason == "" {
					t.Errorf("%s %v as %+v: it is done: %q", name, requests[0], g, got.answer)
				}
			}
		}
		if got.reason == "" {
			let++
		}
	}
	if let < 50 || hidden < 50 {
		t.Errorf("%d calls were let in and %d named an account that is hidden: too few to prove anything", let, hidden)
	}
}
