package gmailtest

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
)

const (
	capsBefore = "IMAP4rev1 UNSELECT IDLE NAMESPACE QUOTA ID XLIST CHILDREN X-GM-EXT-1 XYZZY SASL-IR " +
		"AUTH=XOAUTH2 AUTH=PLAIN AUTH=PLAIN-CLIENTTOKEN AUTH=OAUTHBEARER"
	capsAfter = "IMAP4rev1 UNSELECT IDLE NAMESPACE QUOTA ID XLIST CHILDREN X-GM-EXT-1 UIDPLUS " +
		"ENABLE MOVE CONDSTORE ESEARCH UTF8=ACCEPT LIST-EXTENDED LIST-STATUS LITERAL- SPECIAL-USE APPENDLIMIT=35651584"
)

// session is one connection.
type session struct {
	server *Server
	store  *store
	conn   net.Conn
	in     *commandReader
	out    *bufio.Writer

	loggedIn  bool
	condStore bool
	utf8      bool

	selected *folder
	readOnly bool
	shown    []*entry          // what the client knows of, by sequence number
	told     map[*entry]uint64 // the state of each that the client knows
}

func newSession(server *Server, conn net.Conn) *session {
	s := &session{server: server, store: server.store, conn: conn, out: bufio.NewWriter(conn)}
	s.in = &commandReader{r: bufio.NewReader(conn), goOn: func() error {
		s.untagged("+ go ahead")
		return s.out.Flush()
	}}
	return s
}

// untagged writes a line.
func (s *session) untagged(format string, args ...any) {
	_, _ = fmt.Fprintf(s.out, format+"\r\n", args...)
}

// refusal is a tagged NO or BAD.
type refusal struct{ text string }

func (r refusal) Error() string { return r.text }

func no(format string, args ...any) error  { return refusal{"NO " + fmt.Sprintf(format, args...)} }
func bad(format string, args ...any) error { return refusal{"BAD " + fmt.Sprintf(format, args...)} }

var errLogout = errors.New("logged out")

func (s *session) run() {
	s.untagged("* OK Gimap ready for requests from 127.0.0.1 k2if6111336rvb.0")
	for s.out.Flush() == nil {
		args, err := s.in.command()
		if errors.Is(err, errSyntax) {
			s.untagged("* BAD Could not parse command")
			continue
		}
		if err != nil {
			return
		}
		if len(args) < 2 {
			s.untagged("* BAD Unknown command")
			continue
		}
		tag, name, args := args[0].text, args[1].upper(), args[2:]
		if name == "UID" && len(args) > 0 {
			name, args = "UID "+args[0].upper(), args[1:]
		}
		s.server.log(name)
		done, err := s.do(name, args)
		var refused refusal
		switch {
		case errors.Is(err, errLogout):
			s.untagged("%s OK 73 good day (Success)", tag)
			_ = s.out.Flush()
			return
		case errors.As(err, &refused):
			s.untagged("%s %s", tag, refused.text)
		case err != nil:
			return
		default:
			s.untagged("%s OK %s", tag, done)
		}
	}
}

// do carries a command out and gives the text of its OK.
func (s *session) do(name string, args []value) (string, error) {
	switch name {
	case "CAPABILITY":
		s.untagged("* CAPABILITY %s", s.capabilities())
		return "Thats all she wrote!", nil
	case "NOOP", "CHECK":
		s.poll(true)
		return "Success", nil
	case "LOGOUT":
		s.untagged("* BYE LOGOUT Requested")
		return "", errLogout
	case "ID":
		s.untagged(`* ID ("name" "GImap" "vendor" "Google, Inc." "support-url" "http://mail.google.com/support" "remote-host" "127.0.0.1")`)
		return "Success", nil
	case "LOGIN":
		return s.login(args)
	case "AUTHENTICATE":
		return s.authenticate(args)
	}
	if !s.loggedIn {
		return "", bad("%s not allowed now.", name)
	}
	if f := authenticated[name]; f != nil {
		return f(s, args)
	}
	f := inMailbox[name]
	if f == nil {
		return "", bad("Unknown command")
	}
	if s.selected == nil {
		return "", bad("%s not allowed now.", name)
	}
	uid := strings.HasPrefix(name, "UID ")
	done, err := f(s, args, uid)
	// RFC 9051 section 7.5.1: these must not renumber what they speak of.
	s.poll(uid || name != "FETCH" && name != "STORE" && name != "SEARCH")
	return done, err
}

