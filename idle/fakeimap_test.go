package idle

import (
	"bufio"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeIMAP is a small IMAP server that keeps its mailboxes in memory and whose
// answers a test can replace, for the faults of servers that cannot be provoked
// in a good one.
type fakeIMAP struct {
	listener net.Listener
	caps     string
	// deaf servers tell of new mail only when a folder is opened, mute ones only
	// in answer to a command.
	deaf, mute bool
	// greeting is PREAUTH unless it is set: then clients have to log in.
	greeting string
	// answer replaces the server's own answer to a command when it returns true.
	// It runs under mu.
	answer func(c *fakeConn, command string) bool

	mu       sync.Mutex
	order    []string
	boxes    map[string]*fakeBox
	conns    map[*fakeConn]bool
	commands []string // all that were received, without tags
}

type fakeBox struct {
	validity, next uint32
	messages       []fakeMessage
}

type fakeMessage struct {
	uid     uint32
	subject string
	flags   string
	date    time.Time
	emailID string // EMAILID (RFC 8474), which goes along with copies
}

// fakeConn is a client's connection.
type fakeConn struct {
	net.Conn
	server   *fakeIMAP
	selected *fakeBox
	exists   int    // as it was told
	idle     string // the tag of IDLE while it is on
}

// newFakeIMAP starts a server that lets everyone in. caps are its capabilities
// beside IMAP4rev1.
func newFakeIMAP(t *testing.T, caps string, folders ...string) *fakeIMAP {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &fakeIMAP{listener: listener, caps: caps, boxes: map[string]*fakeBox{}, conns: map[*fakeConn]bool{}}
	for i, name := range folders {
		s.order = append(s.order, name)
		s.boxes[name] = &fakeBox{validity: uint32(i) + 1, next: 1}
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { s.serve(&fakeConn{Conn: conn, server: s}) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		s.mu.Lock()
		for conn := range s.conns {
			_ = conn.Close()
		}
		s.mu.Unlock()
		serving.Wait()
	})
	return s
}

// register registers an account on the server.
func (s *fakeIMAP) register(w *world, id string) {
	host, port, _ := net.SplitHostPort(s.listener.Addr().String())
	n, _ := strconv.Atoi(port)
	w.register(id, host, n, "ann", "secret")
}

// deliver puts a message into a folder and tells those who idle there.
func (s *fakeIMAP) deliver(name, subject string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	box := s.boxes[name]
	box.messages = append(box.messages, fakeMessage{uid: box.next, subject: subject, date: time.Now(), emailID: "M" + strings.ReplaceAll(subject, " ", "-")})
	box.next++
	s.tell(box)
}

// transfer copies a message to another folder, or moves it there.
func (s *fakeIMAP) transfer(from string, uid uint32, to string, move bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	source, target := s.boxes[from], s.boxes[to]
	for _, m := range source.messages {
		if m.uid == uid {
			m.uid = target.next
			target.messages = append(target.messages, m)
			target.next++
			s.tell(target)
		}
	}
	if move {
		s.expunge(source, uid)
	}
}

// expunge removes a message. It runs under mu.
func (s *fakeIMAP) expunge(box *fakeBox, uid uint32) {
	i := slices.IndexFunc(box.messages, func(m fakeMessage) bool { return m.uid == uid })
	if i < 0 {
		return
	}
	box.messages = slices.Delete(box.messages, i, i+1)
	for conn := range s.conns {
		if conn.selected != box {
			continue
		}
		if conn.idle != "" && !s.deaf {
			conn.exists--
			conn.say("* %d EXPUNGE", i+1)
		}
	}
}

// tell tells those who idle in a folder how many messages there are. It runs
// under mu.
func (s *fakeIMAP) tell(box *fakeBox) {
	for conn := range s.conns {
		if conn.idle != "" && conn.selected == box && !s.mute {
			conn.tellExists()
		}
	}
}

// change alters the server's state.
func (s *fakeIMAP) change(edit func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	edit()
}

// count tells how many commands with a prefix were received.
func (s *fakeIMAP) count(prefix string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, command := range s.commands {
		if strings.HasPrefix(command, prefix) {
			n++
		}
	}
	return n
}

func (c *fakeConn) say(format string, args ...any) { _, _ = fmt.Fprintf(c, format+"\r\n", args...) }

// tellExists tells how many messages there are, if that is news.
func (c *fakeConn) tellExists() {
	if c.selected != nil && !c.server.deaf && c.exists != len(c.selected.messages) {
		c.exists = len(c.selected.messages)
		c.say("* %d EXISTS", c.exists)
	}
}

func (s *fakeIMAP) serve(c *fakeConn) {
	defer c.Close()
	s.mu.Lock()
	s.conns[c] = true
	greeting := s.greeting
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	}()
	if greeting == "" {
		greeting = "PREAUTH"
	}
	c.say("* %s [CAPABILITY IMAP4rev1 %s] welcome", greeting, s.caps)
	lines := bufio.NewScanner(c)
	for lines.Scan() {
		s.mu.Lock()
		s.command(c, lines.Text())
		s.mu.Unlock()
	}
}

