package submit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/limit"
)

const (
	bodiesStream = "POSTERN_OUTBOX"
	bodiesPrefix = "postern.outbox."
	// lastHeader marks the last piece of a body.
	lastHeader = "Postern-Last"
	// pieceSize is the size of the pieces in which bodies are stored. Each is
	// synced by itself, so they are large; a NATS server takes 1 MiB by default.
	pieceSize = 512 << 10
)

// bodies keeps what is too large for a record: messages, and files that are to be
// part of some. A body is a row of pieces, each under a subject of its own, which are
// written and read one at a time: memory stays small, and a store that is slow makes
// its writer slow, too. (JetStream's object store sends as fast as it can in both
// directions, and fails when the disk does not follow.)
type bodies struct {
	js     jetstream.JetStream
	stream jetstream.Stream
	// quota bounds the bytes of an account.
	quota *limit.Quota
}

func openBodies(ctx context.Context, js jetstream.JetStream, replicas int, quota *limit.Quota) (*bodies, error) {
	stream, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name:              bodiesStream,
		Description:       "Postern: messages to be sent, and files for them",
		Subjects:          []string{bodiesPrefix + ">"},
		Storage:           jetstream.FileStorage,
		Replicas:          max(replicas, 1),
		MaxMsgsPerSubject: 1,
		AllowDirect:       true,
	})
	if err != nil {
		return nil, fmt.Errorf("open stream %s: %w", bodiesStream, err)
	}
	return &bodies{js: js, stream: stream, quota: quota}, nil
}

// bodyRef names a body.
type bodyRef struct {
	// kind is "message" or "upload".
	kind, account, id string
}

// bodySeparator is between the id of a submission and that of one of its bodies.
const bodySeparator = "~"

func messageRef(account, id string) bodyRef { return bodyRef{"message", account, id} }
func uploadRef(account, id string) bodyRef  { return bodyRef{"upload", account, id} }

func (r bodyRef) subject(piece string) string {
	return bodiesPrefix + r.kind + "." + r.account + "." + r.id + "." + piece
}

// put stores what write writes, in place of what was there, and returns its size. What
// has at most inline bytes is not stored, but returned.
// What is stored in part, because write fails, is dropped as far as that can be done
// now; the rest is swept away later. It fails as write does, and with a
// [*limit.FullError].
func (b *bodies) put(ctx context.Context, ref bodyRef, inline int, write func(io.Writer) error) (small []byte, size int64, err error) {
	w := &bodyWriter{ctx: ctx, bodies: b, ref: ref, hold: b.quota.Hold(ref.account)}
	defer func() { w.hold.Done(err == nil) }()
	err = write(w)
	if err == nil && w.pieces == 0 && len(w.buffer) <= inline {
		return append([]byte{}, w.buffer...), w.size, nil
	}
	if err == nil {
		err = w.flush(true)
	}
	if err == nil {
		return nil, w.size, nil
	}
	if w.pieces > 0 {
		dropCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
		defer cancel()
		_ = b.drop(dropCtx, ref)
	}
	return nil, 0, err
}

// bodyWriter stores a body piece by piece.
type bodyWriter struct {
	// It belongs to one call of put, which has the context.
	ctx    context.Context //nolint:containedctx // see above
	bodies *bodies
	ref    bodyRef
	hold   *limit.Hold
	buffer []byte
	pieces int
	size   int64
}

// Write implements io.Writer.
func (w *bodyWriter) Write(p []byte) (int, error) {
	written := len(p)
	for len(p) > 0 {
		n := min(pieceSize-len(w.buffer), len(p))
		w.buffer = append(w.buffer, p[:n]...)
		p = p[n:]
		// The last piece is marked, so a full one waits until there is more.
		if len(p) > 0 {
			if err := w.flush(false); err != nil {
				return 0, err
			}
		}
	}
	w.size += int64(written)
	return written, nil
}

