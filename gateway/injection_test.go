package gateway_test

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	netmail "net/mail"
	"slices"
	"strings"
	"sync"
	"testing"
)

// socket is an SMTP server that takes everything, and keeps each line that it is
// sent as it came.
type socket struct {
	port int

	mu       sync.Mutex
	commands []string
	messages []string
	faults   []string
}

func openSocket(t *testing.T) *socket {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &socket{port: listener.Addr().(*net.TCPAddr).Port}
	var sessions sync.WaitGroup
	sessions.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			sessions.Go(func() {
				stop := contextAfter(t, conn)
				defer stop()
				s.serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		sessions.Wait()
	})
	return s
}

// contextAfter closes a connection at the latest with the test.
func contextAfter(t *testing.T, conn net.Conn) func() {
	done := make(chan struct{})
	go func() {
		select {
		case <-t.Context().Done():
		case <-done:
		}
		conn.Close()
	}()
	return func() { close(done) }
}

func (s *socket) serve(conn net.Conn) {
	r := bufio.NewReader(conn)
	fmt.Fprint(conn, "220 socket\r\n")
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		verb, _, _ := strings.Cut(strings.ToUpper(strings.TrimSuffix(line, "\r\n")), " ")
		s.note(&s.commands, line)
		switch verb {
		case "EHLO":
			fmt.Fprint(conn, "250-socket\r\n250-AUTH PLAIN\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 DSN\r\n")
		case "AUTH":
			fmt.Fprint(conn, "235 2.7.0 ok\r\n")
		case "MAIL", "RCPT", "RSET", "NOOP":
			fmt.Fprint(conn, "250 2.0.0 ok\r\n")
		case "QUIT":
			fmt.Fprint(conn, "221 2.0.0 bye\r\n")
			return
		case "DATA":
			fmt.Fprint(conn, "354 go on\r\n")
			if !s.data(r) {
				return
			}
			fmt.Fprint(conn, "250 2.0.0 ok\r\n")
		default:
			s.note(&s.faults, fmt.Sprintf("the command %q", line))
			fmt.Fprint(conn, "500 5.5.1 what?\r\n")
		}
	}
}

// data reads a message up to its dot.
func (s *socket) data(r *bufio.Reader) bool {
	var text strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return false
		}
		if line == ".\r\n" {
			s.note(&s.messages, text.String())
			return true
		}
		if !strings.HasSuffix(line, "\r\n") || strings.ContainsRune(line[:len(line)-2], '\r') {
			s.note(&s.faults, fmt.Sprintf("a bare CR or LF in %q", line))
		}
		text.WriteString(strings.TrimPrefix(line, "."))
	}
}

func (s *socket) note(list *[]string, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*list = append(*list, text)
}

// take gives what has come since it was called last.
func (s *socket) take() (commands, messages, faults []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	commands, messages, faults = s.commands, s.messages, s.faults
	s.commands, s.messages, s.faults = nil, nil, nil
	return commands, messages, faults
}

// hostile makes a string of what breaks mail when it gets through.
func hostile(random *rand.Rand) string {
	pieces := []string{
		"\r\n", "\n", "\r", "\x00", "\r\n\r\n", "\r\n.\r\n", "Bcc: eve@example.net", "X-Injected: 1", "RCPT TO:<eve@example.net>", "DATA", "<", ">", "\"", "\\", ",",
		";", ":", "@", "(", ")", "=?utf-8?q?=0D=0ABcc:_eve@example.net?=", "%0d%0a", "\u2028", "\u0085", "ü", "漢字", "bob@example.com", "eve@example.net", "a", " ", "\t",
	}
	var b strings.Builder
	for range 1 + random.IntN(5) {
		b.WriteString(pieces[random.IntN(len(pieces))])
	}
	return b.String()
}

// hostileContent is a message with random strings in some of its fields.
func hostileContent(random *rand.Rand) object {
	value := func(good string) string {
		if random.IntN(12) == 0 {
			return hostile(random)
		}
		return good
	}
	person := func() []object {
		return []object{{"name": value("Bob"), "address": value("bob@example.com")}}
	}
	return object{
		"from": object{"name": value("Ann"), "address": value("ann@example.org")}, "to": person(), "cc": person(), "bcc": person(), "replyTo": person(),
		"subject": value("Hi"), "text": value("Hello"), "html": value("<p>Hello"),
		"headers":     []object{{"name": value("X-Order"), "value": value("1")}},
		"attachments": []object{{"filename": value("a.txt"), "contentType": value("text/plain"), "contentId": value("c1"), "content": "aGVsbG8="}},
		"envelope":    object{"mailFrom": value("ann@example.org"), "rcptTo": []string{value("bob@example.com")}},
		"dsn":         object{"envelopeId": value("e1")}, "saveToSent": "NEVER", "wait": "30s",
	}
}

// hostileTimes is how many messages are tried. Each of the fields is given some of
// the strings; package compose tries far more of them.
const hostileTimes = 400

func TestNothingIsInjectedOverTheAPI(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	name, _, _ := h.dovecot(t)
	s := openSocket(t)
	h.do(t, http.MethodPatch, "/v1/"+name, object{"smtp": object{
		"host": "127.0.0.1", "port": s.port, "tlsMode": "PLAINTEXT", "username": "ann", "password": "sesame",
	}}).ok(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	sent := 0
	for range hostileTimes {
		content := hostileContent(random)
		a := h.do(t, http.MethodPost, "/v1/"+name+"/submissions", content)
		if a.status == http.StatusBadRequest {
			if commands, _, _ := s.take(); slices.ContainsFunc(commands, func(c string) bool { return strings.HasPrefix(c, "MAIL") }) {
				t.Fatalf("refused and sent: %v", content)
			}
			continue
		}
		sent++
		if o := a.ok(t); o["state"] != "SENT" {
			t.Fatalf("%v: %v", content, o)
		}
		commands, messages, faults := s.take()
		checkOnSocket(t, content, commands, messages, faults)
	}
	t.Logf("%d of %d messages were taken", sent, hostileTimes)
	if sent == 0 || sent == hostileTimes {
		t.Error("all were treated alike")
	}
}

// checkOnSocket checks that one message was sent, to the one recipient of its
// envelope, and with the fields that it was given and no others.
func checkOnSocket(t *testing.T, content object, commands, messages, faults []string) {
	t.Helper()
	for _, fault := range faults {
		t.Errorf("%v: %s", content, fault)
	}
	var recipients int
	for _, c := range commands {
		if strings.HasPrefix(c, "RCPT TO:<") {
			recipients++
		}
	}
	if recipients != 1 || len(messages) != 1 {
		t.Fatalf("%v: %d recipients, %d messages:\n%q", content, recipients, len(messages), commands)
	}
	m, err := netmail.ReadMessage(strings.NewReader(messages[0]))
	if err != nil {
		t.Fatalf("%v: %v\n%s", content, err, messages[0])
	}
	known := []string{"From", "To", "Cc", "Reply-To", "Subject", "Date", "Message-Id", "Mime-Version", "Content-Type", "Content-Transfer-Encoding"}
	own := fmt.Sprint(content["headers"].([]object)[0]["name"])
	for name, values := range m.Header {
		if len(values) != 1 || !slices.Contains(known, name) && !strings.EqualFold(name, own) {
			t.Errorf("%v: header %s: %q", content, name, values)
		}
	}
}
