package imapconn

import (
	"testing"
	"time"
)

func TestProviderOf(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]Provider{
		"imap.gmail.com":      {Connections: 15, SavesSent: true},
		"IMAP.GMAIL.COM.":     {Connections: 15, SavesSent: true},
		"imap.rambler.ru":     {IdleRenewal: 35 * time.Second},
		"imap.163.com":        {Connections: 5, IdleRenewal: 35 * time.Second, NewsBySelect: true},
		"imap.naver.com":      {NewsBySelect: true},
		"mail.example.com":    {},
		"notgmail.com":        {},
		"gmail.com.evil.test": {},
		"":                    {},
	} {
		if got := ProviderOf(host); got != want {
			t.Errorf("ProviderOf(%q) = %+v, want %+v", host, got, want)
		}
	}
}

func TestPoolSizeLeavesConnectionsToOthers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ connections, want, size int }{
		{0, 3, 3}, {15, 3, 3}, {5, 3, 2}, {4, 3, 1}, {1, 3, 1}, {15, 20, 7},
	} {
		if got := (Provider{Connections: test.connections}).PoolSize(test.want); got != test.size {
			t.Errorf("of %d connections a pool that wants %d gets %d, want %d", test.connections, test.want, got, test.size)
		}
	}
}

// Every renewal in the table leaves a wait that the provider puts up with.
func TestRenewalsAreBounded(t *testing.T) {
	t.Parallel()
	for _, p := range providers {
		c := Config{IdleRenewal: p.IdleRenewal}
		if longest := longestIdle(c.idleRenewal()); longest > 29*time.Minute {
			t.Errorf("%v: IDLE may last for %s", p.suffixes, longest)
		}
	}
	rambler := Config{IdleRenewal: ProviderOf("imap.rambler.ru").IdleRenewal}
	if longest := longestIdle(rambler.idleRenewal()); longest >= 55*time.Second {
		t.Errorf("at Rambler IDLE may last for %s", longest)
	}
	yahoo := Config{IdleRenewal: ProviderOf("imap.mail.yahoo.com").IdleRenewal}
	if longest := longestIdle(yahoo.idleRenewal()); longest >= 3*time.Minute {
		t.Errorf("at Yahoo IDLE may last for %s", longest)
	}
}
