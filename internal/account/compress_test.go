package account

import "testing"

func TestWorthCompressing(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"imap.example.com": true, "203.0.113.7": true, "2001:db8::1": true,
		"localhost": false, "127.0.0.1": false, "::1": false, "10.1.2.3": false, "192.168.0.9": false, "fd00::1": false, "fe80::1": false,
	} {
		if got := worthCompressing(host); got != want {
			t.Errorf("%s: %v, want %v", host, got, want)
		}
	}
}
