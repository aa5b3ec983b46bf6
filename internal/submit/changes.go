package submit

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// Changes calls changed with each submission of which there may be something to tell:
// at first those of which there was before, then whenever one is written, by whatever
// node. It returns when ctx ends, with nil, or when the store fails.
func (s *Store) Changes(ctx context.Context, changed func(account, id string)) error {
	if err := s.changes(ctx, changed); ctx.Err() == nil {
		return err
	}
	return nil
}

func (s *Store) changes(ctx context.Context, changed func(account, id string)) error {
	// Before the list of what there is, so that nothing falls in between.
	updates, stop, err := s.watch(ctx, jetstream.MetaOnly())
	if err != nil {
		return err
	}
	defer stop()
	open, err := s.keys(ctx, openPrefix+">")
	if err != nil {
		return err
	}
	for _, key := range open {
		changed(split(key))
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case entry, ok := <-updates:
			if !ok {
				return fmt.Errorf("the watch on the submissions has ended")
			}
			changed(split(entry.Key()))
		}
	}
}
