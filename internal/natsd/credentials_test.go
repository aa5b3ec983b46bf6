package natsd

import "testing"

func FuzzParseCredentials(f *testing.F) {
	f.Add("nats://postern:secret@127.0.0.1:4222\n")
	f.Add("nats://a:%70@h")
	f.Add("//:@")
	f.Fuzz(func(t *testing.T, text string) {
		login, ok := parseCredentials(text)
		if !ok {
			return
		}
		again, ok := parseCredentials(login.url("127.0.0.1:4222"))
		if !ok || again.user != login.user || again.password.Reveal() != login.password.Reveal() {
			t.Errorf("%q is another login when it is written again", text)
		}
	})
}
