package gateway

import (
	"context"
	"reflect"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/access"
	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/eventlog"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/webhook"
)

// noConnector is one that nobody may ask.
type noConnector struct{ Connector }

func (noConnector) Reselect(string) {}

func (noConnector) Do(context.Context, string, string, *imapconn.DoOptions, func(*imapconn.Conn) error) error {
	panic("a connection was asked for")
}

// builtOfNothing is a gateway whose services stand on nothing.
func builtOfNothing() *Gateway {
	limits := DefaultLimits()
	g := &Gateway{cfg: Config{Accounts: &account.Registry{}, Connector: noConnector{}, Webhooks: &webhook.Webhooks{}, Limits: &limits}}
	g.build()
	return g
}

// Services get at accounts, webhooks and mailboxes through what knows who calls. A
// service that is given them as they are would show them to everybody.
func TestServicesSeeWhatTheirCallersSee(t *testing.T) {
	t.Parallel()
	g := builtOfNothing()
	allowed := map[reflect.Type]reflect.Type{
		reflect.TypeFor[*account.Registry](): reflect.TypeFor[visibleAccounts](),
		reflect.TypeFor[*webhook.Webhooks](): reflect.TypeFor[visibleWebhooks](),
		reflect.TypeFor[patient]():           reflect.TypeFor[visibleMailboxes](),
	}
	found := map[reflect.Type]int{}
	seen := map[uintptr]bool{}
	var look func(path string, in reflect.Type, v reflect.Value)
	look = func(path string, in reflect.Type, v reflect.Value) {
		if where, guarded := allowed[v.Type()]; guarded {
			found[v.Type()]++
			if in != where {
				t.Errorf("%s is a %s: take it from a %s", path, v.Type(), where)
			}
			return
		}
		switch v.Kind() {
		case reflect.Interface:
			if !v.IsNil() {
				look(path, in, v.Elem())
			}
		case reflect.Pointer:
			if !v.IsNil() && !seen[v.Pointer()] {
				seen[v.Pointer()] = true
				look(path, in, v.Elem())
			}
		case reflect.Struct:
			for i := range v.NumField() {
				look(path+"."+v.Type().Field(i).Name, v.Type(), v.Field(i))
			}
		}
	}
	for i := range reflect.TypeFor[Gateway]().NumField() {
		field := reflect.TypeFor[Gateway]().Field(i)
		if field.Name != "cfg" { // what it holds is for what nobody calls
			look(field.Name, nil, reflect.ValueOf(g).Elem().Field(i))
		}
	}
	for guarded := range allowed {
		if found[guarded] == 0 {
			t.Errorf("no service has a %s: the test looks at the wrong thing", guarded)
		}
	}
}

// An id that is registered again is another mailbox.
func TestHappenedTo(t *testing.T) {
	t.Parallel()
	a := &account.Account{CreateTime: time.Now()}
	for before, want := range map[time.Duration]bool{-time.Hour: true, 0: true, time.Second: true, time.Hour: false} {
		if got := happenedTo(a, &eventlog.Entry{Stored: a.CreateTime.Add(-before)}); got != want {
			t.Errorf("an event %s before: %t", before, got)
		}
	}
}

// Without a caller nothing is there, and no connection is lent.
func TestNobodySeesNothing(t *testing.T) {
	t.Parallel()
	g := builtOfNothing()
	for name, ctx := range map[string]context.Context{
		"no caller": t.Context(),
		"no scopes": access.With(t.Context(), access.Principal{ID: "x", Grant: access.Grant{Accounts: []string{"ann"}}}),
		"bob's":     access.With(t.Context(), access.Principal{ID: "x", Grant: access.Grant{Scopes: access.Scopes(), Accounts: []string{"bob"}}}),
	} {
		err := g.messages.mailboxes.Do(ctx, "ann", "INBOX", nil, func(*imapconn.Conn) error { return nil })
		if classify(ctx, err).reason != reasonAccountNotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
}
