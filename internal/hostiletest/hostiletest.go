// Package hostiletest is mail servers for tests, or whoever sits in front of them,
// that want to be told a password before anybody has made sure who they are. They
// take every login that they are offered and keep all bytes that they are sent.
package hostiletest

import (
	"bufio"
	"context"
	"crypto/tls"
	"net"
	"strings"
	"sync"
	"testing"
)

// Protocol is what a server speaks.
type Protocol string

// The protocols.
const (
	IMAP Protocol = "imap"
	SMTP Protocol = "smtp"
)

// Attack is what a server does. The zero value is an honest server that speaks in
// clear, and upgrades when it is asked to and has a certificate.
type Attack struct {
	// Certificate is what it shows, nil for none.
	Certificate *tls.Certificate
	// MaxVersion is the highest version of TLS that it speaks, 0 for all.
	MaxVersion uint16
	// Implicit makes it speak TLS from the first byte.
	Implicit bool
	// Strip makes it not offer STARTTLS; LoginDisabled makes an IMAP server say that
	// there is no login in clear, which it takes all the same.
	Strip, LoginDisabled bool
	// Refuse is what it says to STARTTLS instead of consenting: NO, BAD or a whole
	// SMTP reply.
	Refuse string
	// Inject goes in clear right behind the consent, to be taken for answers under
	// TLS (CVE-2011-0411). AsOne sends the two as one segment.
	Inject string
	AsOne  bool
	// Deaf makes it consent to STARTTLS and go on in clear.
	Deaf bool
	// LoginOnly makes an IMAP server offer no mechanism but the LOGIN command.
	LoginOnly bool
	// Preauth makes an IMAP server greet with PREAUTH.
	Preauth bool
}

// Server is a running server.
type Server struct {
	Host string
	Port int

	protocol Protocol
	attack   Attack

	mu          sync.Mutex
	clear       []byte
	inside      []byte
	connections int
}

// Start starts a server that ends with the test.
func Start(tb testing.TB, protocol Protocol, attack Attack) *Server {
	tb.Helper()
	listener, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	address := listener.Addr().(*net.TCPAddr)
	s := &Server{Host: address.IP.String(), Port: address.Port, protocol: protocol, attack: attack}
	ctx, cancel := context.WithCancel(context.Background())
	var sessions sync.WaitGroup
	sessions.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			sessions.Go(func() {
				stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
				defer stop()
				defer conn.Close()
				s.serve(ctx, conn)
			})
		}
	})
	tb.Cleanup(func() {
		cancel()
		_ = listener.Close()
		sessions.Wait()
	})
	return s
}

// Clear is all that was sent to the server's socket, which is what anyone on the
// way can read.
func (s *Server) Clear() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]byte(nil), s.clear...)
}

// Inside is what was sent to the server within TLS.
func (s *Server) Inside() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]byte(nil), s.inside...)
}

// Connections is how many there were.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connections
}

// tap is a connection whose incoming bytes are kept.
type tap struct {
	net.Conn
	server *Server
	to     *[]byte
}

// Read implements io.Reader.
func (t *tap) Read(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	t.server.mu.Lock()
	defer t.server.mu.Unlock()
	*t.to = append(*t.to, p[:n]...)
	return n, err
}

// session is one connection.
type session struct {
	*Server
	conn    net.Conn
	lines   *bufio.Reader
	secured bool
}

func (s *Server) serve(ctx context.Context, raw net.Conn) {
	s.mu.Lock()
	s.connections++
	s.mu.Unlock()
	c := &session{Server: s}
	c.use(&tap{Conn: raw, server: s, to: &s.clear})
	if s.attack.Implicit && !c.secure(ctx) {
		return
	}
	if s.protocol == SMTP {
		c.smtp(ctx)
		return
	}
	c.imap(ctx)
}

func (c *session) use(conn net.Conn) { c.conn, c.lines = conn, bufio.NewReader(conn) }

// secure puts TLS on the connection, and reports whether that worked. A client that
// does not like the certificate may say so only after the handshake.
func (c *session) secure(ctx context.Context) bool {
	config := &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: c.attack.MaxVersion} //nolint:gosec // it is to be refused
	if c.attack.Certificate != nil {
		config.Certificates = []tls.Certificate{*c.attack.Certificate}
	}
	conn := tls.Server(c.conn, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return false
	}
	c.use(&tap{Conn: conn, server: c.Server, to: &c.inside})
	c.secured = true
	return true
}

func (c *session) say(text string) { _, _ = c.conn.Write([]byte(text)) }

// consent says yes to STARTTLS, with what is to be injected.
func (c *session) consent(yes string) {
	if c.attack.AsOne {
		c.say(yes + c.attack.Inject)
		return
	}
	c.say(yes)
	if c.attack.Inject != "" {
		c.say(c.attack.Inject)
	}
}

// challenge asks for what a SASL mechanism has to say, and believes it.
func (c *session) challenge(prompt, arguments string) {
	mechanism, initial, _ := strings.Cut(arguments, " ")
	asked := 1
	if strings.EqualFold(mechanism, "LOGIN") {
		asked = 2
	} else if initial != "" {
		asked = 0
	}
	for range asked {
		c.say(prompt)
		if _, err := c.lines.ReadString('\n'); err != nil {
			return
		}
	}
}
