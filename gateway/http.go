package gateway

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// exchange is what the layers of one HTTP request tell each other. It belongs
// to the request's goroutine, except for tooLarge and ended.
type exchange struct {
	reason reason
	caller string
	// remote is the address of the connection, and forwarded what proxies say of
	// where the request came from.
	remote    string
	forwarded []string
	tooLarge  atomic.Bool
	// ended says that the caller's token has ended while the call was under way.
	ended atomic.Bool
	// limited says that the request was refused for a limit of its caller.
	limited bool
	// most is how long the body may be.
	most int64
}

type exchangeKey struct{}

// noteError keeps the reason of an error for the access log.
func noteError(ctx context.Context, s *status.Status) {
	if e, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
		e.reason = reasonOf(s)
	}
}

// noteCaller keeps who calls for the access log.
func noteCaller(ctx context.Context, id string) {
	if e, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
		e.caller = id
	}
}

// bodyTooLarge is the failure of a request whose body went over the limit.
func bodyTooLarge(ctx context.Context) (*failure, bool) {
	e, ok := ctx.Value(exchangeKey{}).(*exchange)
	if !ok || !e.tooLarge.Load() {
		return nil, false
	}
	return tooLargeBody(e.most), true
}

func tooLargeBody(most int64) *failure {
	return refuse(codes.InvalidArgument, reasonBodyTooLarge, "The request is longer than %d bytes.", most).
		with("limit", strconv.FormatInt(most, 10))
}

// front is the outermost handler: ids, limits, the access log and panics.
type front struct {
	next     http.Handler
	log      *slog.Logger
	limits   *Limits
	entrance *entrance
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	begin := time.Now()
	shared := &exchange{remote: r.RemoteAddr, forwarded: r.Header.Values("X-Forwarded-For")}
	ctx := withRequestID(r.Context(), r.Header.Values("X-Request-Id"))
	ctx = context.WithValue(ctx, exchangeKey{}, shared)
	ctx = withCertificate(ctx, verified(r.TLS))
	r = r.WithContext(ctx)
	answer := &answerWriter{ResponseWriter: w}
	header := answer.Header()
	header.Set("X-Request-Id", requestID(ctx))
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store")

	defer func() {
		crash := recover()
		f.note(r, answer, shared, begin, crash)
		if crash != nil {
			f.crashed(answer, r, crash)
		}
	}()
	if failed := f.bound(answer, r, shared, http.NewResponseController(w), begin); failed != nil {
		writeError(answer, r, failed)
		return
	}
	admitted, done, err := f.entrance.http(r)
	if err != nil {
		shared.limited = isLimited(err)
		writeError(answer, r, classify(ctx, err))
		return
	}
	defer done()
	f.next.ServeHTTP(answer, admitted)
}

// bound sets the limits of a request: a client that trickles its request, or does
// not take its answer, is cut off; one that waits for its answer is not. Writers
// that know no deadlines are tests'; the server's do.
func (f *front) bound(w http.ResponseWriter, r *http.Request, shared *exchange, control *http.ResponseController, begin time.Time) *failure {
	most := int64(f.limits.RequestBytes)
	body := &boundedBody{control: control, shared: shared, limits: f.limits}
	if limit, ok := largeBody(r); ok {
		// As long as it makes progress; what is to be written comes after it.
		most, body.large = limit+1, true
		_ = control.SetWriteDeadline(time.Time{})
	} else {
		_ = control.SetWriteDeadline(begin.Add(f.limits.AnswerTimeout))
	}
	switch coding := r.Header.Get("Content-Encoding"); {
	case coding != "" && !strings.EqualFold(coding, "identity"):
		// What it would become could be of any size.
		return refuse(codes.InvalidArgument, reasonBodyInvalid, "The body must not be compressed: its Content-Encoding is %q.", said(coding))
	case r.ContentLength > most && body.large:
		return tooLargeMessage(most-1, r.ContentLength)
	case r.ContentLength > most:
		return tooLargeBody(most)
	}
	shared.most = most
	if r.Body != nil && r.Body != http.NoBody {
		_ = control.SetReadDeadline(begin.Add(f.limits.BodyTimeout))
		body.body = http.MaxBytesReader(w, r.Body, most)
		r.Body = body
	}
	return nil
}

// largeBody gives the limit of the routes that take a stream of bytes.
func largeBody(r *http.Request) (limit int64, ok bool) {
	switch {
	case isImport(r):
		return maxImport, true
	case isUpload(r):
		return maxMessage, true
	}
	return 0, false
}

// crashed ends a request that panicked. An answer that is under way is cut
// off, so that it does not look whole.
func (f *front) crashed(w *answerWriter, r *http.Request, crash any) {
	if crash == http.ErrAbortHandler { //nolint:errorlint // net/http compares it so, too
		panic(crash)
	}
	c := calls{log: f.log}
	failed := c.finish(r.Context(), r.URL.Path, nil, crash)
	if w.status != 0 {
		panic(http.ErrAbortHandler)
	}
	writeError(w, r, status.Convert(failed))
}

// note writes the access log's line. The query is left out: it holds what
// people search their mail for.
func (f *front) note(r *http.Request, w *answerWriter, shared *exchange, begin time.Time, crash any) {
	path := r.URL.Path
	switch {
	case isProbe(r): // asked every few seconds, for ever
		return
	case shared.limited: // told of by the limiter, which lets no flood into the log
		return
	case strings.HasPrefix(path, unsubscribePath): // the rest lets anyone unsubscribe somebody
		path = unsubscribePath
	}
	f.log.InfoContext(r.Context(), "http", "method", r.Method, "path", path, "status", w.status,
		"reason", string(shared.reason), "principal", shared.caller, "bytes", w.bytes, "aborted", crash != nil,
		"request_id", requestID(r.Context()), "duration", time.Since(begin))
}

// boundedBody counts the request's body, and lifts the read deadline at its
// end: net/http takes a deadline that strikes afterwards for a client that has
// left.
type boundedBody struct {
	body    io.ReadCloser
	control *http.ResponseController
	shared  *exchange
	limits  *Limits
	// large says that it is a stream, which may take as long as it makes
	// progress.
	large bool
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.large {
		_ = b.control.SetReadDeadline(time.Now().Add(b.limits.BodyTimeout))
		// Looked at after that, because whoever ends the call sets an earlier one.
		if b.shared.ended.Load() {
			return 0, errTokenEnded
		}
	}
	n, err := b.body.Read(p)
	if err != nil {
		if _, over := err.(*http.MaxBytesError); over { //nolint:errorlint // MaxBytesReader returns it bare
			b.shared.tooLarge.Store(true)
		}
		_ = b.control.SetReadDeadline(time.Time{})
		if b.large {
			_ = b.control.SetWriteDeadline(time.Now().Add(b.limits.AnswerTimeout))
		}
	}
	return n, err
}

func (b *boundedBody) Close() error {
	_ = b.control.SetReadDeadline(time.Time{})
	return b.body.Close()
}

// answerWriter remembers what was answered.
type answerWriter struct {
	http.ResponseWriter
	status int
	bytes  int64
}

// Unwrap lets [http.ResponseController] reach the server's writer.
func (w *answerWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *answerWriter) WriteHeader(code int) {
	if w.status == 0 && code >= 200 {
		w.status = code
	}
	w.ResponseWriter.WriteHeader(code)
}

func (w *answerWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}
