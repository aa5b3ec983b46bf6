package gateway

import (
	"google.golang.org/grpc"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
)

// Connector lends the IMAP connections of accounts, and tries their settings.
// [github.com/postern-mail/postern/internal/account.Connector] is one.
type Connector interface {
	mailboxes
	verifier
}

// build makes the services out of what the configuration has.
func (g *Gateway) build() {
	cfg := g.cfg
	pages := func(kind string) pager { return pager{box: cfg.Box, kind: kind} }
	lister := folderLister{mailboxes: cfg.Connector, folders: cfg.Folders}
	g.accounts = &accountService{registry: cfg.Accounts, verifier: cfg.Connector, pager: pages("accounts")}
	g.folders = &folderService{accounts: cfg.Accounts, lister: lister, pager: pages("folders")}
	g.messages = &messageService{
		accounts: cfg.Accounts, mailboxes: cfg.Connector, folders: cfg.Folders, lister: lister, pager: pages("messages"),
	}
	g.events = &eventService{log: cfg.Events, accounts: cfg.Accounts, draining: g.draining}
}

// register adds the services to a server.
func (g *Gateway) register(server *grpc.Server) {
	posternv1.RegisterAccountServiceServer(server, g.accounts)
	posternv1.RegisterFolderServiceServer(server, g.folders)
	posternv1.RegisterMessageServiceServer(server, g.messages)
	posternv1.RegisterEventServiceServer(server, g.events)
}
