package gmailtest

import (
	"context"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

// The one account.
const (
	Username = "ann@gmail.example"
	Password = "abcd efgh ijkl mnop"
)

// maxConnections is how many connections an account may have.
const maxConnections = 15

// Server is a running server.
type Server struct {
	listener net.Listener
	store    *store
	settings settings
	serving  sync.WaitGroup

	mu       sync.Mutex
	conns    map[net.Conn]bool // whether it is logged in
	commands []string
}

type settings struct{ keepDeleted, objectID bool }

// An Option changes how the account is set up.
type Option func(*settings)

// KeepDeleted turns auto-expunge off: what has \Deleted stays until EXPUNGE.
func KeepDeleted() Option { return func(s *settings) { s.keepDeleted = true } }

// ObjectID makes the server know RFC 8474's ids of messages and threads as well,
// which Gmail does not.
func ObjectID() Option { return func(s *settings) { s.objectID = true } }

// Start runs a server with an empty mailbox until the test ends.
func Start(t testing.TB, options ...Option) *Server {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{listener: listener, store: newStore(), conns: make(map[net.Conn]bool)}
	for _, option := range options {
		option(&s.settings)
	}
	s.serving.Go(s.serve)
	t.Cleanup(func() {
		_ = listener.Close()
		s.Disconnect()
		s.serving.Wait()
	})
	return s
}

func (s *Server) serve() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[conn] = false
		s.mu.Unlock()
		s.serving.Go(func() {
			defer s.forget(conn)
			newSession(s, conn).run()
		})
	}
}

func (s *Server) forget(conn net.Conn) {
	_ = conn.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, conn)
}

// enter counts a connection that has logged in, unless there are too many.
func (s *Server) enter(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loggedIn() >= maxConnections {
		return false
	}
	s.conns[conn] = true
	return true
}

func (s *Server) loggedIn() (n int) {
	for _, in := range s.conns {
		if in {
			n++
		}
	}
	return n
}

func (s *Server) log(command string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commands = append(s.commands, command)
}

// Host is where the server listens.
func (s *Server) Host() string { return "127.0.0.1" }

// Port is the port that it listens on, without TLS.
func (s *Server) Port() int { return s.listener.Addr().(*net.TCPAddr).Port }

// Connections is how many connections are logged in.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loggedIn()
}

// Disconnect cuts all connections off.
func (s *Server) Disconnect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		_ = conn.Close()
	}
}

// Commands are the names of the commands that clients have sent, with UID
// before those that have it, such as "UID FETCH".
func (s *Server) Commands() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.commands)
}

// Deliver stores a message with labels, as it would arrive or as people file it
// on the web, and returns its X-GM-MSGID. A label that is new becomes a folder.
func (s *Server) Deliver(raw []byte, labels ...string) uint64 {
	return s.DeliverAt(time.Now(), raw, labels...)
}

// DeliverAt is Deliver with a time of arrival.
func (s *Server) DeliverAt(arrived time.Time, raw []byte, labels ...string) uint64 {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	return s.store.add(raw, arrived, nil, labels...).id
}

// CreateLabel creates a label without messages.
func (s *Server) CreateLabel(name string) {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	s.store.labelled(name)
}

// AddLabels labels a message from elsewhere, such as the web.
func (s *Server) AddLabels(id uint64, labels ...string) { s.relabel(id, labels, true) }

// RemoveLabels takes labels off a message from elsewhere.
func (s *Server) RemoveLabels(id uint64, labels ...string) { s.relabel(id, labels, false) }

func (s *Server) relabel(id uint64, labels []string, on bool) {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	if m := s.store.byID(id); m != nil {
		s.store.change(func(n uint64) { m.modSeq = n; s.store.label(m, labels, on) })
	}
}

// SetFlag sets or clears a flag of a message from elsewhere.
func (s *Server) SetFlag(id uint64, flag imap.Flag, on bool) {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	if m := s.store.byID(id); m != nil {
		s.store.change(func(n uint64) { m.modSeq = n; s.store.flag(m, flag, on) })
	}
}

func (s *store) byID(id uint64) *message {
	for _, m := range s.messages {
		if m.id == id {
			return m
		}
	}
	return nil
}

// Labels are the labels of a message in alphabetical order, and whether there
// is such a message. Spam and trash are among them.
func (s *Server) Labels(id uint64) (labels []string, found bool) {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	m := s.store.byID(id)
	if m == nil {
		return nil, false
	}
	labels = slices.Collect(maps.Keys(m.labels))
	switch m.place {
	case trashed:
		labels = append(labels, LabelTrash)
	case spam:
		labels = append(labels, LabelSpam)
	}
	slices.Sort(labels)
	return labels, true
}

// Flags are the flags of a message in alphabetical order, without \Deleted.
func (s *Server) Flags(id uint64) []imap.Flag {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	m := s.store.byID(id)
	if m == nil {
		return nil
	}
	flags := (&entry{message: m}).allFlags()
	slices.Sort(flags)
	return flags
}

// Folder has the X-GM-MSGID of each message in a folder, in the order of UIDs,
// and whether there is such a folder.
func (s *Server) Folder(name string) (ids []uint64, found bool) {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	f := s.store.folder(name)
	if f == nil {
		return nil, false
	}
	for _, e := range f.entries {
		ids = append(ids, e.id)
	}
	return ids, true
}

// Hold keeps changes back: HIGHESTMODSEQ tells of them at once, and nothing else
// shows them, until Release.
func (s *Server) Hold() {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	s.store.held = true
}

// Release lets changes be seen.
func (s *Server) Release() {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	s.store.held = false
	waiting := s.store.waiting
	s.store.waiting = nil
	for _, apply := range waiting {
		apply()
	}
}

// matchName matches the name of a folder with a pattern of LIST.
func matchName(pattern, name string) bool {
	if pattern == "" {
		return name == ""
	}
	switch pattern[0] {
	case '*', '%':
		for i := 0; i <= len(name); i++ {
			if matchName(pattern[1:], name[i:]) {
				return true
			}
			if i < len(name) && pattern[0] == '%' && name[i] == '/' {
				return false
			}
		}
		return false
	}
	return name != "" && strings.EqualFold(name[:1], pattern[:1]) && matchName(pattern[1:], name[1:])
}
