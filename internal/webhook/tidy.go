package webhook

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// tidy removes what deleted webhooks and replays have left behind, as a crash in
// the middle of either does.
func (w *Webhooks) tidy(ctx context.Context) error {
	// What is there is listed before the webhooks are: what is made meanwhile
	// is left alone.
	names, err := w.config.Log.Durables(ctx, readersPrefix)
	if err != nil {
		return err
	}
	left, err := w.withMessages(ctx)
	if err != nil {
		return err
	}
	generations := make(map[string]uint64)
	err = w.registry.readAll(ctx, func(entry jetstream.KeyValueEntry) {
		id, ok := strings.CutPrefix(entry.Key(), webhookPrefix)
		if !ok {
			return
		}
		generations[id] = 0
		if found, err := decode(w.registry.box, id, entry.Value(), entry.Revision()); err == nil {
			generations[id] = found.begin.generation
		}
	})
	if err != nil {
		return err
	}
	for _, name := range names {
		id, generation, ok := readerOf(name)
		if current, there := generations[id]; ok && (!there || generation < current) {
			err = errors.Join(err, w.config.Log.RemoveDurable(ctx, name))
		}
	}
	for id := range left {
		if _, there := generations[id]; !there {
			err = errors.Join(err, w.forgetMessages(ctx, id))
		}
	}
	return err
}

// forgetMessages removes what is kept of a webhook beside its settings and its
// place in the log.
func (w *Webhooks) forgetMessages(ctx context.Context, id string) error {
	return errors.Join(
		w.retries.forget(ctx, id), w.dead.forget(ctx, id), w.attempts.forget(ctx, id),
		w.registry.kv.Purge(ctx, healthPrefix+id, jetstream.PurgeTTL(markerTTL)))
}

// withMessages lists the ids of webhooks that the streams have something of.
func (w *Webhooks) withMessages(ctx context.Context) (map[string]bool, error) {
	found := make(map[string]bool)
	for _, one := range []struct {
		stream jetstream.Stream
		prefix string
	}{
		{w.retries.stream, parkedPrefix}, {w.retries.stream, duePrefix},
		{w.dead.stream, deadPrefix}, {w.attempts.stream, logPrefix},
	} {
		info, err := one.stream.Info(ctx, jetstream.WithSubjectFilter(one.prefix+">"))
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", one.prefix, err)
		}
		for subject := range info.State.Subjects {
			id, _, _ := strings.Cut(strings.TrimPrefix(subject, one.prefix), ".")
			found[id] = true
		}
	}
	return found, nil
}
