package gateway

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/postern-mail/postern/internal/access"
	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/eventlog"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/requestid"
)

// visibleAccounts are the accounts that exist for who calls. It is the one place
// where that is decided: services look accounts up here and nowhere else, and so
// find of one that their caller may not see what they find of one that there is
// not. Without a caller there are none: what the gateway does of its own accord
// says so, see [inside].
type visibleAccounts struct{ all *account.Registry }

// insideID is the gateway's own name.
const insideID = "gateway"

// inside is for what the gateway does of its own accord, for nobody who calls.
func inside(ctx context.Context) context.Context {
	return access.With(ctx, access.Principal{ID: insideID, Grant: access.Everything()})
}

// Get implements accountReader.
func (v visibleAccounts) Get(ctx context.Context, id string) (*account.Account, error) {
	grant := access.From(ctx).Grant
	switch {
	case grant.Sees(id, nil): // whatever its labels
		return v.all.Get(ctx, id)
	case len(grant.Labels) == 0:
		return nil, &account.NotFoundError{ID: id}
	}
	return v.all.GetSeen(ctx, id, func(a *account.Account) bool { return grant.Sees(a.ID, a.Labels) })
}

// check fails with [account.ErrNotFound] for an account that the caller does not
// see. Of those that they see whatever the labels, it does not know whether they
// are there.
func (v visibleAccounts) check(ctx context.Context, id string) error {
	if access.From(ctx).Sees(id, nil) {
		return nil
	}
	_, err := v.Get(ctx, id)
	return err
}

// List lists as [account.Registry.List] does.
func (v visibleAccounts) List(ctx context.Context, match func(*account.Account) bool, after string, limit int) ([]*account.Account, bool) {
	grant := access.From(ctx).Grant
	return v.all.List(account.Filter{Match: func(a *account.Account) bool { return grant.Sees(a.ID, a.Labels) && match(a) }}, after, limit)
}

// mayHave refuses settings with which an account would lie outside of what the
// caller sees. Who sees accounts by their labels chooses no ids: those that are
// taken would tell which accounts there are.
func (v visibleAccounts) mayHave(ctx context.Context, a *account.Account) error {
	grant := access.From(ctx).Grant
	switch {
	case grant.SeesAll(), slices.Contains(grant.Accounts, a.ID), a.ID == "" && grant.SeesLabelled(a.Labels):
		return nil
	case len(grant.Labels) == 0:
		return exceedsGrant("account_id", "The token is bound to accounts by their ids: account_id must be one of them.")
	case grant.SeesLabelled(a.Labels):
		return exceedsGrant("account_id", "The token is bound to accounts by their labels: leave account_id out, so that one is chosen.")
	}
	return exceedsGrant("account.labels", "The token is bound to accounts with the labels %s: give the account those, and leave account_id out.", labelList(grant.Labels))
}

// Create registers an account, see [account.Registry.Create].
func (v visibleAccounts) Create(ctx context.Context, a *account.Account, requestID string) (*account.Account, error) {
	if err := v.mayHave(ctx, a); err != nil {
		return nil, err
	}
	made, err := v.all.Create(ctx, a, ownRequestID(ctx, requestID))
	if err == nil && !access.From(ctx).Sees(made.ID, made.Labels) {
		// The account of a first call, which somebody has taken from them since.
		return nil, requestid.ErrReused
	}
	return made, err
}

// Update changes an account, see [account.Registry.Update].
func (v visibleAccounts) Update(ctx context.Context, id, etag string, change func(*account.Account) error) (*account.Account, error) {
	if err := v.check(ctx, id); err != nil {
		return nil, err
	}
	grant := access.From(ctx).Grant
	return v.all.Update(ctx, id, etag, func(a *account.Account) error {
		if err := change(a); err != nil {
			return err
		}
		if !grant.Sees(id, a.Labels) {
			return exceedsGrant("account.labels", "The token is bound to accounts with the labels %s, and the account would not have them any more.", labelList(grant.Labels))
		}
		return nil
	})
}

