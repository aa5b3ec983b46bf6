package submit

import (
	"context"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/kvbucket"
)

// shard is the bucket of a submission.
func (s *Store) shard(id string) jetstream.KeyValue { return s.shards[shardOf(id)] }

// revisions are the highest that the shards have given.
func (s *Store) revisions(ctx context.Context) (last [shardCount]uint64, err error) {
	for i, kv := range s.shards {
		status, err := kv.Status(ctx)
		if err != nil {
			return last, fmt.Errorf("read the state of bucket %s: %w", kv.Bucket(), err)
		}
		info, ok := status.(*jetstream.KeyValueBucketStatus)
		if !ok {
			return last, fmt.Errorf("read the state of bucket %s: it is %T", kv.Bucket(), status)
		}
		last[i] = info.StreamInfo().State.LastSeq
	}
	return last, nil
}

// watch watches the submissions in all shards, from now on. The channel is closed when
// one of them can be watched no more, or by stop.
func (s *Store) watch(ctx context.Context, options ...jetstream.WatchOpt) (updates <-chan jetstream.KeyValueEntry, stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	all := make(chan jetstream.KeyValueEntry)
	var forwarding sync.WaitGroup
	options = append(options, jetstream.UpdatesOnly(), jetstream.IgnoreDeletes())
	for _, kv := range s.shards {
		watcher, err := kv.Watch(ctx, submissionPrefix+">", options...)
		if err != nil {
			cancel()
			forwarding.Wait()
			return nil, nil, fmt.Errorf("watch the submissions: %w", err)
		}
		forwarding.Go(func() {
			defer cancel() // of the others, too
			defer kvbucket.Stop(watcher)
			forward(ctx, watcher, all)
		})
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		forwarding.Wait()
		close(all)
	}()
	return all, func() { cancel(); <-ended }, nil
}

// forward hands on what a watcher sees, until one of the two ends.
func forward(ctx context.Context, watcher jetstream.KeyWatcher, to chan<- jetstream.KeyValueEntry) {
	for {
		select {
		case <-ctx.Done():
			return
		case entry, ok := <-watcher.Updates():
			if !ok {
				return
			}
			if entry == nil {
				continue
			}
			select {
			case to <- entry:
			case <-ctx.Done():
				return
			}
		}
	}
}
