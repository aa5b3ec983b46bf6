package webhook

import (
	"bytes"
	"errors"
	"net/http"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/secret"
	"github.com/postern-mail/postern/internal/waittest"
)

// Neither the secret, nor the values of headers, nor the URL, which may hold a
// token, is stored in the clear, or part of what is noted of attempts.
func TestSecretsAreStoredSealed(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(c *Config) { c.Schedule = Schedule{Quick: quickly.Quick, Parked: quickly.Parked[:1]} })
	s := newSink(t, func(request) int { return http.StatusInternalServerError })
	closed := newSink(t, nil)
	closed.Close()
	hook := h.hook(s.URL+"/canary-of-the-url", func(w *Webhook) {
		w.Headers = map[string]secret.String{"X-Key": secret.New("canary-of-the-header")}
	})
	h.hook(closed.URL+"/canary-of-the-url", nil)
	if _, err := h.RotateSecret(t.Context(), hook.ID, "", 1e12); err != nil {
		t.Fatal(err)
	}
	h.run()
	h.happen("ann", 2)
	waittest.For(t, "dead letters", func() bool {
		letters, _, err := h.DeadLetters(t.Context(), hook.ID, 0, 10)
		if err != nil {
			t.Fatal(err)
		}
		return len(letters) == 2
	})
	waittest.For(t, "noted attempts", func() bool {
		attempts, err := h.Attempts(t.Context(), hook.ID, 0)
		if err != nil {
			t.Fatal(err)
		}
		return len(attempts) == 8
	})
	rotated, err := h.Get(t.Context(), hook.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"KV_" + bucket, retryStream, deadStream, logStream} {
		stream, err := h.js.Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		for sequence := uint64(1); ; {
			msg, err := stream.GetMsg(t.Context(), sequence, jetstream.WithGetMsgSubject(">"))
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, canary := range []string{"canary", hook.Secret.Reveal(), rotated.Secret.Reveal()} {
				if bytes.Contains(msg.Data, []byte(canary)) {
					t.Errorf("%s holds %q: %s", msg.Subject, canary, msg.Data)
				}
				for header, values := range msg.Header {
					if bytes.Contains([]byte(values[0]), []byte(canary)) {
						t.Errorf("the header %s of %s holds %q: %s", header, msg.Subject, canary, values[0])
					}
				}
			}
			sequence = msg.Sequence + 1
		}
	}
}
