// Package moves remembers, for some minutes, what became of messages that
// Postern itself has moved.
//
// A move gives a message another name, and only the answer to the command tells
// which (COPYUID, RFC 4315 section 3). The one who sends the command is a
// request, on any node; the one who announces what happened is the owner of the
// mailbox, and it may see the message go and come before the request has its
// answer. So a [Ledger] is told when a move begins and when it has ended, and
// the owner asks it.
//
// Nothing depends on it but how a move is announced: without its record the
// message is announced as deleted and created, with the same email id.
package moves

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/imapwire"
	"github.com/postern-mail/postern/internal/kvbucket"
)

// Bucket is the key-value bucket of moves.
const Bucket = "postern_moves"

const (
	// keep is how long a move is remembered: longer than it takes an owner to
	// look at all folders, or another one to take the account over.
	keep = 15 * time.Minute
	// maxBytes bounds the bucket. When it is full, moves are not remembered.
	maxBytes = 8 << 20
	// maxMoves bounds the moves of one account in memory; the oldest go first.
	maxMoves = 1000
	// patience is how long an owner waits for the end of a move. One that takes
	// longer, or whose node has died, counts as ended.
	patience = 5 * time.Second
	// storeTimeout bounds what remembering costs a request.
	storeTimeout = 2 * time.Second
)

// Move is what is asked of a server: some messages of one folder are to be in
// another.
type Move struct {
	Account string
	// From is the folder that the messages are in. UIDValidity and UIDs are
	// theirs there.
	From        folder.Key
	UIDValidity uint32
	UIDs        imap.UIDSet
	// To is the folder that they are moved to.
	To folder.Key
}

// Ledger remembers moves. Each node has one, and all have the same moves. It is
// safe for concurrent use.
type Ledger struct {
	kv     jetstream.KeyValue
	logger *slog.Logger
	cancel context.CancelFunc
	done   chan struct{}

	mu    sync.Mutex
	moves map[string][]*record // by account, the oldest first
	// changed is closed when a move is taken note of, and made anew.
	changed chan struct{}
}

// record is a move as it is stored.
type record struct {
	ID          string      `json:"id"`
	Account     string      `json:"account"`
	Begun       time.Time   `json:"begun"`
	From        folder.Key  `json:"from"`
	UIDValidity uint32      `json:"uidValidity"`
	UIDs        imap.UIDSet `json:"uids"`
	To          folder.Key  `json:"to"`
	// Ended says that the server has answered. Copied is what it told of the
	// messages' new UIDs, nil for nothing.
	Ended  bool           `json:"ended,omitempty"`
	Copied *imap.CopyData `json:"copied,omitempty"`
}

// Open makes or opens the bucket and returns the ledger that is kept in it.
// replicas is the number of NATS servers that keep a copy. A nil logger is told
// nothing. The caller closes the ledger.
func Open(ctx context.Context, js jetstream.JetStream, replicas int, logger *slog.Logger) (*Ledger, error) {
	kv, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket:      Bucket,
		Description: "What became of messages that Postern moved",
		TTL:         keep,
		MaxBytes:    maxBytes,
		Storage:     jetstream.FileStorage,
		Replicas:    max(replicas, 1),
	})
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", Bucket, err)
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	feedCtx, cancel := context.WithCancel(context.Background())
	l := &Ledger{
		kv: kv, logger: logger, cancel: cancel, done: make(chan struct{}),
		moves: make(map[string][]*record), changed: make(chan struct{}),
	}
	loaded := make(chan struct{})
	go l.feed(feedCtx, js.Conn(), sync.OnceFunc(func() { close(loaded) }))
	select {
	case <-loaded:
		return l, nil
	case <-ctx.Done():
		l.Close()
		return nil, fmt.Errorf("read bucket %s: %w", Bucket, ctx.Err())
	}
}

// Close ends the watch on other nodes' moves. The connection to NATS is the
// caller's and stays open.
func (l *Ledger) Close() {
	l.cancel()
	<-l.done
}

// Run carries a move out by run, which sends the command, and remembers which
// message became which as far as the server tells. It returns what run returns:
// that a move cannot be remembered does not keep it from being made.
func (l *Ledger) Run(ctx context.Context, m Move, run func(context.Context) (*imap.CopyData, error)) (*imap.CopyData, error) {
	rec := &record{
		ID: rand.Text(), Account: m.Account, Begun: time.Now().UTC(),
		From: m.From, UIDValidity: m.UIDValidity, UIDs: m.UIDs, To: m.To,
	}
	// Before the command is sent, for the server pushes before it answers.
	l.store(ctx, rec)
	copied, err := run(ctx)
	ended := *rec
	ended.Ended = true
	if err == nil {
		ended.Copied = copied
	}
	l.store(ctx, &ended)
	return copied, err
}

// store remembers a move here, and for the other nodes and those to come.
func (l *Ledger) store(ctx context.Context, rec *record) {
	l.take(rec)
	// The end of a move is worth remembering though its request was cancelled.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	value, err := json.Marshal(rec)
	if err == nil {
		_, err = l.kv.Put(ctx, rec.Account+"."+rec.ID, value)
	}
	if err != nil {
		l.logger.Warn("remember a move; it is announced as a deletion and a creation", "account", rec.Account, "error", err)
	}
}

