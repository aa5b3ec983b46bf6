package access_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/access"
	"github.com/postern-mail/postern/internal/secret"
)

// way is an authenticator that knows one token.
type way struct {
	token string
	err   error // for all others
}

func (w way) Authenticate(_ context.Context, shown access.Credentials) (access.Principal, error) {
	if shown.Token.Reveal() == w.token {
		return access.Principal{ID: w.token}, nil
	}
	return access.Principal{}, w.err
}

func TestAnyOf(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	expired := &access.InvalidError{Problem: "has expired"}
	first, second, third := way{"a", access.ErrInvalid}, way{"b", expired}, way{"c", access.ErrInvalid}
	for name, c := range map[string]struct {
		ways  []access.Authenticator
		token string
		want  error
	}{
		"the first":            {[]access.Authenticator{first, third}, "a", nil},
		"the last":             {[]access.Authenticator{first, second, third}, "c", nil},
		"nobody":               {[]access.Authenticator{first, third}, "x", access.ErrInvalid},
		"a reason among none":  {[]access.Authenticator{first, second, third}, "x", expired},
		"one that cannot tell": {[]access.Authenticator{first, way{"d", broken}, third}, "x", broken},
		"another can tell":     {[]access.Authenticator{first, way{"d", broken}, third}, "c", nil},
		"no way at all":        {nil, "a", access.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			who, err := access.AnyOf(c.ways...).Authenticate(t.Context(), access.Credentials{Token: secret.New(c.token)})
			if !errors.Is(err, c.want) || c.want == nil && who.ID != c.token {
				t.Errorf("%q, %v; want %v", who.ID, err, c.want)
			}
		})
	}
	if !errors.Is(expired, access.ErrInvalid) {
		t.Error("an InvalidError is not ErrInvalid")
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestEndings(t *testing.T) {
	t.Parallel()
	var endings access.Endings
	now := time.Now()
	if !closed(endings.At(now.Add(-time.Hour))) {
		t.Error("what has ended is not closed")
	}
	later, never := endings.At(now.Add(time.Hour)), endings.At(time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC))
	if endings.At(now.Add(time.Hour)) != later {
		t.Error("two channels for the same second")
	}
	soon := endings.At(now.Add(2 * time.Second))
	select {
	case <-soon:
	case <-time.After(30 * time.Second):
		t.Fatal("the channel is not closed at its time")
	}
	if time.Now().Before(now.Add(2 * time.Second).Truncate(time.Second)) {
		t.Error("the channel was closed too early")
	}
	if closed(later) || closed(never) {
		t.Error("another's end closed it")
	}
	endings.End()
	for what, channel := range map[string]<-chan struct{}{
		"later": later, "never": never, "asked for after": endings.At(now.Add(time.Minute)),
	} {
		if !closed(channel) {
			t.Errorf("%s is not closed when all end", what)
		}
	}
}
