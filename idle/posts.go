package idle

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/imapconn"
)

// posts are connections that idle on folders other than INBOX, each on one. All
// that a post does about a change is to hand the folder's name to the owner.
type posts struct {
	owner *owner
	wg    sync.WaitGroup
	all   map[string]*post
}

// post is one of them. Its goroutine alone touches the connection.
type post struct {
	name    string
	account *account.Account
	cancel  context.CancelFunc

	mu       sync.Mutex
	stands   bool // it idles at present
	failures int  // in a row, until it stood for a while
	err      error
}

// keep sees to it that there is a post for each of the names, and no other. They
// end with ctx.
func (p *posts) keep(ctx context.Context, names []string) {
	for name, post := range p.all {
		if !slices.Contains(names, name) {
			post.cancel()
			delete(p.all, name)
		}
	}
	for _, name := range names {
		if p.all[name] != nil {
			continue
		}
		if p.all == nil {
			p.all = make(map[string]*post)
		}
		postCtx, cancel := context.WithCancel(ctx)
		post := &post{name: name, account: p.owner.account, cancel: cancel}
		p.all[name] = post
		p.wg.Go(func() { p.owner.man(postCtx, post) })
	}
}

// end ends all posts and waits for them.
func (p *posts) end() {
	for _, post := range p.all {
		post.cancel()
	}
	p.wg.Wait()
	p.all = nil
}

// trouble is a folder that has no post although it is to have one, and why.
func (p *posts) trouble() (name string, err error) {
	for _, candidate := range slices.Sorted(maps.Keys(p.all)) {
		post := p.all[candidate]
		post.mu.Lock()
		failed, failure := !post.stands && post.failures >= patience, post.err
		post.mu.Unlock()
		if failed {
			return candidate, failure
		}
	}
	return "", nil
}

// man keeps a connection that idles on the post's folder.
func (o *owner) man(ctx context.Context, p *post) {
	wait := backoff{cap: o.config.RetryCap}
	for {
		began := time.Now()
		err := o.standAt(ctx, p)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > healthyAfter {
			wait.reset()
			p.forgive()
		}
		delay := retryDelay(wait.next(), err)
		o.log.Info("a connection that idles on a folder failed", "error", err, "wait", delay)
		p.fails(err)
		o.changed.folder(p.name) // until then the owner has to look, and to tell
		if pause(ctx, delay) != nil {
			return
		}
	}
}

func (p *post) fails(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stands, p.failures, p.err = false, p.failures+1, err
	if imapconn.IsConnectionLimit(err) {
		p.failures = max(p.failures, patience) // there is no use in waiting to tell
	}
}

func (p *post) forgive() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failures = 0
}

func (p *post) standing() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stands = true
}

// standAt idles on a folder until something fails.
func (o *owner) standAt(ctx context.Context, p *post) error {
	conn, err := o.config.Connector.Dial(ctx, p.account)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Select(ctx, p.name, &imapconn.SelectOptions{ReadOnly: true}); err != nil {
		return err
	}
	if _, err := conn.Idle(ctx, 0); err != nil {
		return err
	}
	p.standing()
	o.changed.folder(p.name) // what came before
	var restless restless
	for {
		activity, err := conn.Idle(ctx, spread(o.config.LinkTimeout/2))
		if err != nil {
			return err
		}
		hints := activity.Updates
		if activity.Reason == imapconn.ActivityTimeout {
			conn.QueueIdle()
			if err := conn.Noop(ctx); err != nil { // proves that the link is alive
				return err
			}
			hints = conn.Updates()
		}
		if hints.Mailbox() {
			o.changed.folder(p.name)
		}
		// Here only IDLE that the server ends by itself is for nothing.
		if err := pause(ctx, restless.after(activity.Reason == imapconn.ActivityEnded)); err != nil {
			return err
		}
	}
}

// pause waits for a time.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// postNames are the folders to idle on beside INBOX: those that the account
// names, as far as they are there, the server does not tell of them anyway, and
// the provider allows enough connections.
func (o *owner) postNames() []string {
	var names []string
	for _, path := range o.account.Watch.IdleFolders {
		for _, f := range o.names {
			if f != o.inbox && !f.excluded && !o.covered(f) && strings.Join(f.Path(), "/") == path {
				names = append(names, f.Name)
			}
		}
	}
	provider := imapconn.ProviderOf(o.account.IMAP.Host)
	if provider.Connections > 0 {
		free := provider.Connections - 1 - provider.PoolSize(imapconn.DefaultPoolSize)
		names = names[:min(len(names), max(free, 0))]
	}
	return names
}
