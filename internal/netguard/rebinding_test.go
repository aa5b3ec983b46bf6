package netguard_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/postern-mail/postern/internal/netguard"
)

// resolver is a DNS server that answers each question for an address with the next
// of its answers, and with the last one from then on.
type resolver struct {
	mu      sync.Mutex
	answers [][]string
	asked   int
}

// start gives a resolver that asks the server.
func (r *resolver) start(t *testing.T) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		question := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(question)
			if err != nil {
				return
			}
			if answer, err := r.answer(question[:n]); err == nil {
				_, _ = conn.WriteTo(answer, from)
			}
		}
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

func (r *resolver) answer(packet []byte) ([]byte, error) {
	var message dnsmessage.Message
	if err := message.Unpack(packet); err != nil {
		return nil, err
	}
	message.Header.Response, message.Header.Authoritative, message.Additionals = true, true, nil
	question := message.Questions[0]
	if question.Type == dnsmessage.TypeA {
		r.mu.Lock()
		addrs := r.answers[min(r.asked, len(r.answers)-1)]
		r.asked++
		r.mu.Unlock()
		for _, text := range addrs {
			message.Answers = append(message.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: question.Name, Type: question.Type, Class: question.Class},
				Body:   &dnsmessage.AResource{A: netip.MustParseAddr(text).As4()},
			})
		}
	}
	return message.Pack()
}

// both listens on one port of two addresses, and tells which was connected to.
func both(t *testing.T) (port string, connected <-chan string) {
	t.Helper()
	first, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port = strconv.Itoa(first.Addr().(*net.TCPAddr).Port)
	second, err := net.Listen("tcp", "127.0.0.2:"+port)
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan string, 16)
	var accepting sync.WaitGroup
	for _, listener := range []net.Listener{first, second} {
		accepting.Go(func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				accepted <- conn.LocalAddr().(*net.TCPAddr).IP.String()
				conn.Close()
			}
		})
	}
	t.Cleanup(func() {
		first.Close()
		second.Close()
		accepting.Wait()
	})
	return port, accepted
}

func TestNameServersAreNotTold(t *testing.T) {
	t.Parallel()
	guard := &netguard.Guard{Resolver: (&resolver{answers: [][]string{nil}}).start(t)}
	_, err := guard.Dialer(30*time.Second)(t.Context(), "tcp", "mail.example.com:993")
	var lookup *net.DNSError
	if !errors.As(err, &lookup) || !lookup.IsNotFound || lookup.Server != "" || !strings.Contains(err.Error(), "mail.example.com") {
		t.Errorf("error %v", err)
	}
}

// A name whose address was good when it was looked at may have another when it is
// connected to. 127.0.0.2 is the network that is open here, and 127.0.0.1 is not.
func TestRebinding(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answers [][]string
		open    []bool
	}{
		"good first, then not": {[][]string{{"127.0.0.2"}, {"127.0.0.1"}}, []bool{true, false}},
		"both at once":         {[][]string{{"127.0.0.1", "127.0.0.2"}}, []bool{true, true}},
		"in turn":              {[][]string{{"127.0.0.1"}, {"127.0.0.2"}, {"127.0.0.1"}}, []bool{false, true, false}},
		"both, and then one":   {[][]string{{"127.0.0.2", "127.0.0.1"}, {"127.0.0.1", "10.0.0.1", "169.254.169.254"}}, []bool{true, false}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			port, connected := both(t)
			guard := &netguard.Guard{
				Allow:    []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")},
				Resolver: (&resolver{answers: c.answers}).start(t),
			}
			for i, open := range c.open {
				conn, err := guard.Dialer(30*time.Second)(t.Context(), "tcp", "mail.example.com:"+port)
				if _, refused := errors.AsType[*netguard.RefusedError](err); (err == nil) != open || !open && !refused {
					t.Fatalf("attempt %d: error %v", i, err)
				}
				if err != nil {
					continue
				}
				conn.Close()
				if to := <-connected; to != "127.0.0.2" {
					t.Errorf("attempt %d reached %s", i, to)
				}
			}
			select {
			case to := <-connected:
				t.Errorf("%s was connected to as well", to)
			default:
			}
		})
	}
}