// take brings a move, or its end, into memory.
func (l *Ledger) take(rec *record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.moves[rec.Account]
	for len(list) > 0 && (len(list) >= maxMoves || time.Since(list[0].Begun) > keep) {
		list = list[1:]
	}
	known := false
	for i, other := range list {
		if other.ID == rec.ID {
			known = true
			if !other.Ended {
				list[i] = rec
			}
		}
	}
	if !known && time.Since(rec.Begun) <= keep {
		list = append(list, rec)
	}
	if len(list) > 0 {
		l.moves[rec.Account] = list
	} else {
		delete(l.moves, rec.Account)
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

// Source returns where a message was before Postern moved it to where it is.
func (l *Ledger) Source(account string, at folder.MessageID) (folder.MessageID, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, rec := range l.moves[account] {
		if rec.Copied == nil || rec.To != at.Folder || rec.Copied.UIDValidity != at.UIDValidity {
			continue
		}
		// The pairs in the other direction: the n-th became the n-th.
		back := &imap.CopyData{SourceUIDs: rec.Copied.DestUIDs, DestUIDs: rec.Copied.SourceUIDs}
		if uid, ok := imapwire.CopiedTo(back, at.UID); ok {
			return folder.MessageID{Folder: rec.From, UIDValidity: rec.UIDValidity, UID: uid}, true
		}
	}
	return folder.MessageID{}, false
}

// Target returns where Postern moved a message to from where it was.
func (l *Ledger) Target(account string, at folder.MessageID) (folder.MessageID, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, rec := range l.moves[account] {
		if rec.Copied == nil || rec.From != at.Folder || rec.UIDValidity != at.UIDValidity {
			continue
		}
		if uid, ok := imapwire.CopiedTo(rec.Copied, at.UID); ok {
			return folder.MessageID{Folder: rec.To, UIDValidity: rec.Copied.UIDValidity, UID: uid}, true
		}
	}
	return folder.MessageID{}, false
}

// From returns the messages of a folder, under a UIDVALIDITY, that Postern has
// moved to a place that [Ledger.Target] knows.
func (l *Ledger) From(account string, key folder.Key, validity uint32) imap.UIDSet {
	l.mu.Lock()
	defer l.mu.Unlock()
	var uids imap.UIDSet
	for _, rec := range l.moves[account] {
		if rec.Copied != nil && rec.From == key && rec.UIDValidity == validity {
			uids.AddSet(rec.Copied.SourceUIDs)
		}
	}
	return uids
}

// Settle waits until no move from or to a folder is under way, but not longer
// than a few seconds. Its error is ctx's.
func (l *Ledger) Settle(ctx context.Context, account string, key folder.Key) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		underWay, changed := l.underWay(account, key)
		if !underWay {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			l.giveUp(account, key)
			return nil
		}
	}
}

func (r *record) concerns(key folder.Key) bool { return r.From == key || r.To == key }

// underWay reports whether a move from or to the folder is, and when to ask
// again.
func (l *Ledger) underWay(account string, key folder.Key) (bool, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, rec := range l.moves[account] {
		if !rec.Ended && rec.concerns(key) {
			return true, l.changed
		}
	}
	return false, nil
}

// giveUp counts the moves as ended that nobody has told the end of in time: each
// is waited for once.
func (l *Ledger) giveUp(account string, key folder.Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, rec := range l.moves[account] {
		if !rec.Ended && rec.concerns(key) {
			ended := *rec
			ended.Ended = true
			l.moves[account][i] = &ended
		}
	}
}

// feedBackoff is the pause before a watch that failed is set up again.
const feedBackoff = time.Second

// feed takes in what other nodes have moved until ctx ends. It calls loaded when it has
// all that was remembered.
func (l *Ledger) feed(ctx context.Context, conn *nats.Conn, loaded func()) {
	defer close(l.done)
	kvbucket.Follow(ctx, conn, feedBackoff, func(reconnected <-chan nats.Status) bool {
		again, err := l.follow(ctx, reconnected, loaded)
		if err != nil && ctx.Err() == nil {
			l.logger.Warn("watch the moves of other nodes", "error", err)
		}
		return again
	})
}

// follow reads the bucket and then its changes, until the watch or ctx ends. Again says
// that the connection was lost and is back.
func (l *Ledger) follow(ctx context.Context, reconnected <-chan nats.Status, loaded func()) (again bool, err error) {
	watcher, err := l.kv.WatchAll(ctx, jetstream.IgnoreDeletes())
	if err != nil {
		return false, err
	}
	defer kvbucket.Stop(watcher)
	for {
		select {
		case <-ctx.Done():
			return false, nil
		case <-reconnected:
			return true, nil
		case update, ok := <-watcher.Updates():
			switch {
			case !ok:
				return false, errors.New("the watch has ended")
			case update == nil: // the end of what was there
				loaded()
			default:
				var rec record
				if err := json.Unmarshal(update.Value(), &rec); err != nil {
					l.logger.Warn("a stored move cannot be read", "key", update.Key())
					continue
				}
				l.take(&rec)
			}
		}
	}
}
