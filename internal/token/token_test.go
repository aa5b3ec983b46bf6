package token

import (
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/secret"
)

func TestSecretText(t *testing.T) {
	t.Parallel()
	made := NewSecret()
	text := made.Text().Reveal()
	if !strings.HasPrefix(text, "pstn_"+made.ID()+"_") || len(text) != 69 {
		t.Errorf("the text is %q", text)
	}
	if again, ok := ParseSecret(made.Text()); !ok || again.ID() != made.ID() || again.hash() != made.hash() {
		t.Errorf("read back: %v, %v", again, ok)
	}
	for i := range text {
		for _, c := range "a7_A" {
			wrong := text[:i] + string(c) + text[i+1:]
			if _, ok := ParseSecret(secret.New(wrong)); ok && wrong != text {
				t.Errorf("a token with a typing error at %d is taken: %q", i, wrong)
			}
		}
	}
	if strings.Contains(made.text.String(), text) {
		t.Error("a secret prints as it is")
	}
}

func FuzzParseSecret(f *testing.F) {
	for range 3 {
		text := NewSecret().Text().Reveal()
		f.Add(text)
		f.Add(text[:len(text)-1])
		f.Add(strings.ToUpper(text))
	}
	f.Add("")
	f.Add("pstn_")
	f.Fuzz(func(t *testing.T, text string) {
		read, ok := ParseSecret(secret.New(text))
		if !ok {
			return
		}
		if read.Text().Reveal() != text || !strings.HasPrefix(text, textPrefix+read.ID()+"_") || len(read.ID()) != idLength {
			t.Errorf("%q is read as %q", text, read.ID())
		}
	})
}

func TestState(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	cases := map[string]struct {
		token Token
		want  State
	}{
		"without an expiry":     {Token{}, Active},
		"before its expiry":     {Token{ExpireTime: at.Add(1)}, Active},
		"at its expiry":         {Token{ExpireTime: at}, Expired},
		"after its expiry":      {Token{ExpireTime: at.Add(-1)}, Expired},
		"revoked":               {Token{RevokeTime: at}, Revoked},
		"revoked, then expired": {Token{RevokeTime: at.Add(-time.Hour), ExpireTime: at}, Revoked},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := c.token.State(at); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}
