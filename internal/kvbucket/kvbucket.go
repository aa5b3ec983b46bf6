// Package kvbucket is what all who keep records in NATS buckets have in common.
package kvbucket

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go/jetstream"
)

// Each gives every record of a bucket whose key one of the patterns matches, as it
// is now. It fails when the watch ends before all were given.
func Each(ctx context.Context, kv jetstream.KeyValue, patterns []string, take func(jetstream.KeyValueEntry)) error {
	watcher, err := kv.WatchFiltered(ctx, patterns, jetstream.IgnoreDeletes())
	if err != nil {
		return err
	}
	defer Stop(watcher)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case entry, ok := <-watcher.Updates():
			switch {
			case !ok:
				return errors.New("the watch has ended")
			case entry == nil:
				return nil
			}
			take(entry)
		}
	}
}

// Stop ends a watcher. Its channel is emptied, because the NATS client waits for
// room in it before it lets go of the subscription.
func Stop(watcher jetstream.KeyWatcher) {
	// An error means that the connection is gone, and the watch with it.
	_ = watcher.Stop()
	for range watcher.Updates() {
	}
}