type handler = func(*session, []value) (string, error)

// authenticated are the commands that need no mailbox.
var authenticated = map[string]handler{
	"ENABLE": (*session).enable, "NAMESPACE": (*session).namespace,
	"LIST": (*session).list, "XLIST": (*session).list, "LSUB": (*session).list,
	"STATUS": (*session).status, "SELECT": (*session).selectFolder, "EXAMINE": (*session).examine,
	"CREATE": (*session).create, "DELETE": (*session).deleteFolder, "RENAME": (*session).rename,
	"SUBSCRIBE": (*session).subscribe, "UNSUBSCRIBE": (*session).unsubscribe,
	"APPEND": (*session).append, "IDLE": (*session).idle,
	"GETQUOTA": (*session).quota, "GETQUOTAROOT": (*session).quota,
}

// inMailbox are the commands that need one.
var inMailbox = map[string]func(s *session, args []value, uid bool) (string, error){
	"FETCH": (*session).fetch, "UID FETCH": (*session).fetch,
	"SEARCH": (*session).search, "UID SEARCH": (*session).search,
	"STORE": (*session).storeFlags, "UID STORE": (*session).storeFlags,
	"COPY": (*session).copy, "UID COPY": (*session).copy,
	"MOVE": (*session).move, "UID MOVE": (*session).move,
	"EXPUNGE": (*session).expunge, "UID EXPUNGE": (*session).expunge,
	"CLOSE": (*session).close, "UNSELECT": (*session).unselect,
}

func (s *session) capabilities() string {
	switch {
	case !s.loggedIn:
		return capsBefore
	case s.server.settings.objectID:
		return capsAfter + " OBJECTID"
	}
	return capsAfter
}

func (s *session) login(args []value) (string, error) {
	if len(args) != 2 {
		return "", bad("Could not parse command")
	}
	return s.enter(args[0].text == Username && args[1].text == Password)
}

func (s *session) enter(known bool) (string, error) {
	if !known {
		return "", no("[AUTHENTICATIONFAILED] Invalid credentials (Failure)")
	}
	if !s.server.enter(s.conn) {
		return "", no("[ALERT] Too many simultaneous connections. (Failure)")
	}
	s.loggedIn = true
	s.untagged("* CAPABILITY %s", s.capabilities())
	return Username + " authenticated (Success)", nil
}

// authenticate takes PLAIN, and XOAUTH2 with the password as the token.
func (s *session) authenticate(args []value) (string, error) {
	if len(args) == 0 {
		return "", bad("Could not parse command")
	}
	var response string
	if len(args) > 1 {
		response = args[1].text
	} else {
		s.untagged("+ ")
		if err := s.out.Flush(); err != nil {
			return "", err
		}
		var err error
		if response, err = s.in.line(); err != nil {
			return "", err
		}
	}
	plain, err := base64.StdEncoding.DecodeString(response)
	if err != nil {
		return "", bad("Invalid SASL argument.")
	}
	switch args[0].upper() {
	case "PLAIN":
		parts := strings.Split(string(plain), "\x00")
		return s.enter(len(parts) == 3 && parts[1] == Username && parts[2] == Password)
	case "XOAUTH2":
		return s.enter(string(plain) == "user="+Username+"\x01auth=Bearer "+Password+"\x01\x01")
	}
	return "", no("Unsupported authentication mechanism.")
}

