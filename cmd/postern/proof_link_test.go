package main

import (
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/dovecottest"
)

// A link swallows everything for a while and looks alive. That is found out, and
// the mail of the time is announced once the link is back.
func TestProofLinkSwallows(t *testing.T) {
	t.Parallel()
	p := newProof(t)
	w := p.wired(false)
	p.args = []string{toDovecot} // with the polls and patience of everyday
	if !*long {
		p.args = append(p.args, "--link-timeout=30s")
	}
	p.start()
	p.register(scaled(accounts, 2, 10))
	reader := p.readLog()
	connections := w.Accepted()
	frozen := time.Now()
	w.Freeze()
	p.traffic(10*len(p.mailboxes), 0, (*mailbox).act).wait()
	p.await("the dead link to be found out", patience, func() bool {
		return p.states()["CONNECTED"] == 0 || w.Accepted() >= connections+len(p.mailboxes)
	})
	found := time.Since(frozen)
	<-time.After(scaled(outage, 35*time.Second, 10*time.Minute) - found)
	thawed := time.Now()
	w.Thaw()
	p.await("all accounts to be watched", 2*patience, func() bool {
		return len(w.loginsSince(thawed)) == len(p.mailboxes) && p.states()["CONNECTED"] == len(p.mailboxes)
	})
	p.within(90*time.Second, "a dead link found out", found)
	t.Logf("the link was dead for %s; %s after its return all accounts were watched",
		thawed.Sub(frozen).Round(time.Second), time.Since(thawed).Round(time.Millisecond))
	p.verdict()
	p.within(10*time.Second, "mail announced after the connection was back", reader.lateness(p, w.loginsSince(thawed))...)
}

// The server accepts IDLE and never pushes. Its mail is announced all the same.
func TestProofIdleLies(t *testing.T) {
	t.Parallel()
	// NOTIFY would push what IDLE does not.
	p := newProof(t, dovecottest.Capability("IMAP4rev1", "LITERAL+", "SASL-IR", "ID", "ENABLE", "IDLE", "UIDPLUS", "MOVE",
		"CONDSTORE", "QRESYNC", "ESEARCH", "LIST-STATUS", "LIST-EXTENDED", "SPECIAL-USE", "NAMESPACE", "UNSELECT"))
	p.wired(true)
	if *long {
		p.args = []string{toDovecot} // with the polls of everyday
	}
	p.start()
	p.register(scaled(accounts, 2, 10))
	reader := p.readLog()
	n := scaled(deliveries, 20, 200)
	p.traffic(n, scaled(outage, 5*time.Second, 5*time.Minute), func(m *mailbox) bool { return m.deliver("INBOX") }).wait()
	p.await("the mail to be announced", patience, func() bool { return len(reader.delays(p)) >= n })
	p.within(time.Minute, "announced", reader.delays(p)...)
	p.verdict()
}
