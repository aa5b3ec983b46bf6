package idle

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postern-mail/postern/internal/imapconn"
)

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// The first account that gets through to a server that was out of reach tells
// the others, also one whose attempt was under way.
func TestServerIsBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := &hosts{known: map[string]*host{}}
		first, second, third := h.attend("mail"), h.attend("mail"), h.attend("mail")
		began := time.Now()
		<-time.After(time.Second)
		first.failed(began)
		waiting := second.failed(began)
		if isClosed(waiting) {
			t.Fatal("nobody has reached the server")
		}
		first.reached()
		if !isClosed(waiting) {
			t.Error("the second does not learn that the server is back")
		}
		if !isClosed(third.failed(began)) {
			t.Error("the third does not learn that the server came back during its attempt")
		}
		if isClosed(third.failed(time.Now())) {
			t.Error("an attempt that failed afterwards is told of the past")
		}
		for _, a := range []*attendance{first, second, third} {
			a.leave()
		}
		if len(h.known) != 0 {
			t.Error("the host is not forgotten")
		}
	})
}

// An account that fails by itself is not told whenever another one connects.
func TestOneAccountThatFails(t *testing.T) {
	t.Parallel()
	h := &hosts{known: map[string]*host{}}
	sick, well := h.attend("mail"), h.attend("mail")
	h.attend("mail")
	waiting := sick.failed(time.Now())
	well.reached()
	h.attend("other").reached()
	if isClosed(waiting) {
		t.Error("the account is told")
	}
}

// An owner that is told goes on early, but not earlier than the server can bear.
func TestComeBack(t *testing.T) {
	t.Parallel()
	broken := &imapconn.NetworkError{Command: "connect", Err: context.DeadlineExceeded}
	for name, tc := range map[string]struct {
		err   error
		tried time.Duration // ago
		want  time.Duration
	}{
		"tried long ago":         {broken, time.Minute, time.Second},
		"tried just now":         {broken, 0, backSpacing},
		"not the server's fault": {&imapconn.AuthError{}, time.Minute, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := &hosts{known: map[string]*host{}}
				o, other := &owner{host: h.attend("mail")}, h.attend("mail")
				other.failed(time.Now())
				began := time.Now()
				<-time.After(tc.tried)
				start := time.Now()
				go func() {
					<-time.After(time.Second)
					other.reached()
				}()
				if err := o.comeBack(t.Context(), time.Hour, began, tc.err); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(start); took != tc.want {
					t.Errorf("waited %s, want %s", took, tc.want)
				}
			})
		})
	}
}
