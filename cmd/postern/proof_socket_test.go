package main

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
)

// socket is an SMTP server that takes everything, and keeps each line that it is
// sent as it came.
type socket struct {
	port int

	mu      sync.Mutex
	session heard
}

// heard is what a socket was sent.
type heard struct {
	// commands are the lines outside of messages, messages what came after DATA, with
	// the dots that were doubled.
	commands, messages []string
	// faults are what no client may send.
	faults []string
}

func openSocket(t *testing.T) *socket {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &socket{port: listener.Addr().(*net.TCPAddr).Port}
	conns := make(map[net.Conn]bool)
	var mu sync.Mutex
	var sessions sync.WaitGroup
	sessions.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns[conn] = true
			mu.Unlock()
			sessions.Go(func() { s.serve(conn) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		mu.Lock()
		for conn := range conns {
			conn.Close()
		}
		mu.Unlock()
		sessions.Wait()
	})
	return s
}

func (s *socket) serve(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	fmt.Fprint(conn, "220 socket\r\n")
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		s.note(func(h *heard) { h.command(line) })
		verb, _, _ := strings.Cut(strings.ToUpper(strings.TrimSuffix(line, "\r\n")), " ")
		switch verb {
		case "EHLO":
			fmt.Fprint(conn, "250-socket\r\n250-AUTH PLAIN\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-SIZE\r\n250 DSN\r\n")
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
			s.note(func(h *heard) { h.fault("the command %q", line) })
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
			s.note(func(h *heard) { h.messages = append(h.messages, text.String()) })
			return true
		}
		s.note(func(h *heard) { h.line(line) })
		text.WriteString(strings.TrimPrefix(line, "."))
	}
}

// line checks a line as RFC 5321 section 2.3.8 wants it: no CR or LF but at its end,
// and no NUL.
func (h *heard) line(line string) {
	content, ended := strings.CutSuffix(line, "\r\n")
	if !ended || strings.ContainsAny(content, "\r\n") {
		h.fault("a bare CR or LF in %q", line)
	}
	if strings.ContainsRune(content, 0) {
		h.fault("a NUL in %q", line)
	}
	if len(content) > 998 {
		h.fault("a line of %d bytes: %.100q", len(content), line)
	}
}

func (h *heard) command(line string) {
	h.line(line)
	h.commands = append(h.commands, line)
}

func (h *heard) fault(format string, args ...any) {
	h.faults = append(h.faults, fmt.Sprintf(format, args...))
}

func (s *socket) note(note func(*heard)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	note(&s.session)
}

// take gives what has come since it was called last.
func (s *socket) take() heard {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.session
	s.session = heard{}
	return h
}
