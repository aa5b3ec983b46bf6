package secret_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/postern-mail/postern/internal/secret"
)

const canary = "canary-7f3e-battery"

type holder struct {
	Public  secret.String
	private secret.String
	nested  struct{ inner secret.String }
	Map     map[string]secret.String
	Pointer *secret.String
	Any     any
}

func newHolder() holder {
	s := secret.New(canary)
	h := holder{Public: s, private: s, Map: map[string]secret.String{"k": s}, Pointer: &s, Any: s}
	h.nested.inner = s
	return h
}

func TestStringNeverPrints(t *testing.T) {
	t.Parallel()
	s, h := secret.New(canary), newHolder()

	slogged := func(newHandler func(*bytes.Buffer) slog.Handler) string {
		var out bytes.Buffer
		logger := slog.New(newHandler(&out))
		logger.Info("values", "secret", s, "pointer", &s, "holder", h, "pointers", &h, slog.Group("group", "secret", s))
		return out.String()
	}
	encoded := func(marshal func(any) ([]byte, error), value any) string {
		out, err := marshal(value)
		if err != nil {
			return err.Error()
		}
		return string(out)
	}
	panicked := func() (out string) {
		defer func() { out = fmt.Sprintf("%v %+v %#v", recover(), s, s) }()
		panic(s)
	}

	routes := map[string]string{
		"String":        s.String(),
		"GoString":      s.GoString(),
		"LogValue":      s.LogValue().String(),
		"error":         fmt.Errorf("wrapped: %w, %v", errors.New("x"), s).Error(),
		"panic":         panicked(),
		"slog text":     slogged(func(w *bytes.Buffer) slog.Handler { return slog.NewTextHandler(w, nil) }),
		"slog json":     slogged(func(w *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(w, nil) }),
		"json":          encoded(json.Marshal, h),
		"json map key":  encoded(json.Marshal, map[secret.String]int{s: 1}),
		"xml":           encoded(xml.Marshal, struct{ Public secret.String }{s}),
		"yaml":          encoded(yaml.Marshal, h),
		"Sprint":        fmt.Sprint(s, &s, h),
		"string concat": "value: " + s.String(),
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%U", "%b", "%t", "%p", "%c", "%10.3s", "%-40v", "%z"} {
		routes["Sprintf "+verb] = fmt.Sprintf(verb+" "+verb+" "+verb, s, h, &h)
	}
	for route, got := range routes {
		t.Run(route, func(t *testing.T) {
			t.Parallel()
			for _, form := range []string{canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary), fmt.Sprintf("% x", canary), canary[:6]} {
				if strings.Contains(got, form) {
					t.Errorf("%q shows the secret: %s", form, got)
				}
			}
			if got == "" {
				t.Error("nothing was printed")
			}
		})
	}
	for _, got := range []string{s.String(), fmt.Sprintf("%v", s), fmt.Sprintf("%d", s), fmt.Sprintf("%+v", struct{ S secret.String }{s})} {
		if !strings.Contains(got, secret.Redacted) {
			t.Errorf("got %q, want it to say %s", got, secret.Redacted)
		}
	}
}

func TestStringValue(t *testing.T) {
	t.Parallel()
	a, b := secret.New(canary), secret.New(strings.Clone(canary))
	if got := a.Reveal(); got != canary {
		t.Errorf("Reveal() = %q", got)
	}
	if !a.Equal(b) || a.Equal(secret.New("other")) || a.Equal(secret.String{}) {
		t.Error("Equal does not compare values")
	}
	if a.IsZero() || !(secret.String{}).IsZero() || !secret.New("").IsZero() {
		t.Error("IsZero does not tell an empty secret")
	}
	if got := (secret.String{}).Reveal(); got != "" {
		t.Errorf("zero String reveals %q", got)
	}
}
