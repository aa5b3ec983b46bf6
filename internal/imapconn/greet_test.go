package imapconn

import (
	"errors"
	"testing"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/dovecottest"
)

func TestGreet(t *testing.T) {
	t.Parallel()
	for name, transcript := range map[string]string{
		"asked": `
			S: * OK hello
			C: $1 CAPABILITY
			S: * CAPABILITY IMAP4rev1 AUTH=PLAIN
			S: $1 OK done
			C: $2 LOGOUT
			S: * BYE
			S: $2 OK`,
		"told": `
			S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hello
			C: $1 LOGOUT
			close`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			caps, err := Greet(testContext(t), scripted(t, transcript).config())
			if err != nil || !caps.Has(imap.CapIMAP4rev1) || !caps.Has(imap.AuthCap("PLAIN")) || len(caps) != 2 {
				t.Errorf("capabilities %v, %v", caps, err)
			}
		})
	}
	t.Run("refused", func(t *testing.T) {
		t.Parallel()
		_, err := Greet(testContext(t), scripted(t, "S: * BYE not today\nignore").config())
		if bye := (*ByeError)(nil); !errors.As(err, &bye) {
			t.Errorf("error %v", err)
		}
	})
	for _, mode := range []TLSMode{ModeSTARTTLS, ModeTLS} {
		t.Run("Dovecot "+mode.String(), func(t *testing.T) {
			t.Parallel()
			config := dovecotConfig(dovecottest.Shared(t), "nobody", mode)
			config.Auth = Auth{}
			caps, err := Greet(testContext(t), config)
			if err != nil || !caps.Has(imap.AuthCap("PLAIN")) {
				t.Errorf("capabilities %v, %v", caps, err)
			}
		})
	}
}
