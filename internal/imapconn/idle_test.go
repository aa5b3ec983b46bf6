package imapconn

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

func TestIdleUpdate(t *testing.T) {
	t.Parallel()
	c := dialScript(t, "IDLE", selected(3)+`
		C: $i IDLE
		S: + idling
		S: * OK Still here
		S: * 4 EXISTS
		S: * 1 RECENT
		C: DONE
		S: $i OK idled
		C: $n NOOP
		S: $n OK done`)
	selectInbox(t, c)
	a, err := c.Idle(testContext(t), testTimeout)
	if err != nil {
		t.Fatal(err)
	}
	if a.Reason != ActivityUpdate || !a.Updates.Exists || a.Updates.Expunged || c.NumMessages() != 4 {
		t.Errorf("activity %+v with %d messages", a, c.NumMessages())
	}
	if c.LastHeard().IsZero() {
		t.Error("nothing was heard")
	}
	// DONE and the command after it are one write, which the transcript cannot
	// tell; see TestIdlePipeline.
	if err := c.Noop(testContext(t)); err != nil {
		t.Fatal(err)
	}
}

// What came before Idle counts, so nothing is lost between commands.
func TestIdleReturnsAtOnceForEarlierNews(t *testing.T) {
	t.Parallel()
	c := dialScript(t, "IDLE", selected(3)+`
		C: $n NOOP
		S: * 2 EXPUNGE
		S: $n OK done
		C: $i IDLE
		S: + idling`)
	selectInbox(t, c)
	if err := c.Noop(testContext(t)); err != nil {
		t.Fatal(err)
	}
	a, err := c.Idle(testContext(t), testTimeout)
	if err != nil || a.Reason != ActivityUpdate || !a.Updates.Expunged || c.NumMessages() != 2 {
		t.Errorf("activity %+v, %v, %d messages", a, err, c.NumMessages())
	}
}

func TestIdleTimeoutLeavesConnectionUsable(t *testing.T) {
	t.Parallel()
	c := dialScript(t, "IDLE", selected(3)+`
		C: $i IDLE
		S: + idling
		C: DONE
		S: $i OK idled
		C: $n NOOP
		S: $n OK done`)
	selectInbox(t, c)
	for range 3 {
		a, err := c.Idle(testContext(t), 5*time.Millisecond)
		if err != nil || a.Reason != ActivityTimeout {
			t.Fatalf("activity %+v, %v", a, err)
		}
	}
	if err := c.Noop(testContext(t)); err != nil {
		t.Fatal(err)
	}
}

func TestIdleInterrupt(t *testing.T) {
	t.Parallel()
	c := dialScript(t, "IDLE", selected(3)+`
		C: $i IDLE
		S: + idling
		C: DONE
		S: $i OK idled
		C: $n NOOP
		S: $n OK done`)
	selectInbox(t, c)
	c.Interrupt() // before the wait: it ends the next one
	if a, err := c.Idle(testContext(t), testTimeout); err != nil || a.Reason != ActivityInterrupt {
		t.Fatalf("activity %+v, %v", a, err)
	}
	for range 100 {
		done := make(chan struct{})
		go func() { defer close(done); c.Interrupt() }()
		if a, err := c.Idle(testContext(t), testTimeout); err != nil || a.Reason != ActivityInterrupt {
			t.Fatalf("activity %+v, %v", a, err)
		}
		<-done
	}
	if err := c.Noop(testContext(t)); err != nil {
		t.Fatal(err)
	}
}

func TestIdleContextLeavesConnectionUsable(t *testing.T) {
	t.Parallel()
	c := dialScript(t, "IDLE", selected(3)+`
		C: $i IDLE
		S: + idling
		C: DONE
		S: $i OK idled
		C: $n NOOP
		S: $n OK done`)
	selectInbox(t, c)
	ctx, cancel := context.WithTimeout(testContext(t), 5*time.Millisecond)
	defer cancel()
	if _, err := c.Idle(ctx, testTimeout); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("error %v", err)
	}
	if err := c.Err(); err != nil {
		t.Fatalf("the connection is closed: %v", err)
	}
	if err := c.Noop(testContext(t)); err != nil {
		t.Fatal(err)
	}
}

func TestIdleEndedByServer(t *testing.T) {
	t.Parallel()
	c := dialScript(t, "IDLE", selected(3)+`
		C: $i IDLE
		S: + idling
		S: $i OK that is enough
		C: $j IDLE
		S: + idling
		S| * 9 EXISTS\r\n$j OK and again\r\n
		C: $n NOOP
		S: $n OK done`)
	selectInbox(t, c)
	if a, err := c.Idle(testContext(t), testTimeout); err != nil || a.Reason != ActivityEnded {
		t.Fatalf("activity %+v, %v", a, err)
	}
	if a, err := c.Idle(testContext(t), testTimeout); err != nil || a.Reason != ActivityUpdate {
		t.Fatalf("activity %+v, %v", a, err)
	}
	if err := c.Noop(testContext(t)); err != nil { // without DONE, if the end has been seen
		t.Fatal(err)
	}
}

// A server may end IDLE while DONE is under way to it, and take DONE for a command.
func TestIdleEndedWhileDoneIsUnderWay(t *testing.T) {
	t.Parallel()
	c := dialScript(t, "IDLE", selected(3)+`
		C: $i IDLE
		S: + idling
		S: * 4 EXISTS
		C: DONE
		S: $i OK enough by itself
		S: DONE BAD no such command
		C: $n NOOP
		S: $n OK done
		C: $m NOOP
		S: $m OK done`)
	selectInbox(t, c)
	if a, err := c.Idle(testContext(t), testTimeout); err != nil || a.Reason != ActivityUpdate {
		t.Fatalf("activity %+v, %v", a, err)
	}
	for range 2 {
		if err := c.Noop(testContext(t)); err != nil {
			t.Fatal(err)
		}
	}
}

