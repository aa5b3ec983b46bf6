package submit

import (
	"errors"
	"testing"
	"time"
)

func TestBounced(t *testing.T) {
	t.Parallel()
	recipient := func(address string, state RecipientState) Recipient { return Recipient{Address: address, State: state} }
	for name, test := range map[string]struct {
		recipients []Recipient
		addresses  []string
		want       []RecipientState
		changed    bool
	}{
		"one of two": {
			[]Recipient{recipient("bob@example.com", RecipientSent), recipient("eve@example.com", RecipientSent)},
			[]string{"Bob@Example.com"}, []RecipientState{RecipientBounced, RecipientSent}, true,
		},
		"nobody's":      {[]Recipient{recipient("bob@example.com", RecipientSent), recipient("eve@example.com", RecipientSent)}, []string{"joe@example.com"}, []RecipientState{RecipientSent, RecipientSent}, false},
		"forwarded":     {[]Recipient{recipient("bob@example.com", RecipientSent)}, []string{"robert@example.net"}, []RecipientState{RecipientBounced}, true},
		"was in doubt":  {[]Recipient{recipient("bob@example.com", RecipientUncertain)}, []string{"bob@example.com"}, []RecipientState{RecipientBounced}, true},
		"again":         {[]Recipient{recipient("bob@example.com", RecipientBounced)}, []string{"bob@example.com"}, []RecipientState{RecipientBounced}, false},
		"not sent yet":  {[]Recipient{recipient("bob@example.com", RecipientDeferred)}, []string{"bob@example.com"}, []RecipientState{RecipientDeferred}, false},
		"without names": {[]Recipient{recipient("bob@example.com", RecipientSent)}, nil, []RecipientState{RecipientSent}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &Submission{Recipients: test.recipients}
			if changed := s.bounced(test.addresses); changed != test.changed {
				t.Errorf("changed is %v", changed)
			}
			for i, want := range test.want {
				if got := s.Recipients[i].State; got != want {
					t.Errorf("recipient %d is %s, want %s", i, got, want)
				}
			}
		})
	}
}

func TestRetryOfWhatCameBack(t *testing.T) {
	t.Parallel()
	s := &Submission{State: Uncertain, Recipients: []Recipient{{Address: "bob@example.com", State: RecipientBounced}}}
	var state *StateError
	if err := s.retry(time.Now(), time.Hour); !errors.As(err, &state) {
		t.Errorf("retried, with the error %v", err)
	}
}
