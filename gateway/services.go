package gateway

import (
	"context"
	"time"

	"google.golang.org/grpc"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/access"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/imapconn"
)

// Connector lends the IMAP connections of accounts, and tries their settings.
// [github.com/postern-mail/postern/internal/account.Connector] is one.
type Connector interface {
	mailboxes
	verifier
	// Reselect makes connections find out anew which mailbox a name stands for.
	Reselect(accountID string)
}

// Watch is who watches the mailboxes on this node, or some of them.
// [github.com/postern-mail/postern/idle.Supervisor] is one.
type Watch interface {
	// Look has an account's folders compared with the server now.
	Look(accountID string)
	// Synced is when a folder was last compared with the server, zero when that
	// is not known here.
	Synced(accountID string, key folder.Key) time.Time
}

// build makes the services out of what the configuration has.
func (g *Gateway) build() {
	cfg := g.cfg
	pages := func(kind string) pager { return pager{box: cfg.Box, kind: kind} }
	accounts := visibleAccounts{cfg.Accounts}
	mail := visibleMailboxes{mailboxes: patient{mailboxes: cfg.Connector, wait: cfg.ConnectionWait}, accounts: accounts}
	lister := folderLister{mailboxes: mail, folders: cfg.Folders}
	g.accounts = &accountService{
		registry: accounts, connector: cfg.Connector, pager: pages("accounts"),
		searches: newSearches(cfg.Finder, g.calls.limiter, cfg.ConnectionWait),
	}
	changes := &folderChanges{lister: lister, registry: cfg.Folders, reselect: cfg.Connector.Reselect, watch: cfg.Watch}
	g.folders = &folderService{
		accounts: accounts, lister: lister, pager: pages("folders"), requests: cfg.Requests, watch: cfg.Watch,
		changes: changes,
	}
	spools := newSpools(cfg.SpoolDir, cfg.Limits, cfg.ConnectionWait)
	g.messages = &messageService{
		accounts: accounts, mailboxes: mail, folders: cfg.Folders, lister: lister, pager: pages("messages"),
		requests: cfg.Requests, moves: cfg.Moves, successors: cfg.Successors,
		spools: spools, watch: cfg.Watch, log: cfg.Log,
	}
	g.threads = &threadService{messages: g.messages, pager: pages("threads")}
	g.submissions = &submissionService{
		accounts: accounts, composer: composer{messages: g.messages, uploads: cfg.Submissions, field: "submission"},
		store: cfg.Submissions, requests: cfg.Requests, templates: cfg.Templates, pager: pages("submissions"), giveUp: cfg.GiveUpSending,
		unsubscriber: newUnsubscriber(cfg),
	}
	g.webhooks = &webhookService{
		webhooks: visibleWebhooks{all: cfg.Webhooks, accounts: accounts}, accounts: accounts,
		hooks: pages("webhooks"), attempts: pages("deliveries"), letters: pages("deadLetters"),
	}
	g.drafts = &draftService{
		accounts: accounts, mailboxes: mail, lister: lister, changes: changes, pager: pages("drafts"),
		requests: cfg.Requests, composer: composer{messages: g.messages, uploads: cfg.Submissions, field: "draft"}, spools: spools, watch: cfg.Watch,
	}
	g.blocks = &blockService{accounts: accounts, store: cfg.Submissions, pager: pages("blocks")}
	g.submissions.drafts, g.drafts.submissions = g.drafts, g.submissions
	g.templates = &templateService{templates: cfg.Templates, requests: cfg.Requests, pager: pages("templates")}
	g.audit = &auditService{log: cfg.Audit, pager: pages("auditEntries")}
	g.tokens = &tokenService{tokens: cfg.Tokens, requests: cfg.Requests, pager: pages("tokens")}
	g.uploads = &uploadService{accounts: accounts, store: cfg.Submissions}
	g.events = &eventService{log: cfg.Events, accounts: accounts, tickets: ticketBooth{box: cfg.Box}, draining: g.draining}
}

// patient bounds how long a request waits for a connection to be free.
type patient struct {
	mailboxes
	wait time.Duration
}

// Do implements mailboxes.
func (p patient) Do(ctx context.Context, accountID, mailbox string, opts *imapconn.DoOptions, fn func(*imapconn.Conn) error) error {
	bounded := imapconn.DoOptions{}
	if opts != nil {
		bounded = *opts
	}
	bounded.Wait = p.wait
	if who := access.From(ctx).ID; who != insideID {
		bounded.For = who
	}
	return p.mailboxes.Do(ctx, accountID, mailbox, &bounded, fn)
}

// register adds the services to a server.
func (g *Gateway) register(server grpc.ServiceRegistrar) {
	posternv1.RegisterAccountServiceServer(server, g.accounts)
	posternv1.RegisterFolderServiceServer(server, g.folders)
	posternv1.RegisterMessageServiceServer(server, g.messages)
	posternv1.RegisterDraftServiceServer(server, g.drafts)
	posternv1.RegisterThreadServiceServer(server, g.threads)
	posternv1.RegisterSubmissionServiceServer(server, g.submissions)
	posternv1.RegisterUploadServiceServer(server, g.uploads)
	posternv1.RegisterEventServiceServer(server, g.events)
	posternv1.RegisterWebhookServiceServer(server, g.webhooks)
	posternv1.RegisterBlockServiceServer(server, g.blocks)
	posternv1.RegisterTemplateServiceServer(server, g.templates)
	posternv1.RegisterTokenServiceServer(server, g.tokens)
	posternv1.RegisterAuditServiceServer(server, g.audit)
}
