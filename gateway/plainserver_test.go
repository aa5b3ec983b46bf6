package gateway_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// plainServer is an IMAP server that does no more for folders than it must, as no
// real one can be made to: it has no extension, makes no folder above another,
// leaves those below behind when one is renamed, and takes names for bytes.
type plainServer struct {
	delimiter string // NIL when empty

	mu         sync.Mutex
	names      []string // as on the wire
	subscribed []string
}

// start serves until the test ends, and returns the port.
func (s *plainServer) start(t testing.TB) (port int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var conns []net.Conn
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			conns = append(conns, conn)
			s.mu.Unlock()
			wg.Go(func() { s.serve(conn) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		s.mu.Lock()
		for _, conn := range conns {
			conn.Close()
		}
		s.mu.Unlock()
		wg.Wait()
	})
	return l.Addr().(*net.TCPAddr).Port
}

func (s *plainServer) serve(conn net.Conn) {
	defer conn.Close()
	fmt.Fprint(conn, "* OK [CAPABILITY IMAP4rev1] hello\r\n")
	lines := bufio.NewReader(conn)
	for {
		line, err := readCommand(lines, conn)
		if err != nil {
			return
		}
		tag, rest, _ := strings.Cut(line, " ")
		verb, arguments, _ := strings.Cut(rest, " ")
		fmt.Fprint(conn, s.answer(strings.ToUpper(verb), quotedIn(arguments), tag))
	}
}

var literalAtEnd = regexp.MustCompile(`\{(\d+)\}$`)

// readCommand reads a line, and its literals as if they were quoted.
func readCommand(r *bufio.Reader, w io.Writer) (line string, err error) {
	for {
		part, err := r.ReadString('\n')
		if err != nil {
			return "", err
		}
		line += strings.TrimRight(part, "\r\n")
		size := literalAtEnd.FindStringSubmatch(line)
		if size == nil {
			return line, nil
		}
		n, _ := strconv.Atoi(size[1])
		fmt.Fprint(w, "+ go on\r\n")
		literal := make([]byte, n)
		if _, err := io.ReadFull(r, literal); err != nil {
			return "", err
		}
		line = strings.TrimSuffix(line, size[0]) + quoted(string(literal))
	}
}

// quotedIn reads the quoted strings and atoms of a command.
func quotedIn(text string) (words []string) {
	var word strings.Builder
	inside, begun := false, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			inside, begun = !inside, true
		case inside && c == '\\':
			i++
			word.WriteByte(text[i])
		case c == ' ' && !inside:
			words = append(words, word.String())
			word.Reset()
			begun = false
		default:
			word.WriteByte(c)
			begun = true
		}
	}
	if begun {
		words = append(words, word.String())
	}
	return words
}

func (s *plainServer) answer(verb string, words []string, tag string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	ok, no := tag+" OK done\r\n", tag+" NO no\r\n"
	name := ""
	if len(words) > 0 {
		name = words[0]
	}
	at := slices.Index(s.names, name)
	switch verb {
	case "CAPABILITY":
		return "* CAPABILITY IMAP4rev1\r\n" + ok
	case "LIST":
		if words[1] == "" {
			return `* LIST (\Noselect) ` + s.delim() + ` ""` + "\r\n" + ok
		}
		return s.list("LIST", s.names) + ok
	case "LSUB":
		return s.list("LSUB", s.subscribed) + ok
	case "CREATE":
		parent, _, nested := cutLast(name, s.delimiter)
		if at >= 0 || nested && !slices.Contains(s.names, parent) {
			return no
		}
		s.names = append(s.names, name)
	case "RENAME":
		parent, _, nested := cutLast(words[1], s.delimiter)
		if at < 0 || slices.Contains(s.names, words[1]) || nested && !slices.Contains(s.names, parent) {
			return no
		}
		s.names[at] = words[1]
	case "DELETE":
		if at < 0 {
			return no
		}
		s.names = slices.Delete(s.names, at, at+1)
	case "SUBSCRIBE":
		s.subscribed = append(s.subscribed, name)
	case "UNSUBSCRIBE":
		s.subscribed = slices.DeleteFunc(s.subscribed, func(n string) bool { return n == name })
	case "STATUS":
		if at < 0 {
			return no
		}
		return fmt.Sprintf("* STATUS %s (MESSAGES 0 UNSEEN 0 UIDNEXT 1 UIDVALIDITY %d)\r\n", quoted(name), at+1) + ok
	}
	return ok
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); sep != "" && i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

func (s *plainServer) delim() string {
	if s.delimiter == "" {
		return "NIL"
	}
	return quoted(s.delimiter)
}

func (s *plainServer) list(verb string, names []string) string {
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, "* %s () %s %s\r\n", verb, s.delim(), quoted(name))
	}
	return b.String()
}

func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// has checks what the server has, as on the wire.
func (s *plainServer) has(t testing.TB, names ...string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	got := slices.Clone(s.names)
	slices.Sort(got)
	slices.Sort(names)
	if !slices.Equal(got, names) {
		t.Errorf("the server has %q, want %q", got, names)
	}
}
