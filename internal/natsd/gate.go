package natsd

import (
	"fmt"
	"slices"

	"github.com/nats-io/nats-server/v2/server"
)

// Three NATS accounts keep Postern and the readers of its events apart:
//
//   - Postern's own is the server's global account. It has the log and everything
//     else, and lends out two things: a consumer of the log, and what that delivers.
//   - The copier's account has a copy of the log, by JetStream's own mirroring.
//     Nobody logs in there but this process.
//   - The readers' account stores nothing. It imports, subject by subject, what
//     readers may ask of the copy.
//
// Rights to subjects within one account would not do. The server itself sends to
// subjects that clients choose: where a push consumer delivers, and where the
// answer to a request goes. By either a reader could have it write into Postern's
// buckets, or send a request such as STREAM.DELETE, whose body may be empty. An
// answer that crosses into the readers' account can only go to subjects there,
// of which none does more than a reader may do anyway, and consumers that push
// are refused (see consumers.go).
const (
	copierAccount = "COPIER"
	readerAccount = "READERS"

	// copyAPI and copyFeed are the subjects under which the copier's account
	// sees the API of Postern's, and what the log's consumer delivers.
	copyAPI  = "postern.log"
	copyFeed = "postern.feed"
	// createPrefix is where requests for consumers go, to be looked at.
	createPrefix = "postern.create"
)

// Bounds of what readers may use.
const (
	maxReaderConnections = 256
	maxReaderConsumers   = 1024
	maxReaderMemory      = 16 << 20
	maxReaderAckPending  = 100_000
)

// gate lets clients into one NATS server, each into its account.
type gate struct {
	keys     *keys
	server   *server.Server
	accounts map[role]*server.Account
	rights   *server.Permissions // of readers
}

// open sets the accounts up. It comes before clients do.
func (g *gate) open(nats *server.Server, stream string) error {
	g.server = nats
	g.accounts = map[role]*server.Account{roleOwner: nats.GlobalAccount()}
	if stream == "" {
		return nil
	}
	copier, _ := nats.LookupOrRegisterAccount(copierAccount)
	reader, _ := nats.LookupOrRegisterAccount(readerAccount)
	if err := lend(g.accounts[roleOwner], copier, stream); err != nil {
		return fmt.Errorf("let the log be copied: %w", err)
	}
	var subjects []string
	for _, request := range readerRequests(stream) {
		subjects = append(subjects, request.subject)
		if err := request.lend(copier, reader); err != nil {
			return fmt.Errorf("let readers send %s: %w", request.subject, err)
		}
	}
	// Last, since the copy goes on with it.
	limits := server.JetStreamAccountLimits{
		MaxMemory: maxReaderMemory, MaxStore: -1, MaxStreams: 1, MaxConsumers: maxReaderConsumers, MaxAckPending: maxReaderAckPending,
		MemoryMaxStreamBytes: -1, StoreMaxStreamBytes: -1,
	}
	if err := copier.EnableJetStream(map[string]server.JetStreamAccountLimits{"": limits}, nil); err != nil {
		return fmt.Errorf("open the copy of the log: %w", err)
	}
	g.accounts[roleCopier], g.accounts[roleReader] = copier, reader
	g.rights = &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: subjects},
		Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
	}
	return nil
}

// lend lets the copier have a consumer of the log, and no other request of the
// API than to make one.
func lend(owner, copier *server.Account, stream string) error {
	to := []*server.Account{copier}
	create, flow := "$JS.API.CONSUMER.CREATE."+stream, "$JS.FC."+stream+".>"
	for _, service := range []struct{ from, to string }{{copyAPI + ".CONSUMER.CREATE." + stream, create}, {flow, flow}} {
		if err := owner.AddServiceExport(service.to, to); err != nil {
			return err
		}
		if err := copier.AddServiceImport(owner, service.from, service.to); err != nil {
			return err
		}
	}
	if err := owner.AddStreamExport(copyFeed+".>", to); err != nil {
		return err
	}
	return copier.AddStreamImport(owner, copyFeed+".>", "")
}

// request is one that readers may send: its subject, and the one that it has in
// the copier's account.
type request struct{ subject, there string }

// readerRequests is all that readers may send.
func readerRequests(stream string) []request {
	requests := []request{
		{"$JS.API.CONSUMER.CREATE." + stream, createPrefix + ".CONSUMER.CREATE." + stream},
		{"$JS.API.CONSUMER.CREATE." + stream + ".>", createPrefix + ".CONSUMER.CREATE." + stream + ".>"},
		{"$JS.API.CONSUMER.DURABLE.CREATE." + stream + ".*", createPrefix + ".CONSUMER.DURABLE.CREATE." + stream + ".*"},
	}
	for _, subject := range []string{
		"$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST",
		"$JS.API.STREAM.INFO." + stream, "$JS.API.STREAM.MSG.GET." + stream,
		"$JS.API.CONSUMER.NAMES." + stream, "$JS.API.CONSUMER.LIST." + stream, "$JS.API.CONSUMER.INFO." + stream + ".*",
		"$JS.API.CONSUMER.MSG.NEXT." + stream + ".*", "$JS.API.CONSUMER.DELETE." + stream + ".*",
		"$JS.ACK." + stream + ".>",
	} {
		requests = append(requests, request{subject, subject})
	}
	return requests
}

func (r request) lend(copier, reader *server.Account) error {
	// Streamed: a request for messages has many answers.
	if err := copier.AddServiceExportWithResponse(r.there, server.Streamed, []*server.Account{reader}); err != nil {
		return err
	}
	return reader.AddServiceImport(copier, r.subject, r.there)
}

// Check implements [server.Authentication].
func (g *gate) Check(client server.ClientAuthentication) bool {
	options := client.GetOpts()
	entered := false
	admitted := g.keys.admit(options.Username, options.Password, func(who role) {
		account := g.accounts[who]
		if account == nil {
			return
		}
		user := &server.User{Username: options.Username, Account: account}
		if who == roleReader {
			if account.NumLocalConnections() >= maxReaderConnections {
				return
			}
			user.Permissions = g.rights
		}
		client.RegisterUser(user)
		entered = true
	})
	return admitted && entered
}

// expel closes the connections of readers.
func (g *gate) expel(names []string) error {
	open, err := g.server.Connz(&server.ConnzOptions{Username: true, Limit: maxConnections})
	if err != nil {
		return fmt.Errorf("list the connections of readers: %w", err)
	}
	for _, conn := range open.Conns {
		if slices.Contains(names, conn.AuthorizedUser) {
			// One that is gone already is not there to be closed.
			_ = g.server.DisconnectClientByID(conn.Cid)
		}
	}
	return nil
}
