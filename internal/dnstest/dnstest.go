// Package dnstest is a name server for tests, on loopback, by UDP and TCP.
package dnstest

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// Serve starts a name server that ends with the test, and gives its address. What
// answer has for a question is the answer, also where it is nothing.
func Serve(tb testing.TB, answer func(dns.Question) []dns.RR) string {
	tb.Helper()
	return serve(tb, func(w dns.ResponseWriter, message *dns.Msg) {
		reply := new(dns.Msg).SetReply(message)
		for _, question := range message.Question {
			reply.Answer = append(reply.Answer, answer(question)...)
		}
		write(w, message, reply)
	})
}

// Header is the header of a record that answers a question.
func Header(question dns.Question) dns.RR_Header {
	return dns.RR_Header{Name: question.Name, Rrtype: question.Qtype, Class: dns.ClassINET, Ttl: 1}
}

// Server is a name server with records of its own. It does not know other names.
type Server struct {
	addr string

	mu      sync.Mutex
	records []dns.RR
	silent  []string
	asked   []string
}

// Start starts a server that ends with the test. Records are written as in zone
// files, such as "example.test. A 127.0.0.1".
func Start(tb testing.TB, records ...string) *Server {
	tb.Helper()
	s := &Server{}
	s.Add(tb, records...)
	s.addr = serve(tb, s.handle)
	return s
}

// Add adds records.
func (s *Server) Add(tb testing.TB, records ...string) {
	tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, text := range records {
		record, err := dns.NewRR(text)
		if err != nil {
			tb.Fatalf("%s: %v", text, err)
		}
		s.records = append(s.records, record)
	}
}

// Silence makes the server answer nothing about names that end like this.
func (s *Server) Silence(suffix string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silent = append(s.silent, suffix)
}

// Asked are the questions so far, each as "name TYPE".
func (s *Server) Asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.asked...)
}

// Resolver asks the server, and nobody else.
func (s *Server) Resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, s.addr)
	}}
}

func (s *Server) handle(w dns.ResponseWriter, message *dns.Msg) {
	reply := new(dns.Msg).SetReply(message)
	reply.Authoritative, reply.Rcode = true, dns.RcodeNameError
	s.mu.Lock()
	for _, question := range message.Question {
		s.asked = append(s.asked, question.Name+" "+dns.TypeToString[question.Qtype])
		for _, suffix := range s.silent {
			if strings.HasSuffix(question.Name, suffix) {
				s.mu.Unlock()
				return
			}
		}
		for _, record := range s.records {
			if !strings.EqualFold(record.Header().Name, question.Name) {
				continue
			}
			reply.Rcode = dns.RcodeSuccess
			if record.Header().Rrtype == question.Qtype {
				reply.Answer = append(reply.Answer, record)
			}
		}
	}
	s.mu.Unlock()
	write(w, message, reply)
}

// write sends a reply that is cut where it is too large for UDP.
func write(w dns.ResponseWriter, message, reply *dns.Msg) {
	size := dns.MaxMsgSize
	if w.LocalAddr().Network() == "udp" {
		size = dns.MinMsgSize
		if edns := message.IsEdns0(); edns != nil {
			size = int(edns.UDPSize())
		}
	}
	reply.Truncate(size)
	_ = w.WriteMsg(reply) // who asked has gone
}

func serve(tb testing.TB, handle dns.HandlerFunc) string {
	tb.Helper()
	conn, stream := bothWays(tb)
	var serving sync.WaitGroup
	serving.Go(func() { _ = (&dns.Server{PacketConn: conn, Handler: handle}).ActivateAndServe() })
	serving.Go(func() { _ = (&dns.Server{Listener: stream, Handler: handle}).ActivateAndServe() })
	tb.Cleanup(func() {
		_, _ = conn.Close(), stream.Close()
		serving.Wait()
	})
	return conn.LocalAddr().String()
}

// bothWays listens at one port by UDP and TCP.
func bothWays(tb testing.TB) (net.PacketConn, net.Listener) {
	tb.Helper()
	var config net.ListenConfig
	for range 20 { // a port that is free for one may be taken for the other
		stream, err := config.Listen(tb.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		if conn, err := config.ListenPacket(tb.Context(), "udp", stream.Addr().String()); err == nil {
			return conn, stream
		}
		_ = stream.Close()
	}
	tb.Fatal("no port is free both for UDP and for TCP")
	return nil, nil
}
