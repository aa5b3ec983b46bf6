package webhook

import (
	"context"
	"errors"
	"fmt"

	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/eventlog"
)

// tell puts the event that the webhook was disabled into the log, unless it is
// there. The settings say whether that is still to be done, so a crash between
// the two is made good by whoever sees them next.
func (e *endpoint) tell(ctx context.Context) {
	if !e.hook.untold {
		return
	}
	for ctx.Err() == nil {
		err := e.Webhooks.tell(ctx, e.hook)
		if err == nil || errors.Is(err, ErrNotFound) {
			return
		}
		if ctx.Err() == nil {
			e.config.Logger.Warn("tell that a webhook was disabled", "webhook", e.hook.ID, "error", err)
			pause(ctx, restartPause)
		}
	}
}

func (w *Webhooks) tell(ctx context.Context, hook *Webhook) error {
	e := event.New(event.System, 0, hook.DisableTime, &event.WebhookDisabled{
		WebhookRef: event.WebhookRef{Webhook: event.WebhookName(hook.ID)},
		Reason:     string(hook.Disabled), Detail: hook.LastError, Occasion: hook.occasion,
	})
	if err := w.append(ctx, e); err != nil {
		return fmt.Errorf("append %s: %w", e.Type, err)
	}
	_, err := w.registry.update(ctx, hook.ID, "", func(now *Webhook) error {
		if now.occasion == hook.occasion {
			now.untold = false
		}
		return nil
	})
	return err
}

// appendAttempts bounds how often an event is tried to be put into the log because
// somebody else was faster.
const appendAttempts = 20

// append puts an event into the log that is not of an account, once, whichever
// nodes try to. The writer that comes second is refused, and looks again.
func (w *Webhooks) append(ctx context.Context, e event.Event) error {
	for range appendAttempts {
		writer, err := w.config.Log.Writer(ctx, event.System, 0)
		if err != nil {
			return err
		}
		there, err := w.inLog(ctx, e)
		if there || err != nil {
			return err
		}
		_, err = writer.Append(ctx, e)
		var fenced *eventlog.FencedError
		var duplicate *eventlog.DuplicateError
		switch {
		case errors.As(err, &duplicate):
			return nil
		case errors.As(err, &fenced):
			continue
		}
		return err
	}
	return errors.New("others were faster each time")
}

// inLog reports whether the log has an event already. There are few of its kind.
func (w *Webhooks) inLog(ctx context.Context, e event.Event) (bool, error) {
	filter := eventlog.Filter{Accounts: []string{e.Account}, Types: []event.Type{e.Type}}
	for cursor := (eventlog.Cursor{}); ; {
		entries, next, err := w.config.Log.List(ctx, filter, cursor, eventlog.MaxPage)
		if err != nil {
			return false, err
		}
		for _, entry := range entries {
			if entry.ID == e.ID {
				return true, nil
			}
		}
		if len(entries) < eventlog.MaxPage {
			return false, nil
		}
		cursor = next
	}
}
