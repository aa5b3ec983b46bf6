package gateway

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/postern-mail/postern/internal/access"
	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/eventlog"
	"github.com/postern-mail/postern/internal/requestid"
	"github.com/postern-mail/postern/internal/webhook"
)

// visibleWebhooks are the webhooks that exist for who calls: those that can never
// send an event of an account which the caller does not see. It is to webhooks what
// [visibleAccounts] is to accounts.
type visibleWebhooks struct {
	all      *webhook.Webhooks
	accounts visibleAccounts
}

// coversWebhook reports whether all that a webhook may send, now and later, is of
// accounts that the grant holds for. A webhook sends what both its accounts and its
// labels choose, so one of them that keeps within the grant is enough.
func coversWebhook(grant access.Grant, hook *webhook.Webhook) bool {
	if grant.SeesAll() || grant.SeesLabelled(hook.AccountLabels) {
		return true
	}
	return len(hook.Accounts) > 0 && !slices.ContainsFunc(hook.Accounts, func(id string) bool { return !grant.Sees(id, nil) })
}

// covers reports whether a webhook exists for the caller. Folders of others would never
// be chosen by it, but it names them.
func (v visibleWebhooks) covers(ctx context.Context, hook *webhook.Webhook) bool {
	return coversWebhook(access.From(ctx).Grant, hook) &&
		!slices.ContainsFunc(hook.Folders, func(name string) bool { return v.accounts.check(ctx, accountOfFolder(name)) != nil })
}

// accountOfFolder is the id of the account in the name of a folder.
func accountOfFolder(name string) string {
	account, _, _ := strings.Cut(name, "/folders/")
	return accountID(account)
}

// mayHave refuses settings with which a webhook would lie outside of what the caller
// sees.
func (v visibleWebhooks) mayHave(ctx context.Context, hook *webhook.Webhook) error {
	grant := access.From(ctx).Grant
	if coversWebhook(grant, hook) {
		return nil // its folders were looked at with its accounts
	}
	if len(grant.Labels) > 0 {
		return exceedsGrant("webhook.account_labels",
			"The token is bound to accounts with the labels %s, and so are its webhooks: give the webhook these account_labels.", labelList(grant.Labels))
	}
	return exceedsGrant("webhook.accounts", "The token is bound to some accounts, and so are its webhooks: name the accounts that the webhook is for.")
}

// check fails with [webhook.ErrNotFound] for a webhook that the caller does not see.
func (v visibleWebhooks) check(ctx context.Context, id string) error {
	if access.From(ctx).SeesAll() {
		return nil
	}
	_, err := v.Get(ctx, id)
	return err
}

// Get reads a webhook. It fails with [webhook.ErrNotFound].
func (v visibleWebhooks) Get(ctx context.Context, id string) (*webhook.Webhook, error) {
	if access.From(ctx).SeesAll() {
		return v.all.Get(ctx, id)
	}
	return v.all.GetSeen(ctx, id, func(hook *webhook.Webhook) bool { return v.covers(ctx, hook) })
}

// List lists as [webhook.Webhooks.List] does.
func (v visibleWebhooks) List(ctx context.Context, after string, limit int) ([]*webhook.Webhook, bool, error) {
	return v.all.List(ctx, func(hook *webhook.Webhook) bool { return v.covers(ctx, hook) }, after, limit)
}

// Create makes a webhook, see [webhook.Webhooks.Create]. Who does not see all
// chooses no id: those that are taken would tell which webhooks there are.
func (v visibleWebhooks) Create(ctx context.Context, hook *webhook.Webhook, requestID string) (*webhook.Webhook, error) {
	if !access.From(ctx).SeesAll() && hook.ID != "" {
		return nil, exceedsGrant("webhook_id", "The token is bound to some accounts: leave webhook_id out, so that one is chosen.")
	}
	if err := v.mayHave(ctx, hook); err != nil {
		return nil, err
	}
	made, err := v.all.Create(ctx, hook, ownRequestID(ctx, requestID))
	if err == nil && !v.covers(ctx, made) {
		// That of a first call, which somebody has changed since.
		return nil, requestid.ErrReused
	}
	return made, err
}

// Update changes a webhook, see [webhook.Webhooks.Update].
func (v visibleWebhooks) Update(ctx context.Context, id, etag string, change func(*webhook.Webhook) error) (*webhook.Webhook, error) {
	if err := v.check(ctx, id); err != nil {
		return nil, err
	}
	return v.all.Update(ctx, id, etag, func(hook *webhook.Webhook) error {
		if err := change(hook); err != nil {
			return err
		}
		return v.mayHave(ctx, hook)
	})
}

// Delete removes a webhook, see [webhook.Webhooks.Delete].
func (v visibleWebhooks) Delete(ctx context.Context, id, etag string) error {
	if err := v.check(ctx, id); err != nil {
		return err
	}
	return v.all.Delete(ctx, id, etag)
}