func (s *session) enable(args []value) (string, error) {
	for _, arg := range args {
		switch arg.upper() {
		case "CONDSTORE":
			s.condStore = true
			s.untagged("* ENABLED CONDSTORE")
		case "UTF8=ACCEPT":
			s.utf8 = true
			s.untagged("* ENABLED UTF8=ACCEPT")
		}
	}
	return "Success", nil
}

func (s *session) namespace([]value) (string, error) {
	s.untagged(`* NAMESPACE (("" "/")) NIL NIL`)
	return "Success", nil
}

func (s *session) quota([]value) (string, error) {
	s.untagged(`* QUOTAROOT "INBOX" ""`)
	s.untagged(`* QUOTA "" (STORAGE 1024 15728640)`)
	return "Success", nil
}

// idle tells of changes until the client has enough.
func (s *session) idle([]value) (string, error) {
	s.untagged("+ idling")
	ended := make(chan error, 1)
	go func() {
		_, err := s.in.line()
		ended <- err
	}()
	for {
		s.store.mu.Lock()
		changed := s.store.changed
		s.store.mu.Unlock()
		s.poll(true)
		if err := s.out.Flush(); err != nil {
			_ = s.conn.Close()
		}
		select {
		case <-changed:
		case err := <-ended:
			return "IDLE terminated (Success)", err
		}
	}
}

// poll tells the client what has changed in its mailbox.
func (s *session) poll(mayRenumber bool) {
	if s.selected == nil {
		return
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	if mayRenumber {
		for i := len(s.shown) - 1; i >= 0; i-- {
			if s.shown[i].gone {
				s.untagged("* %d EXPUNGE", i+1)
				delete(s.told, s.shown[i])
				s.shown = slices.Delete(s.shown, i, i+1)
			}
		}
	}
	before := len(s.shown)
	for _, e := range s.selected.entries {
		if _, known := s.told[e]; !known {
			s.shown = append(s.shown, e)
			s.told[e] = e.modSeq
		}
	}
	if len(s.shown) > before {
		s.untagged("* %d EXISTS", len(s.shown))
	}
	for i, e := range s.shown {
		if s.told[e] != e.modSeq && !e.gone {
			s.tellFlags(i+1, e)
		}
	}
}

// tellFlags sends the flags of a message.
func (s *session) tellFlags(number int, e *entry) {
	s.told[e] = e.modSeq
	modSeq := ""
	if s.condStore {
		modSeq = fmt.Sprintf(" MODSEQ (%d)", e.modSeq)
	}
	s.untagged("* %d FETCH (UID %d FLAGS %s%s)", number, e.uid, flagList(e.allFlags()), modSeq)
}

func flagList(flags []imap.Flag) string {
	words := make([]string, len(flags))
	for i, f := range flags {
		words[i] = string(f)
	}
	return "(" + strings.Join(words, " ") + ")"
}

// numbered are messages with their sequence numbers.
type numbered struct {
	number int
	*entry
}

// choose gives the messages of a set that the client knows of.
func (s *session) choose(set string, uid bool) ([]numbered, error) {
	var chosen []numbered
	var last imap.UID
	if n := len(s.shown); n > 0 {
		last = s.shown[n-1].uid
	}
	in, err := parseSet(set, func() uint32 {
		if uid {
			return uint32(last)
		}
		return uint32(len(s.shown))
	}())
	if err != nil {
		return nil, err
	}
	for i, e := range s.shown {
		n := uint32(i + 1)
		if uid {
			n = uint32(e.uid)
		}
		if in(n) && !e.gone {
			chosen = append(chosen, numbered{i + 1, e})
		}
	}
	return chosen, nil
}

// internalDate is the form of dates in FETCH and APPEND.
const internalDate = "_2-Jan-2006 15:04:05 -0700"

func parseArrival(text string) time.Time {
	t, err := time.Parse(internalDate, text)
	if err != nil {
		return time.Now()
	}
	return t
}
