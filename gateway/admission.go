package gateway

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/tap"

	"github.com/postern-mail/postern/internal/access"
)

// Names of the listeners among the links.
const (
	listenerHTTP = "http"
	listenerGRPC = "grpc"
)

// entrance decides about calls from the network before their content is read:
// who it is, and whether they are within their limits. What is refused here costs
// no memory and little time.
type entrance struct {
	calls   calls
	limiter *limiter
	links   *links
	// streaming are the methods of gRPC that are streams.
	streaming map[string]bool
}

// learn notes which methods are streams.
func (e *entrance) learn(services map[string]grpc.ServiceInfo) {
	for service, info := range services {
		for _, m := range info.Methods {
			e.streaming["/"+service+"/"+m.Name] = m.IsClientStream || m.IsServerStream
		}
	}
}

// caller is where a call comes from, and with what.
type caller struct {
	from          netip.Addr
	link          *link
	authorization []string
}

// admit finds out who calls and takes a place for the call.
func (e *entrance) admit(ctx context.Context, by caller, stream bool) (context.Context, *place, error) {
	who, err := authenticate(ctx, e.calls.auth, by.authorization)
	if err != nil {
		if over := e.limiter.stranger(ctx, by.from); over != nil {
			err = over
		}
		return access.With(ctx, who), nil, err
	}
	held, err := e.limiter.enter(ctx, who, by.link, stream)
	return access.With(ctx, who), held, err
}

// tap is called for each call of gRPC when its header has been read. It runs on the
// goroutine that reads the connection, so it waits for nothing.
func (e *entrance) tap(ctx context.Context, info *tap.Info) (_ context.Context, err error) {
	begin := time.Now()
	ctx = withRequestID(ctx, info.Header.Get(headerRequestID))
	by := e.callerOf(ctx, info.Header)
	defer func() {
		crash := recover()
		if err == nil && crash == nil {
			return
		}
		by.link.refuse(begin)
		if err = e.calls.finish(ctx, info.FullMethodName, err, crash); !isLimited(err) {
			e.calls.note(ctx, info.FullMethodName, begin, err)
			e.calls.audit.note(metadata.NewIncomingContext(ctx, info.Header), called{method: info.FullMethodName, begin: begin}, err)
		}
	}()
	if open(info.FullMethodName) {
		if err := e.limiter.stranger(ctx, by.from); err != nil {
			return ctx, err
		}
		held, err := e.limiter.strangerStream(ctx, by.from)
		return e.hold(ctx, held, true), err
	}
	stream, known := e.streaming[info.FullMethodName]
	ctx, held, err := e.admit(ctx, by, stream)
	if err != nil {
		return ctx, err
	}
	if !known {
		held.give()
		return ctx, unknownMethod(info.FullMethodName)
	}
	return e.hold(ctx, held, stream), nil
}

// hold puts a place into the context of a call, and sees to it that it is given
// back should the call end before it begins. The message of a call that is no
// stream has to come within the time for bodies.
func (e *entrance) hold(ctx context.Context, held *place, stream bool) context.Context {
	if held == nil {
		return ctx
	}
	called := ctx
	if !stream {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		held.awaited = time.AfterFunc(e.limiter.limits.BodyTimeout, cancel)
	}
	context.AfterFunc(called, held.giveUnlessClaimed)
	return context.WithValue(ctx, placeKey{}, held)
}

func (e *entrance) callerOf(ctx context.Context, md metadata.MD) caller {
	by := caller{authorization: md.Get(headerAuthorization)}
	if p, ok := peer.FromContext(ctx); ok {
		remote := p.Addr.String()
		by.link = e.links.find(listenerGRPC, remote)
		by.from = e.limiter.limits.clientAddress(remote, md.Get("x-forwarded-for"))
	}
	return by
}

// isLimited reports whether a call was refused for a limit of its caller, of which
// the log is told otherwise.
func isLimited(err error) bool {
	f, ok := asFailure(err)
	return ok && f.reason == reasonRateLimited
}

// http decides about a request. done is to be called at its end, unless there is an
// error.
func (e *entrance) http(r *http.Request) (_ *http.Request, done func(), err error) {
	ctx, begin := r.Context(), time.Now()
	by := caller{
		from:          e.limiter.limits.clientAddress(r.RemoteAddr, r.Header.Values("X-Forwarded-For")),
		link:          e.links.find(listenerHTTP, r.RemoteAddr),
		authorization: r.Header.Values("Authorization"),
	}
	defer func() {
		if err != nil {
			pause(ctx, by.link.refuse(time.Now()))
		}
	}()
	switch {
	case isProbe(r):
		return r, func() {}, nil
	case !strings.HasPrefix(r.URL.Path, "/v1/"), r.Method == http.MethodOptions, isTicketed(r):
		return r, func() {}, e.limiter.stranger(ctx, by.from)
	}
	stream := isStream(r)
	ctx, held, err := e.admit(ctx, by, stream)
	who := access.From(ctx)
	noteCaller(ctx, who.ID)
	if err != nil {
		err = e.calls.finish(ctx, r.URL.Path, err, nil)
		e.calls.audit.refusedAtTheDoor(ctx, r, begin, err)
		return r, nil, err
	}
	done = held.give
	if !stream {
		running, ran, err := e.limiter.run(ctx, who.ID)
		if err != nil {
			held.give()
			return r, nil, e.calls.finish(ctx, r.URL.Path, err, nil)
		}
		ctx = running
		done = func() { ran(); held.give() }
	}
	return r.WithContext(ctx), done, nil
}

// pause lets a time pass, unless the context ends before.
func pause(ctx context.Context, d time.Duration) {
	if d == 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// ticketed takes a place for a watch by ticket, of which only the ticket says who
// it is.
func (e *entrance) ticketed(r *http.Request, who access.Principal) (*place, error) {
	return e.limiter.enter(r.Context(), who, e.links.find(listenerHTTP, r.RemoteAddr), true)
}

// isProbe reports whether a request asks whether the node lives.
func isProbe(r *http.Request) bool { return r.URL.Path == "/healthz" || r.URL.Path == "/readyz" }

// isTicketed reports whether a ticket says who calls.
func isTicketed(r *http.Request) bool {
	return r.URL.Path == watchPath && len(r.Header.Values("Authorization")) == 0 && r.URL.Query().Get("ticket") != ""
}

// watchPath is where events are watched.
const watchPath = "/v1/events:watch"

// isStream reports whether a request is for something that lasts.
func isStream(r *http.Request) bool {
	path := r.URL.Path
	return path == watchPath || strings.HasSuffix(path, ":raw") || strings.HasSuffix(path, ":download") || isImport(r) || isUpload(r)
}
