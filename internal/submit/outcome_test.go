package submit

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/smtpconn"
)

var noon = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

// reply is a reply of a code, refused that of a whole message.
func reply(code int) smtpconn.Reply { return smtpconn.Reply{Code: code} }

func refused(code int) error { return &smtpconn.RefusedError{Command: "MAIL", Reply: reply(code)} }

func TestWhatAnAttemptComesTo(t *testing.T) {
	t.Parallel()
	const (
		pending   = RecipientPending
		deferred  = RecipientDeferred
		sent      = RecipientSent
		rejected  = RecipientRejected
		uncertain = RecipientUncertain
	)
	receipt := func(accepted bool, codes ...int) *smtpconn.Receipt {
		r := &smtpconn.Receipt{Accepted: accepted}
		for _, code := range codes {
			r.Recipients = append(r.Recipients, reply(code))
		}
		return r
	}
	doubt := &smtpconn.UncertainError{Err: io.ErrUnexpectedEOF}
	for name, test := range map[string]struct {
		before  []RecipientState
		receipt *smtpconn.Receipt
		err     error
		late    bool
		state   State
		after   []RecipientState
	}{
		"all accepted":     {[]RecipientState{pending, pending}, receipt(true, 250, 250), nil, false, Sent, []RecipientState{sent, sent}},
		"all refused":      {[]RecipientState{pending, pending}, receipt(false, 550, 551), nil, false, Failed, []RecipientState{rejected, rejected}},
		"some refused":     {[]RecipientState{pending, pending}, receipt(true, 550, 250), nil, false, PartiallyRejected, []RecipientState{rejected, sent}},
		"some later":       {[]RecipientState{pending, pending}, receipt(true, 250, 450), nil, false, Deferred, []RecipientState{sent, deferred}},
		"the rest at last": {[]RecipientState{sent, deferred}, receipt(true, 250), nil, false, Sent, []RecipientState{sent, sent}},
		"the rest never":   {[]RecipientState{sent, deferred}, receipt(false, 550), nil, false, PartiallyRejected, []RecipientState{sent, rejected}},
		"later, too late":  {[]RecipientState{pending, pending}, receipt(true, 250, 450), nil, true, PartiallyRejected, []RecipientState{sent, rejected}},
		"refused for now":  {[]RecipientState{pending, pending}, nil, refused(451), false, Deferred, []RecipientState{deferred, deferred}},
		"for good":         {[]RecipientState{pending, pending}, nil, refused(554), false, Failed, []RecipientState{rejected, rejected}},
		"for good at the end": {
			[]RecipientState{pending, pending}, receipt(false, 250, 450), refused(554), false, Deferred, []RecipientState{rejected, deferred},
		},
		"for now at the end": {
			[]RecipientState{pending, pending}, receipt(false, 250, 550), refused(451), false, Deferred, []RecipientState{deferred, rejected},
		},
		"no network":   {[]RecipientState{pending}, nil, &imapconn.NetworkError{Err: io.EOF}, false, Deferred, []RecipientState{deferred}},
		"too long":     {[]RecipientState{pending}, nil, &imapconn.NetworkError{Err: io.EOF}, true, Failed, []RecipientState{rejected}},
		"a password":   {[]RecipientState{pending}, nil, &imapconn.AuthError{Err: errors.New("535")}, false, Deferred, []RecipientState{deferred}},
		"too large":    {[]RecipientState{pending}, nil, &smtpconn.TooLargeError{Limit: 1, Actual: 2}, false, Failed, []RecipientState{rejected}},
		"no SMTPUTF8":  {[]RecipientState{pending}, nil, &smtpconn.ExtensionError{Extension: "SMTPUTF8"}, false, Failed, []RecipientState{rejected}},
		"lost":         {[]RecipientState{pending}, nil, &BodyError{Err: io.EOF}, false, Failed, []RecipientState{rejected}},
		"in doubt":     {[]RecipientState{pending, pending}, receipt(false, 250, 550), doubt, false, Uncertain, []RecipientState{uncertain, rejected}},
		"doubt stands": {[]RecipientState{sent, pending}, receipt(false, 250), doubt, true, Uncertain, []RecipientState{sent, uncertain}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &Submission{State: Sending, Attempts: 3, GiveUpTime: noon.Add(time.Hour)}
			if test.late {
				s.GiveUpTime = noon.Add(time.Second)
			}
			for _, state := range test.before {
				s.Recipients = append(s.Recipients, Recipient{State: state})
			}
			apply(s, test.receipt, test.err, noon, time.Minute)
			var after []RecipientState
			for _, r := range s.Recipients {
				after = append(after, r.State)
			}
			if difference := cmp.Diff(test.after, after); difference != "" || s.State != test.state {
				t.Errorf("%s, want %s; recipients (-want +got):\n%s", s.State, test.state, difference)
			}
			if next := s.NextAttempt.Equal(noon.Add(time.Minute)); next != (test.state == Deferred) {
				t.Errorf("next attempt at %v", s.NextAttempt)
			}
			last := s.Transitions[len(s.Transitions)-1]
			if last.State != s.State || last.Attempt != 3 || !last.Time.Equal(noon) {
				t.Errorf("transition %+v", last)
			}
			if s.State != Sent && s.Detail == "" {
				t.Error("nobody is told why")
			}
		})
	}
}

func TestRetryOpensWhatWasRefused(t *testing.T) {
	t.Parallel()
	for state, ok := range map[State]bool{
		Scheduled: false, Queued: false, Sending: false, Deferred: true, Sent: false, PartiallyRejected: true,
		Failed: true, Canceled: false, Uncertain: true,
	} {
		s := &Submission{State: state, NextAttempt: noon.Add(time.Hour), Recipients: []Recipient{
			{State: RecipientSent}, {State: RecipientRejected, Reply: reply(550)}, {State: RecipientUncertain}, {State: RecipientDeferred},
		}}
		err := s.retry(noon, time.Hour)
		if (err == nil) != ok {
			t.Errorf("%s: %v", state, err)
		}
		if !ok {
			continue
		}
		if s.State.Final() || !s.NextAttempt.Equal(noon) || s.Recipients[0].State != RecipientSent {
			t.Errorf("%s: %+v", state, s)
		}
		if state != Deferred && (s.Recipients[1].State != RecipientPending || s.Recipients[2].State != RecipientPending) {
			t.Errorf("%s: recipients %+v", state, s.Recipients)
		}
	}
}

func TestTransitionsAreBounded(t *testing.T) {
	t.Parallel()
	s := &Submission{GiveUpTime: noon.Add(time.Hour), Recipients: []Recipient{{State: RecipientPending}}}
	for range 3 * maxTransitions {
		apply(s, nil, refused(451), noon, time.Second)
	}
	apply(s, nil, refused(550), noon, time.Second)
	if n := len(s.Transitions); n != maxTransitions+1 || s.Transitions[n-1].State != Failed {
		t.Errorf("%d transitions, the last %+v", n, s.Transitions[n-1])
	}
}
