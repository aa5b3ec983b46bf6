package netguard_test

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/netguard"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		addr  string
		allow string
		open  bool
	}{
		"public IPv4":                        {"8.8.8.8", "", true},
		"public IPv6":                        {"2606:4700::1111", "", true},
		"just below 10/8":                    {"9.255.255.255", "", true},
		"just above 172.16/12":               {"172.32.0.1", "", true},
		"just below CGNAT":                   {"100.63.255.255", "", true},
		"loopback":                           {"127.0.0.1", "", false},
		"loopback, another":                  {"127.8.9.10", "", false},
		"loopback IPv6":                      {"::1", "", false},
		"unspecified":                        {"0.0.0.0", "", false},
		"unspecified IPv6":                   {"::", "", false},
		"this network":                       {"0.1.2.3", "", false},
		"private 10":                         {"10.1.2.3", "", false},
		"private 172.16":                     {"172.31.255.255", "", false},
		"private 192.168":                    {"192.168.0.1", "", false},
		"unique local":                       {"fd00::1", "", false},
		"CGNAT":                              {"100.64.0.1", "", false},
		"cloud metadata":                     {"169.254.169.254", "", false},
		"link-local IPv6":                    {"fe80::1", "", false},
		"link-local with zone":               {"fe80::1%eth0", "", false},
		"site-local":                         {"fec0::1", "", false},
		"multicast":                          {"224.0.0.1", "", false},
		"multicast IPv6":                     {"ff02::1", "", false},
		"broadcast":                          {"255.255.255.255", "", false},
		"mapped loopback":                    {"::ffff:127.0.0.1", "", false},
		"mapped private":                     {"::ffff:10.0.0.1", "", false},
		"mapped public":                      {"::ffff:8.8.8.8", "", true},
		"IPv4-compatible loopback":           {"::127.0.0.1", "", false},
		"NAT64 of loopback":                  {"64:ff9b::7f00:1", "", false},
		"NAT64 of a public address":          {"64:ff9b::808:808", "", false},
		"local NAT64":                        {"64:ff9b:1::a00:1", "", false},
		"6to4 of a private address":          {"2002:a00:1::1", "", false},
		"Teredo":                             {"2001::1", "", false},
		"documentation":                      {"192.0.2.1", "", false},
		"documentation IPv6":                 {"2001:db8::1", "", false},
		"benchmarking":                       {"198.19.0.1", "", false},
		"unassigned IPv6":                    {"4000::1", "", false},
		"allowed":                            {"10.1.2.3", "10.0.0.0/8", true},
		"allowed, mapped":                    {"::ffff:10.1.2.3", "10.0.0.0/8", true},
		"allowed, with zone":                 {"fe80::1%eth0", "fe80::/10", true},
		"outside what is allowed":            {"10.1.2.3", "10.2.0.0/16", false},
		"NAT64 image of what is allowed":     {"64:ff9b::a01:203", "10.0.0.0/8", false},
		"NAT64 allowed":                      {"64:ff9b::808:808", "64:ff9b::/96", true},
		"all of IPv4 allowed, IPv6 loopback": {"::1", "0.0.0.0/0", false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var guard netguard.Guard
			if c.allow != "" {
				guard.Allow = []netip.Prefix{netip.MustParsePrefix(c.allow)}
			}
			err := guard.Check(netip.MustParseAddr(c.addr))
			if c.open {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			refused, ok := errors.AsType[*netguard.RefusedError](err)
			if !ok {
				t.Fatalf("error %v, want a RefusedError", err)
			}
			if refused.Range == "" || !strings.Contains(err.Error(), "--allow-networks") {
				t.Errorf("error %q does not say why and which setting", err)
			}
		})
	}
	if (&netguard.Guard{}).Check(netip.Addr{}) == nil {
		t.Error("the zero address is let through")
	}
}

func TestDialer(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	open := &netguard.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	shut := &netguard.Guard{}
	// localhost stands for any name that resolves to an inner address.
	for _, host := range []string{"127.0.0.1", "localhost", "::ffff:127.0.0.1", "0.0.0.0"} {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			addr := net.JoinHostPort(host, port)
			conn, err := shut.Dialer(10*time.Second)(t.Context(), "tcp", addr)
			if err == nil {
				conn.Close()
				t.Fatal("connected")
			}
			if _, ok := errors.AsType[*netguard.RefusedError](err); !ok {
				t.Errorf("error %v, want a RefusedError", err)
			}
			if host == "0.0.0.0" {
				return
			}
			conn, err = open.Dialer(10*time.Second)(t.Context(), "tcp", addr)
			if err != nil {
				t.Fatalf("allowed, but %v", err)
			}
			conn.Close()
		})
	}
}

func TestTransport(t *testing.T) {
	t.Parallel()
	inner := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the inner server was reached")
	}))
	defer inner.Close()
	client := &http.Client{Transport: (&netguard.Guard{}).Transport(10 * time.Second)}
	response, err := client.Get(inner.URL)
	if err == nil {
		response.Body.Close()
	}
	if _, ok := errors.AsType[*netguard.RefusedError](err); !ok {
		t.Errorf("error %v, want a RefusedError", err)
	}
}