// IDLE is begun anew before the server forgets it.
func TestIdleIsRenewed(t *testing.T) {
	t.Parallel()
	s := scripted(t, `
		S: * PREAUTH [CAPABILITY IMAP4rev1 IDLE] hello
		C: $i IDLE
		S: + idling
		C: DONE
		C: $j IDLE
		S: $i OK idled
		S: + idling
		ignore`)
	cfg := s.config()
	cfg.IdleRenewal = 20 * time.Millisecond
	c := dialConfig(t, cfg)
	for range 2 {
		if a, err := c.Idle(testContext(t), testTimeout); err != nil || a.Reason != ActivityTimeout {
			t.Fatalf("activity %+v, %v", a, err)
		}
	}
}

func TestIdleRefused(t *testing.T) {
	t.Parallel()
	c := dialScript(t, "IDLE", selected(3)+`
		C: $i IDLE
		S: $i NO [CANNOT] not today
		C: $n NOOP
		S: $n OK done`)
	selectInbox(t, c)
	var refused *Error
	if _, err := c.Idle(testContext(t), testTimeout); !errors.As(err, &refused) || refused.Code != imap.ResponseCodeCannot {
		t.Fatalf("error %v", err)
	}
	if err := c.Noop(testContext(t)); err != nil {
		t.Fatal(err)
	}
}

func TestIdleNeverAnswered(t *testing.T) {
	t.Parallel()
	s := scripted(t, `
		S: * PREAUTH [CAPABILITY IMAP4rev1 IDLE] hello
		C: $i IDLE`)
	cfg := s.config()
	cfg.CommandTimeout = 50 * time.Millisecond
	c := dialConfig(t, cfg)
	var silence *TimeoutError
	if _, err := c.Idle(testContext(t), testTimeout); !errors.As(err, &silence) {
		t.Fatalf("error %v", err)
	}
	if c.Err() == nil {
		t.Error("the connection is still open")
	}
}

func TestIdleBye(t *testing.T) {
	t.Parallel()
	c := dialScript(t, "IDLE", `
		C: $i IDLE
		S: + idling
		S: * BYE [UNAVAILABLE] shutting down
		close`)
	var bye *ByeError
	if _, err := c.Idle(testContext(t), testTimeout); !errors.As(err, &bye) || bye.Text != "shutting down" {
		t.Fatalf("error %v", err)
	}
	var closed *ClosedError
	if err := c.Noop(testContext(t)); !errors.As(err, &closed) || !errors.As(err, &bye) {
		t.Errorf("error of the next command: %v", err)
	}
}

func TestIdleNeedsCapability(t *testing.T) {
	t.Parallel()
	c := dialScript(t, "", "")
	var missing *CapabilityError
	if _, err := c.Idle(testContext(t), testTimeout); !errors.As(err, &missing) || missing.Cap != imap.CapIdle {
		t.Fatalf("error %v", err)
	}
}

// DONE, a command and IDLE are one write, and the results are read in order.
func TestIdlePipeline(t *testing.T) {
	t.Parallel()
	c, s := dialScriptServer(t, "IDLE", selected(3)+`
		C: $i IDLE
		S: + idling
		S: * 4 EXISTS
		C: DONE
		C: $f UID FETCH 1000:* (UID FLAGS)
		C: $j IDLE
		S: $i OK idled
		S: * 4 FETCH (UID 1000 FLAGS (\Recent))
		S: $f OK fetched
		S: + idling
		S: * 5 EXISTS
		C: DONE
		C: $n NOOP
		S: $j OK idled
		S: $n OK done`)
	selectInbox(t, c)
	if a, err := c.Idle(testContext(t), testTimeout); err != nil || a.Reason != ActivityUpdate {
		t.Fatalf("activity %+v, %v", a, err)
	}
	before := s.writes.Load()
	var got []imap.UID
	c.QueueIdle()
	opts := &FetchOptions{FetchOptions: imap.FetchOptions{Flags: true}}
	err := c.Fetch(testContext(t), imap.UIDSet{{Start: 1000}}, opts, func(m *FetchMessage) error {
		got = append(got, m.UID)
		return nil
	})
	if err != nil || len(got) != 1 || got[0] != 1000 {
		t.Fatalf("fetched %v, %v", got, err)
	}
	if a, err := c.Idle(testContext(t), testTimeout); err != nil || a.Reason != ActivityUpdate || c.NumMessages() != 5 {
		t.Fatalf("activity %+v, %v", a, err)
	}
	if n := s.writes.Load() - before; n != 1 {
		t.Errorf("%d writes, want 1", n)
	}
	if err := c.Noop(testContext(t)); err != nil {
		t.Fatal(err)
	}
}

// An IDLE that went along with a command may be refused; the command after it
// must not begin with DONE then.
func TestQueuedIdleRefused(t *testing.T) {
	t.Parallel()
	c := dialScript(t, "IDLE", selected(3)+`
		C: $n NOOP
		C: $i IDLE
		S: $n OK done
		S: $i BAD no such command
		C: $m NOOP
		S: $m OK done`)
	selectInbox(t, c)
	c.QueueIdle()
	if err := c.Noop(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if err := c.Noop(testContext(t)); err != nil {
		t.Fatal(err)
	}
	var refused *Error
	if _, err := c.Idle(testContext(t), testTimeout); !errors.As(err, &refused) {
		t.Errorf("error %v", err)
	}
}
