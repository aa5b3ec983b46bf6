package idle

import (
	"slices"
	"testing"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/event"
)

// While others read much mail, an account's backlog waits for its turn, and new
// mail does not.
func TestBacklogsWaitForTheirTurn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server, user := w.mailbox("ann", w.having("Archive", "old"))
	other, otherUser := w.mailbox("bob")
	stop := w.start()
	w.awaitState("ann", account.Connected)
	w.awaitState("bob", account.Connected)
	stop()
	const n = 2*newAtOnce + 3
	copyMany(t, server, user, "Archive", n)
	w.start()
	bulk := w.supervisor.config.bulk
	for range bulkAtOnce {
		bulk <- struct{}{}
	}
	// The first step of ann's backlog needs no turn, for nobody knew of it.
	server.Deliver(t, user, "INBOX", mail("for ann"))
	other.Deliver(t, otherUser, "INBOX", mail("for bob"))
	wantSubjects(t, w.awaitEvents("bob", event.TypeMessageCreated, 1), "for bob")
	if told := len(w.events("ann", event.TypeMessageCreated)); told > n {
		t.Errorf("%d messages of ann were told of although it was not her turn", told)
	}
	for range bulkAtOnce {
		<-bulk
	}
	events := w.awaitEvents("ann", event.TypeMessageCreated, n+1)
	if !slices.Contains(subjects(events), "for ann") {
		t.Error("the mail in INBOX was not told of")
	}
	w.checkNumbers("ann")
}
