package smtpconn

import "testing"

func TestAccepted(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Reply{
		"2.0.0 Ok: queued as 4D2":        {Code: 250, Enhanced: "2.0.0", Text: "Ok: queued as 4D2"},
		"2.6.0":                          {Code: 250, Enhanced: "2.6.0"},
		"Ok: queued":                     {Code: 250, Text: "Ok: queued"},
		"5.1.1 it says, and takes it":    {Code: 250, Text: "5.1.1 it says, and takes it"},
		"2.0.0.1 is no such code":        {Code: 250, Text: "2.0.0.1 is no such code"},
		"2.6.0 <id@example> [Internal=1": {Code: 250, Enhanced: "2.6.0", Text: "<id@example> [Internal=1"},
	} {
		if got := accepted(text); got != want {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
}