// Delete removes an account, see [account.Registry.Delete].
func (v visibleAccounts) Delete(ctx context.Context, id, etag string) error {
	if err := v.check(ctx, id); err != nil {
		return err
	}
	return v.all.Delete(ctx, id, etag)
}

// SetPaused has an account watched or not, see [account.Registry.SetPaused].
func (v visibleAccounts) SetPaused(ctx context.Context, id string, paused bool) (*account.Account, error) {
	if err := v.check(ctx, id); err != nil {
		return nil, err
	}
	return v.all.SetPaused(ctx, id, paused)
}

// Reconnect asks for new connections, see [account.Registry.Reconnect].
func (v visibleAccounts) Reconnect(ctx context.Context, id string) (*account.Account, error) {
	if err := v.check(ctx, id); err != nil {
		return nil, err
	}
	return v.all.Reconnect(ctx, id)
}

// Resync asks for a comparison of everything, see [account.Registry.Resync].
func (v visibleAccounts) Resync(ctx context.Context, id string) (*account.Account, error) {
	if err := v.check(ctx, id); err != nil {
		return nil, err
	}
	return v.all.Resync(ctx, id)
}

// reborn is how much older than its account an event may seem to be, because the
// clocks of nodes differ.
const reborn = time.Minute

// sees tells which events exist for the caller, by the labels that accounts have
// when it is asked. nil means all. What is about no account is seen by those who
// see all.
//
// Labels belong to the mailbox that has them: what happened to a former one with
// the same id is not shown to those who see it by its labels.
func (v visibleAccounts) sees(ctx context.Context) func(*eventlog.Entry) bool {
	grant := access.From(ctx).Grant
	if grant.SeesAll() {
		return nil
	}
	ctx = context.WithoutCancel(ctx) // labels change, and are looked at as long as somebody watches
	return func(e *eventlog.Entry) bool {
		if grant.Sees(e.Account, nil) {
			return true
		}
		if len(grant.Labels) == 0 {
			return false
		}
		a, err := v.all.Get(ctx, e.Account)
		return err == nil && grant.Sees(a.ID, a.Labels) && happenedTo(a, e)
	}
}

// happenedTo reports whether an event is of the mailbox that is registered now, and not
// of a former one with the same id.
func happenedTo(a *account.Account, e *eventlog.Entry) bool {
	return e.Stored.After(a.CreateTime.Add(-reborn))
}

// ids are those of the accounts that exist for the caller, nil where they cannot be
// told: the caller sees all, or goes by labels.
func (v visibleAccounts) ids(ctx context.Context) []string {
	grant := access.From(ctx).Grant
	if len(grant.Labels) > 0 {
		return nil
	}
	return grant.Accounts
}

// visibleMailboxes lends the connections of accounts that exist for who calls.
// Services look an account up before; this is for one that forgets, and for an
// account that is taken from the caller while a call goes on.
type visibleMailboxes struct {
	mailboxes
	accounts visibleAccounts
}

// Do implements mailboxes.
func (v visibleMailboxes) Do(ctx context.Context, accountID, mailbox string, opts *imapconn.DoOptions, fn func(*imapconn.Conn) error) error {
	if err := v.accounts.check(ctx, accountID); err != nil {
		return err
	}
	return v.mailboxes.Do(ctx, accountID, mailbox, opts, fn)
}

// ownRequestID keeps apart the request ids of callers who do not see the same: by
// one that somebody else has used, nobody gets the answer that was theirs, nor
// learns that there is one. Those who see all share theirs, so that a token can be
// replaced between two attempts.
func ownRequestID(ctx context.Context, id string) string {
	who := access.From(ctx)
	if id == "" || who.SeesAll() {
		return id
	}
	return who.ID + "\x00" + id
}

// exceedsGrant refuses what lies outside the accounts that the caller's token is
// bound to, the same whether or not it exists.
func exceedsGrant(field, format string, args ...any) *failure {
	return refuse(codes.PermissionDenied, reasonGrantExceeded, format, args...).with("field", field)
}

func labelList(labels map[string]string) string {
	list := make([]string, 0, len(labels))
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		list = append(list, fmt.Sprintf("%s=%s", key, labels[key]))
	}
	return strings.Join(list, ", ")
}