func (w *bodyWriter) flush(last bool) error {
	if err := w.hold.Take(w.ctx, int64(len(w.buffer))); err != nil {
		return err
	}
	msg := nats.NewMsg(w.ref.subject(strconv.Itoa(w.pieces)))
	msg.Data = w.buffer
	if last {
		msg.Header.Set(lastHeader, "1")
	}
	if _, err := w.bodies.js.PublishMsg(w.ctx, msg); err != nil {
		return fmt.Errorf("store a message: %w", err)
	}
	w.pieces++
	w.buffer = w.buffer[:0]
	return nil
}

// errNoBody says that a body, or a piece of it, is not there.
var errNoBody = errors.New("it is no longer kept")

// open opens a body; its first piece is read at once. It fails with errNoBody.
func (b *bodies) open(ctx context.Context, ref bodyRef) (io.Reader, error) {
	r := &bodyReader{ctx: ctx, bodies: b, ref: ref}
	return r, r.next()
}

// bodyReader reads a body piece by piece.
type bodyReader struct {
	// It belongs to one call, which has the context.
	ctx    context.Context //nolint:containedctx // see above
	bodies *bodies
	ref    bodyRef
	pieces int
	rest   []byte
	last   bool
}

// Read implements io.Reader.
func (r *bodyReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.last {
			return 0, io.EOF
		}
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func (r *bodyReader) next() error {
	msg, err := r.bodies.stream.GetLastMsgForSubject(r.ctx, r.ref.subject(strconv.Itoa(r.pieces)))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return errNoBody
	}
	if err != nil {
		return fmt.Errorf("read a message: %w", err)
	}
	r.pieces++
	r.rest, r.last = msg.Data, msg.Header.Get(lastHeader) != ""
	return nil
}

// drop forgets a body.
func (b *bodies) drop(ctx context.Context, ref bodyRef) error {
	if err := b.stream.Purge(ctx, jetstream.WithPurgeSubject(ref.subject("*"))); err != nil {
		return fmt.Errorf("forget a message: %w", err)
	}
	return nil
}

// before lists the bodies that were begun before a point in time, by their ids.
func (b *bodies) before(ctx context.Context, until time.Time) ([]bodyRef, error) {
	info, err := b.stream.Info(ctx, jetstream.WithSubjectFilter(bodyRef{"*", "*", "*"}.subject("0")))
	if err != nil {
		return nil, fmt.Errorf("list the messages: %w", err)
	}
	var refs []bodyRef
	for subject := range info.State.Subjects {
		tokens := strings.Split(strings.TrimPrefix(subject, bodiesPrefix), ".")
		if len(tokens) == 4 && olderThan(tokens[2], until) {
			refs = append(refs, bodyRef{tokens[0], tokens[1], tokens[2]})
		}
	}
	return refs, nil
}

// sizesAtOnce is how many sizes of pieces are asked for at a time.
const sizesAtOnce = 1000

// bytesOf sums up the bodies of an account. Of each piece it reads the size alone.
func (b *bodies) bytesOf(ctx context.Context, account string) (sum int64, err error) {
	consumer, err := b.stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		FilterSubject: bodyRef{"*", account, "*"}.subject("*"), HeadersOnly: true, AckPolicy: jetstream.AckNonePolicy,
		MemoryStorage: true, Replicas: 1, InactiveThreshold: 30 * time.Second,
	})
	if err != nil {
		return 0, fmt.Errorf("add up the messages: %w", err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = b.stream.DeleteConsumer(ctx, consumer.CachedInfo().Name) // or the server does, for it is not used
	}()
	for left := consumer.CachedInfo().NumPending; left > 0; {
		batch, err := consumer.FetchNoWait(int(min(left, sizesAtOnce)))
		if err != nil {
			return 0, fmt.Errorf("add up the messages: %w", err)
		}
		came := uint64(0)
		for msg := range batch.Messages() {
			size, err := strconv.ParseInt(msg.Headers().Get(nats.MsgSize), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("add up the messages: %s has no size: %w", msg.Subject(), err)
			}
			sum += size
			came++
		}
		if err := batch.Error(); err != nil {
			return 0, fmt.Errorf("add up the messages: %w", err)
		}
		if came == 0 || ctx.Err() != nil {
			return sum, ctx.Err() // the rest was dropped meanwhile
		}
		left -= min(left, came)
	}
	return sum, nil
}