// Test sends a test event, see [webhook.Webhooks.Test].
func (v visibleWebhooks) Test(ctx context.Context, id string) (*webhook.Attempt, error) {
	if err := v.check(ctx, id); err != nil {
		return nil, err
	}
	return v.all.Test(ctx, id)
}

// RotateSecret replaces the secret, see [webhook.Webhooks.RotateSecret].
func (v visibleWebhooks) RotateSecret(ctx context.Context, id, etag string, overlap time.Duration) (*webhook.Webhook, error) {
	if err := v.check(ctx, id); err != nil {
		return nil, err
	}
	return v.all.RotateSecret(ctx, id, etag, overlap)
}

// Enable sends events again, see [webhook.Webhooks.Enable].
func (v visibleWebhooks) Enable(ctx context.Context, id string) (*webhook.Webhook, error) {
	if err := v.check(ctx, id); err != nil {
		return nil, err
	}
	return v.all.Enable(ctx, id)
}

// Disable stops sending events, see [webhook.Webhooks.Disable].
func (v visibleWebhooks) Disable(ctx context.Context, id string) (*webhook.Webhook, error) {
	if err := v.check(ctx, id); err != nil {
		return nil, err
	}
	return v.all.Disable(ctx, id)
}

// Replay goes on from another place in the log, see [webhook.Webhooks.Replay].
func (v visibleWebhooks) Replay(ctx context.Context, id string, from eventlog.Place) (*webhook.Webhook, error) {
	if err := v.check(ctx, id); err != nil {
		return nil, err
	}
	return v.all.Replay(ctx, id, from)
}

// Backlog counts what waits to be sent, see [webhook.Webhooks.Backlog].
func (v visibleWebhooks) Backlog(ctx context.Context, hook *webhook.Webhook) (webhook.Backlog, error) {
	return v.all.Backlog(ctx, hook)
}

// seesAccount reports whether the caller sees an account that a webhook has sent an
// event of. It may have sent those of others before it was changed.
func (v visibleWebhooks) seesAccount(ctx context.Context) func(id string) bool {
	return func(id string) bool { return id == event.System || v.accounts.check(ctx, id) == nil }
}

// Attempts lists what was tried, see [webhook.Webhooks.Attempts].
func (v visibleWebhooks) Attempts(ctx context.Context, id string, below uint64) ([]webhook.Attempt, error) {
	if err := v.check(ctx, id); err != nil {
		return nil, err
	}
	attempts, err := v.all.Attempts(ctx, id, below)
	sees := v.seesAccount(ctx)
	return slices.DeleteFunc(attempts, func(a webhook.Attempt) bool { return !sees(a.Account) }), err
}

// DeadLetters lists what was given up, see [webhook.Webhooks.DeadLetters].
func (v visibleWebhooks) DeadLetters(ctx context.Context, id string, after uint64, limit int) ([]webhook.DeadLetter, uint64, error) {
	if err := v.check(ctx, id); err != nil {
		return nil, 0, err
	}
	letters, next, err := v.all.DeadLetters(ctx, id, after, limit)
	sees := v.seesAccount(ctx)
	return slices.DeleteFunc(letters, func(l webhook.DeadLetter) bool { return !sees(l.Account) }), next, err
}

// checkLetters fails with [webhook.ErrDeadLetterNotFound] for dead letters that the
// caller does not see.
func (v visibleWebhooks) checkLetters(ctx context.Context, id string, events ...string) error {
	if err := v.check(ctx, id); err != nil || access.From(ctx).SeesAll() {
		return err
	}
	sees := v.seesAccount(ctx)
	for _, one := range events {
		letter, err := v.all.DeadLetter(ctx, id, one)
		if err != nil {
			return err
		}
		if !sees(letter.Account) {
			return fmt.Errorf("event %s of webhook %s: %w", one, id, webhook.ErrDeadLetterNotFound)
		}
	}
	return nil
}

// Redrive sends dead letters anew, see [webhook.Webhooks.Redrive], which leaves
// alone what the webhook does not choose any more, and so what the caller does not
// see.
func (v visibleWebhooks) Redrive(ctx context.Context, id string, events []string) (int, error) {
	if err := v.checkLetters(ctx, id, events...); err != nil {
		return 0, err
	}
	return v.all.Redrive(ctx, id, events)
}

// DropDeadLetter deletes a dead letter, see [webhook.Webhooks.DropDeadLetter].
func (v visibleWebhooks) DropDeadLetter(ctx context.Context, id, eventID string) error {
	if err := v.checkLetters(ctx, id, eventID); err != nil {
		return err
	}
	return v.all.DropDeadLetter(ctx, id, eventID)
}