func (s *fakeIMAP) command(c *fakeConn, line string) {
	if line == "DONE" {
		if c.idle != "" {
			c.say("%s OK done", c.idle)
			c.idle = ""
		}
		return
	}
	tag, command, _ := strings.Cut(strings.ReplaceAll(line, `"`, ""), " ")
	s.commands = append(s.commands, command)
	if s.answer != nil && s.answer(c, tag+" "+command) {
		return
	}
	verb, args, _ := strings.Cut(command, " ")
	if verb == "UID" {
		verb, args, _ = strings.Cut(args, " ")
	}
	switch verb {
	case "LIST":
		c.tellExists()
		for _, name := range s.order {
			c.say(`* LIST () "/" %s`, name)
		}
	case "STATUS":
		name, _, _ := strings.Cut(args, " ")
		box := s.boxes[name]
		if box == nil {
			c.say("%s NO [NONEXISTENT] no such folder", tag)
			return
		}
		c.say("* STATUS %s (MESSAGES %d UIDNEXT %d UIDVALIDITY %d UNSEEN 0)", name, len(box.messages), box.next, box.validity)
	case "EXAMINE":
		c.selected = s.boxes[args]
		if c.selected == nil {
			c.say("%s NO [NONEXISTENT] no such folder", tag)
			return
		}
		c.exists = len(c.selected.messages)
		c.say("* %d EXISTS", c.exists)
		c.say("* OK [UIDVALIDITY %d] ok", c.selected.validity)
		c.say("* OK [UIDNEXT %d] ok", c.selected.next)
	case "FETCH":
		c.fetch(args)
	case "SEARCH":
		c.search(args)
	case "IDLE":
		c.idle = tag
		c.say("+ idling")
		if !s.mute {
			c.tellExists()
		}
		return
	case "CAPABILITY":
		c.say("* CAPABILITY IMAP4rev1 %s", s.caps)
	case "NOOP":
		c.tellExists()
	}
	c.say("%s OK done", tag)
}

func (c *fakeConn) fetch(args string) {
	set, _, _ := strings.Cut(args, " ")
	for i, m := range c.selected.messages {
		if inSet(set, m.uid, i == len(c.selected.messages)-1) {
			c.sayMessage(i, m)
		}
	}
}

func (c *fakeConn) sayMessage(i int, m fakeMessage) {
	c.say(`* %d FETCH (UID %d FLAGS (%s) INTERNALDATE "%s" RFC822.SIZE 100 ENVELOPE (`+
		`"Mon, 23 Nov 2026 10:15:00 +0000" "%s" (("Bob" NIL "bob" "example.com")) NIL NIL NIL NIL NIL NIL "<%s@example.com>") EMAILID (%s))`,
		i+1, m.uid, m.flags, m.date.Format("_2-Jan-2006 15:04:05 -0700"), m.subject, m.subject, m.emailID)
}

func (c *fakeConn) search(args string) {
	set := "1:*"
	if _, after, found := strings.Cut(args, "UID "); found {
		set, _, _ = strings.Cut(after, " ")
	}
	var found strings.Builder
	for i, m := range c.selected.messages {
		if inSet(set, m.uid, i == len(c.selected.messages)-1) {
			fmt.Fprintf(&found, " %d", m.uid)
		}
	}
	c.say("* SEARCH%s", found.String())
}

// inSet reports whether a UID is in a sequence set; the last message is always
// in one that ends with a star (RFC 9051 section 6.4.5).
func inSet(set string, uid uint32, last bool) bool {
	for part := range strings.SplitSeq(set, ",") {
		from, to, isRange := strings.Cut(part, ":")
		if !isRange {
			to = from
		}
		low, _ := strconv.ParseUint(from, 10, 32)
		high, err := strconv.ParseUint(to, 10, 32)
		if err != nil {
			high = 1 << 32
			if last {
				return true
			}
		}
		if uint64(uid) >= low && uint64(uid) <= high {
			return true
		}
	}
	return false
}
