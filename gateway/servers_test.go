package gateway_test

import (
	"context"
	"crypto/rand"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"google.golang.org/grpc"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/dovecottest"
	"github.com/postern-mail/postern/internal/sandbox"
)

// kind is a kind of mail server. What the API promises it promises on all of
// them: see onEachServer.
type kind struct {
	name string
	// without has what the server does not have. Dovecot has all of
	// extensions, go-imap's server all but CONDSTORE.
	without []imap.Cap
	dovecot bool
}

// kinds are Dovecot, and go-imap's in-memory server with its extensions
// switched off one by one, some together, and all.
var kinds = []kind{
	{name: "dovecot", dovecot: true},
	{name: "memory", without: []imap.Cap{imap.CapCondStore}},
	{name: "no MOVE", without: []imap.Cap{imap.CapCondStore, imap.CapMove}},
	{name: "no UIDPLUS", without: []imap.Cap{imap.CapCondStore, imap.CapUIDPlus}},
	{name: "no MOVE, no UIDPLUS", without: []imap.Cap{imap.CapCondStore, imap.CapMove, imap.CapUIDPlus}},
	{name: "no LIST-STATUS", without: []imap.Cap{imap.CapCondStore, imap.CapListStatus}},
	{name: "no SPECIAL-USE", without: []imap.Cap{imap.CapCondStore, imap.CapSpecialUse, imap.CapCreateSpecialUse}},
	{name: "no ESEARCH", without: []imap.Cap{imap.CapCondStore, imap.CapESearch, imap.CapSearchRes}},
	{name: "bare", without: []imap.Cap{
		imap.CapCondStore, imap.CapMove, imap.CapUIDPlus, imap.CapListStatus, imap.CapListExtended, imap.CapSpecialUse,
		imap.CapCreateSpecialUse, imap.CapESearch, imap.CapSearchRes, imap.CapNamespace, imap.CapStatusSize,
		imap.CapBinary, imap.CapChildren, imap.CapLiteralPlus,
	}},
}

func (k kind) has(extension imap.Cap) bool { return !slices.Contains(k.without, extension) }

// mailbox is an empty mailbox with the folders INBOX, Archive, Drafts, Junk,
// Sent and Trash on a server of some kind, registered as an account of the
// shared house.
type mailbox struct {
	kind
	*house
	account string // its name
	// conn makes the calls, by gRPC or by REST.
	conn     grpc.ClientConnInterface
	messages posternv1.MessageServiceClient
	folders  posternv1.FolderServiceClient

	user, password string
	addr           string
}

// onEachServer runs a suite against each kind of server, once by gRPC and once
// by REST, in parallel. Each run has a mailbox of its own.
func onEachServer(t *testing.T, suite func(t *testing.T, m *mailbox)) {
	t.Helper()
	onEachOf(t, kinds, suite)
}

// onEachOf is onEachServer for some kinds, for suites that are dear.
func onEachOf(t *testing.T, kinds []kind, suite func(t *testing.T, m *mailbox)) {
	t.Helper()
	for _, k := range kinds {
		for _, front := range []string{"gRPC", "REST"} {
			t.Run(k.name+"/"+front, func(t *testing.T) {
				t.Parallel()
				suite(t, k.mailbox(t, front))
			})
		}
	}
}

// mailbox makes a mailbox on a server of the kind.
func (k kind) mailbox(t testing.TB, front string) *mailbox {
	t.Helper()
	m := &mailbox{kind: k, house: sharedHouse(t)}
	var host string
	var port int
	if k.dovecot {
		server := dovecottest.Shared(t)
		m.user, m.password = server.User(t)
		host, port = server.Host(), server.Port()
	} else {
		server := k.memory(t)
		m.user, m.password = strings.ToLower(rand.Text())+"@example.org", "secret"
		if err := server.AddUser(m.user, m.password); err != nil {
			t.Fatal(err)
		}
		host, port = server.Host(), server.Port()
	}
	m.addr = net.JoinHostPort(host, strconv.Itoa(port))
	m.account = m.register(t, host, port, m.user, m.password)
	m.conn = m.grpc
	if front == "REST" {
		m.conn = restConn{m.house}
	}
	m.messages = posternv1.NewMessageServiceClient(m.conn)
	m.folders = posternv1.NewFolderServiceClient(m.conn)
	return m
}

// memories are the in-memory servers, one of each kind, which end with the
// tests.
var memories = struct {
	sync.Mutex
	servers map[string]*sandbox.Server
}{servers: make(map[string]*sandbox.Server)}

func (k kind) memory(t testing.TB) *sandbox.Server {
	t.Helper()
	memories.Lock()
	defer memories.Unlock()
	if server := memories.servers[k.name]; server != nil {
		return server
	}
	server, err := sandbox.Start(context.Background(), sandbox.Config{Without: k.without})
	if err != nil {
		t.Fatal(err)
	}
	memories.servers[k.name] = server
	return server
}

func closeMemories() {
	memories.Lock()
	defer memories.Unlock()
	for _, server := range memories.servers {
		_ = server.Close()
	}
}

// client is another client of the mailbox, go-imap's.
func (m *mailbox) client(t testing.TB) *imapclient.Client {
	t.Helper()
	c, err := imapclient.DialInsecure(m.addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.Login(m.user, m.password).Wait(); err != nil {
		t.Fatal(err)
	}
	return c
}

// put puts messages into a folder as another client does.
func (m *mailbox) put(t testing.TB, folder string, flags []imap.Flag, raws ...[]byte) {
	t.Helper()
	c := m.client(t)
	for _, raw := range raws {
		cmd := c.Append(folder, int64(len(raw)), &imap.AppendOptions{Flags: flags})
		if _, err := cmd.Write(raw); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
	}
}

// ctx is a context whose calls carry the token.
func (m *mailbox) ctx(t testing.TB) context.Context { return asAdmin(t.Context()) }

// folder is the name of the folder with that last path segment.
func (m *mailbox) folder(t testing.TB, name string) string {
	t.Helper()
	return m.folderNamed(t, m.account, name)["name"].(string)
}

// list lists a folder by the API, the newest first.
func (m *mailbox) list(t testing.TB, folder string) []*posternv1.Message {
	t.Helper()
	resp, err := m.messages.ListMessages(m.ctx(t), &posternv1.ListMessagesRequest{
		Parent: m.account, Folder: m.folder(t, folder), PageSize: 500,
	})
	if err != nil {
		t.Fatalf("list %s: %v", folder, err)
	}
	return resp.GetMessages()
}

// named is the message with that subject in a folder.
func (m *mailbox) named(t testing.TB, folder, subject string) *posternv1.Message {
	t.Helper()
	for _, message := range m.list(t, folder) {
		if message.GetSubject() == subject {
			return message
		}
	}
	t.Fatalf("%s has no message %q", folder, subject)
	return nil
}

// holds checks the subjects of a folder by another client, in any order.
func (m *mailbox) holds(t testing.TB, folder string, want ...string) {
	t.Helper()
	c := m.client(t)
	selected, err := c.Select(folder, &imap.SelectOptions{ReadOnly: true}).Wait()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	if selected.NumMessages > 0 {
		list, err := c.Fetch(imap.SeqSet{{Start: 1, Stop: 0}}, &imap.FetchOptions{Envelope: true}).Collect()
		if err != nil {
			t.Fatal(err)
		}
		for _, message := range list {
			got = append(got, message.Envelope.Subject)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s holds %q, want %q", folder, got, want)
	}
}
