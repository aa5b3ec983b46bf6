package webhook

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/postern-mail/postern/internal/kvbucket"
)

const (
	// maxInFlight bounds the requests of a node, so that many slow endpoints
	// together do not take all of its file descriptors.
	maxInFlight = 2048
	// maxOpening bounds how many webhooks ask for their place in the log at a
	// time: at the start all of them do.
	maxOpening = 32
	// restartPause is how long the dispatcher waits after a failure of NATS.
	restartPause = time.Second
)

// dispatcher sends events on one node. The goroutine of Run alone changes the
// set of endpoints.
type dispatcher struct {
	*Webhooks
	bodies   *bodyCache
	inFlight *semaphore.Weighted
	opening  *semaphore.Weighted

	mu        sync.Mutex
	endpoints map[string]*endpoint

	// deliveries are under way; they outlast the endpoint's settings, and Run
	// waits for them.
	deliveries sync.WaitGroup
}

// Run sends events until ctx ends; then it waits for the requests that are
// under way, at most for the time-out of one. Nodes that share a NATS share the
// work. bodies is asked for the messages of webhooks with [FullBody].
func (w *Webhooks) Run(ctx context.Context, bodies Bodies) error {
	d := &dispatcher{
		Webhooks: w, bodies: newBodyCache(bodies), inFlight: semaphore.NewWeighted(maxInFlight),
		opening:   semaphore.NewWeighted(maxOpening),
		endpoints: make(map[string]*endpoint),
	}
	logCtx, stopLog := context.WithCancel(context.WithoutCancel(ctx))
	var logged sync.WaitGroup
	logged.Go(func() { w.attempts.run(logCtx) })
	defer func() {
		stopLog()
		logged.Wait()
		w.attempts.flush()
		w.sender.close()
	}()
	if err := w.tidy(ctx); err != nil && ctx.Err() == nil {
		w.config.Logger.Warn("remove what is left of deleted webhooks", "error", err)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { d.follow(ctx); return nil })
	group.Go(func() error { d.takeDue(ctx); return nil })
	err := group.Wait()
	d.stopAll()
	d.deliveries.Wait()
	return err
}

// follow keeps an endpoint for each webhook that there is, until ctx ends.
func (d *dispatcher) follow(ctx context.Context) {
	kvbucket.Follow(ctx, d.conn, restartPause, func(reconnected <-chan nats.Status) bool {
		again, err := d.followOnce(ctx, reconnected)
		if err != nil && ctx.Err() == nil {
			d.config.Logger.Warn("watch the webhooks", "error", err)
		}
		return again
	})
}

// followOnce reads all webhooks and then their changes, until the watch or ctx
// ends. Again says that the connection was lost and is back, or that there are other
// keys, with which what could not be read may open.
func (d *dispatcher) followOnce(ctx context.Context, reconnected <-chan nats.Status) (again bool, err error) {
	watcher, err := d.registry.kv.WatchFiltered(ctx, []string{webhookPrefix + "*", healthPrefix + "*"})
	if err != nil {
		return false, err
	}
	defer kvbucket.Stop(watcher)
	seen := make(map[string]bool)
	changed := d.registry.box.Changed()
	var otherKeys <-chan struct{} // nil as long as all has been readable
	for {
		select {
		case <-ctx.Done():
			return false, nil
		case <-otherKeys:
			return true, nil
		case <-reconnected:
			return true, nil
		case update, ok := <-watcher.Updates():
			switch {
			case !ok:
				return false, nil
			case update == nil: // the end of what was there
				d.keepOnly(seen)
				seen = nil
			default:
				id, err := d.take(ctx, update)
				if err != nil {
					otherKeys = changed
				} else if id != "" && seen != nil {
					seen[id] = true
				}
			}
		}
	}
}

// take brings one update into the endpoints. It gives the id of a webhook that
// is there, and fails for one that cannot be read.
func (d *dispatcher) take(ctx context.Context, update jetstream.KeyValueEntry) (there string, err error) {
	gone := update.Operation() != jetstream.KeyValuePut
	if id, ok := strings.CutPrefix(update.Key(), healthPrefix); ok {
		h := healthRecord{}
		if !gone {
			h = decodeHealth(update.Value())
		}
		if e := d.endpoint(id); e != nil {
			e.health.learn(h)
		}
		return "", nil
	}
	id := strings.TrimPrefix(update.Key(), webhookPrefix)
	if gone {
		d.replace(ctx, id, nil)
		return "", nil
	}
	found, err := decode(d.registry.box, id, update.Value(), update.Revision())
	if err != nil {
		d.config.Logger.Error("a webhook is left out", "webhook", id, "error", err)
		d.replace(ctx, id, nil)
		return "", err
	}
	d.replace(ctx, id, found.Webhook)
	return id, nil
}

func (d *dispatcher) endpoint(id string) *endpoint {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.endpoints[id]
}

// keepOnly drops the endpoints that a complete reading did not show.
func (d *dispatcher) keepOnly(seen map[string]bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, e := range d.endpoints {
		if !seen[id] {
			d.known.put(id, nil)
			e.stop()
			delete(d.endpoints, id)
		}
	}
}

// replace puts an endpoint for a webhook's present settings in the place of the
// one before; nil only ends that. What was under way with the former settings
// comes to its end. Its health goes on.
func (d *dispatcher) replace(ctx context.Context, id string, hook *Webhook) {
	d.known.put(id, hook)
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.endpoints[id]
	if before != nil {
		if hook != nil && before.hook.Etag == hook.Etag {
			return
		}
		before.stop()
		delete(d.endpoints, id)
	}
	if hook == nil {
		return
	}
	e := newEndpoint(d, hook)
	if before != nil && before.hook.Disabled == hook.Disabled {
		e.health = before.health
	}
	d.endpoints[id] = e
	ctx, e.stop = context.WithCancel(ctx)
	d.deliveries.Go(func() { e.run(ctx) })
}

func (d *dispatcher) stopAll() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.endpoints {
		e.stop()
	}
}

// takeDue hands out the parked events whose time has come, until ctx ends.
func (d *dispatcher) takeDue(ctx context.Context) {
	for ctx.Err() == nil {
		err := d.retries.due(ctx, d.config.AckWait, func(j dueJob) { d.takeOne(ctx, j) })
		if ctx.Err() == nil {
			d.config.Logger.Info("reading the due events of webhooks anew", "error", err)
			pause(ctx, restartPause)
		}
	}
}

// takeOne hands a due event to its endpoint.
func (d *dispatcher) takeOne(ctx context.Context, j dueJob) {
	if e := d.endpoint(j.webhook); e != nil {
		e.takeDue(ctx, j)
		return
	}
	// Deleted, or so new that this node has not heard of it.
	_, err := d.registry.load(ctx, j.webhook)
	if errors.Is(err, ErrNotFound) {
		_ = j.msg.Ack() // else it comes again
		return
	}
	_ = j.msg.NakWithDelay(restartPause)
}

// pause waits, or returns when ctx ends.
func pause(ctx context.Context, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
