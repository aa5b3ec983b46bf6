package imapconn

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/postern-mail/postern/internal/dovecottest"
)

// A connection closes that lists what is gone, or does not list what is there.
func TestDovecotFrozenLists(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		change func(*imapclient.Client) error
		stale  StaleListError
	}{
		{"renamed", func(c *imapclient.Client) error { return c.Rename("Old", "New", nil).Wait() }, StaleListError{Mailbox: "Old", Listed: true}},
		{"created", func(c *imapclient.Client) error { return c.Create("New", nil).Wait() }, StaleListError{Mailbox: "New"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			srv := dovecottest.Shared(t)
			username, _ := srv.User(t)
			if err := srv.Client(t, username).Create("Old", nil).Wait(); err != nil {
				t.Fatal(err)
			}
			p := NewPool(PoolConfig{Config: func(context.Context) (Config, error) { return dovecotConfig(srv, username, ModePlaintext), nil }})
			t.Cleanup(func() { _ = p.Close() })
			list := func() (names []string, err error) {
				err = p.Do(testContext(t), "", nil, func(c *Conn) error {
					names, err = listKnowing(testContext(t), c, "New")
					return err
				})
				return names, err
			}
			if names, err := list(); err != nil || slices.Contains(names, "New") {
				t.Fatalf("at first the folders are %q, %v", names, err)
			}
			srv.FreezeLists(t, username)
			if err := tc.change(srv.Client(t, username)); err != nil {
				t.Fatal(err)
			}
			var stale *StaleListError
			if _, err := list(); !errors.As(err, &stale) || *stale != tc.stale {
				t.Errorf("the frozen list: %v, want %v", err, &tc.stale)
			}
			if names, err := list(); err != nil || !slices.Contains(names, "New") {
				t.Errorf("on another connection the folders are %q, %v", names, err)
			}
		})
	}
}

// listKnowing lists the mailboxes, where one is known to others.
func listKnowing(ctx context.Context, c *Conn, known string) (names []string, err error) {
	items := &StatusOptions{StatusOptions: imap.StatusOptions{NumMessages: true}}
	found, err := c.ListStatus(ctx, &ListOptions{Status: items})
	if err != nil {
		return nil, err
	}
	var missing []string
	for i := range found {
		names = append(names, found[i].Name())
	}
	if !slices.Contains(names, known) {
		missing = append(missing, known)
	}
	_, err = c.StatusUnlisted(ctx, missing, items)
	return names, err
}

// What the first list of a connection is like, others would be like as well.
func TestOddLists(t *testing.T) {
	t.Parallel()
	items := &StatusOptions{StatusOptions: imap.StatusOptions{NumMessages: true}}
	opts := &ListOptions{Status: items}
	for _, tc := range []struct {
		name, script string
		want         *StaleListError
	}{
		{name: "odd from the first", script: `
			C: $1 LIST "" "*" RETURN (STATUS (MESSAGES))
			S: * LIST () "/" phantom
			S: $1 OK done
			C: $2 STATUS "hidden" (MESSAGES)
			S: * STATUS hidden (MESSAGES 1)
			S: $2 OK done
			C: $3 LIST "" "*" RETURN (STATUS (MESSAGES))
			S: * LIST () "/" phantom
			S: $3 OK done
			C: $4 STATUS "hidden" (MESSAGES)
			S: * STATUS hidden (MESSAGES 1)
			S: $4 OK done`},
		{name: "gone between the list and its state", script: `
			C: $1 LIST "" "*" RETURN (STATUS (MESSAGES))
			S: $1 OK done
			C: $2 STATUS "hidden" (MESSAGES)
			S: $2 NO there is none
			C: $3 LIST "" "*" RETURN (STATUS (MESSAGES))
			S: * LIST () "/" phantom
			S: $3 OK done
			C: $4 STATUS "phantom" (MESSAGES)
			S: $4 NO there is none
			C: $5 LIST "" "*"
			S: $5 OK done
			C: $6 STATUS "hidden" (MESSAGES)
			S: * STATUS hidden (MESSAGES 1)
			S: $6 OK done
			C: $7 LIST "" "*"
			S: * LIST () "/" hidden
			S: $7 OK done`},
		{name: "there, and only its state is not to be had", script: `
			C: $1 LIST "" "*" RETURN (STATUS (MESSAGES))
			S: $1 OK done
			C: $2 STATUS "hidden" (MESSAGES)
			S: $2 NO there is none
			C: $3 LIST "" "*" RETURN (STATUS (MESSAGES))
			S: * LIST () "/" phantom
			S: $3 OK done
			C: $4 STATUS "phantom" (MESSAGES)
			S: $4 NO [UNAVAILABLE] later
			C: $5 STATUS "hidden" (MESSAGES)
			S: $5 NO there is none`},
		{name: "goes on being listed", want: &StaleListError{Mailbox: "phantom", Listed: true}, script: `
			C: $1 LIST "" "*" RETURN (STATUS (MESSAGES))
			S: $1 OK done
			C: $2 STATUS "hidden" (MESSAGES)
			S: $2 NO there is none
			C: $3 LIST "" "*" RETURN (STATUS (MESSAGES))
			S: * LIST () "/" phantom
			S: $3 OK done
			C: $4 STATUS "phantom" (MESSAGES)
			S: $4 NO there is none
			C: $5 LIST "" "*"
			S: * LIST () "/" phantom
			S: $5 OK done`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := dialScript(t, "LIST-EXTENDED LIST-STATUS", tc.script)
			var err error
			for range 2 {
				if _, err = c.ListStatus(testContext(t), opts); err != nil {
					break
				}
				if _, err = c.StatusUnlisted(testContext(t), []string{"hidden"}, items); err != nil {
					break
				}
			}
			var stale *StaleListError
			switch errors.As(err, &stale); {
			case tc.want == nil && err != nil:
				t.Error(err)
			case tc.want != nil && (stale == nil || *stale != *tc.want || c.Err() == nil):
				t.Errorf("%v, the connection is closed by %v; want %v", err, c.Err(), tc.want)
			}
		})
	}
}
