package gateway

import (
	"context"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/access"
	"github.com/postern-mail/postern/internal/audit"
)

// auditor writes calls into the audit log.
type auditor struct {
	log    *audit.Log
	limits *Limits
	// writes says that calls which only read are left out, unless they are refused.
	writes bool
	nobody flood
}

// called is a call on its way into the audit log.
type called struct {
	method string
	begin  time.Time
	names  resourceNames
	// begun says that it is a watch, which has begun.
	begun bool
}

// note writes a call and what came of it. A nil auditor writes nothing.
func (a *auditor) note(ctx context.Context, c called, err error) {
	if a == nil || open(c.method) || !isMethod(c.method) {
		return
	}
	s, who := status.Convert(err), access.From(ctx)
	refused := s.Code() == codes.Unauthenticated || s.Code() == codes.PermissionDenied
	if a.writes && !refused && isRead(c.method) {
		return
	}
	suppressed := uint64(0)
	if who.ID == "" {
		var room bool
		if suppressed, room = a.nobody.take(time.Now()); !room {
			return
		}
	}
	a.log.Add(&audit.Entry{
		Time: c.begin.UTC(), Principal: who.ID, Method: auditMethod(c.method),
		Resources: c.names.list, Account: c.names.account(),
		Code: code.Code_name[int32(s.Code())], Reason: string(reasonOf(s)),
		RequestID: requestID(ctx), Remote: remoteOf(ctx, a.limits), Duration: time.Since(c.begin),
		Begun: c.begun, Suppressed: suppressed,
	})
}

// auditMethod is a method as the audit log has it.
func auditMethod(full string) string {
	return strings.ReplaceAll(strings.TrimPrefix(full, "/postern.v1."), "/", ".")
}

// reads remembers which methods only read.
var reads sync.Map // of string to bool

// isRead reports whether a method changes nothing: REST has it as GET, or it only
// sends.
func isRead(method string) bool {
	if known, ok := reads.Load(method); ok {
		return known.(bool)
	}
	m, ok := methodOf(method)
	if !ok {
		return false
	}
	read := m.IsStreamingServer() && !m.IsStreamingClient()
	if rule, ok := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule); ok && rule != nil {
		read = rule.GetGet() != ""
	}
	reads.Store(method, read)
	return read
}

// isWatch reports whether a method is one that goes on for as long as its caller
// likes.
func isWatch(method string) bool { return method == posternv1.EventService_WatchEvents_FullMethodName }

// floodLimit is how many calls of nobody in particular are written in a second.
const floodLimit = 10

// flood keeps callers who do not show who they are from filling the audit log.
type flood struct {
	mu         sync.Mutex
	second     int64
	written    int
	suppressed uint64
}

// take reports whether there is room for one more call, and how many there was none
// for since the last that there was.
func (f *flood) take(now time.Time) (suppressed uint64, room bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if second := now.Unix(); second != f.second {
		f.second, f.written = second, 0
	}
	if f.written >= floodLimit {
		f.suppressed++
		return 0, false
	}
	f.written++
	suppressed, f.suppressed = f.suppressed, 0
	return suppressed, true
}

// remoteOf is the network address that a call came from, as far as the limits
// believe proxies. The REST routes say it in the context, or where a stream goes over
// the listener in memory, last in the header that proxies write.
func remoteOf(ctx context.Context, limits *Limits) string {
	remote, forwarded := "", []string(nil)
	if e, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
		remote, forwarded = e.remote, e.forwarded
	} else if from, ok := peer.FromContext(ctx); ok && from.Addr != nil {
		md, _ := metadata.FromIncomingContext(ctx)
		remote, forwarded = from.Addr.String(), md.Get("x-forwarded-for")
		if from.Addr.Network() == "bufconn" {
			list := strings.Join(forwarded, ",")
			last := strings.LastIndex(list, ",")
			remote, forwarded = strings.TrimSpace(list[last+1:]), []string{list[:max(last, 0)]}
		}
	}
	from := limits.clientAddress(remote, forwarded)
	if !from.IsValid() { // the limits count no addresses
		from = remoteAddress(remote)
	}
	if !from.IsValid() {
		return ""
	}
	return from.String()
}

// refusedAtTheDoor writes a request that was refused before it became a call.
// Requests that were too many are the limits' to tell of.
func (a *auditor) refusedAtTheDoor(ctx context.Context, r *http.Request, begin time.Time, err error) {
	if a == nil || isLimited(err) {
		return
	}
	c := called{method: methodOfRoute(r.Method, r.URL.Path), begin: begin}
	c.names.inPath(r)
	a.note(ctx, c, err)
}

// methodOfRoute is the method of gRPC that a request stands for, empty for none.
func methodOfRoute(verb, urlPath string) string {
	if verb == http.MethodHead {
		verb = http.MethodGet
	}
	found, longest := "", ""
	match := func(route, method string) {
		routeVerb, template, _ := strings.Cut(route, " ")
		if ok, err := path.Match(pathVariable.ReplaceAllString(template, "$1"), urlPath); ok && err == nil &&
			routeVerb == verb && len(template) > len(longest) {
			found, longest = method, template // the longer, the less of it is a wildcard
		}
	}
	for name, route := range routes() {
		match(name, route.method)
	}
	match("POST "+importPattern, posternv1.MessageService_ImportMessage_FullMethodName)
	match("POST "+uploadPattern, posternv1.UploadService_CreateUpload_FullMethodName)
	match("GET "+watchPath, posternv1.EventService_WatchEvents_FullMethodName)
	return found
}
