package gateway

import (
	"context"
	"log/slog"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/postern-mail/postern/internal/access"
	"github.com/postern-mail/postern/internal/limit"
)

// Names of the limits, as in the metadata of RATE_LIMITED. They are those of the
// settings.
const (
	limitRatePerToken        = "rate-per-token" //nolint:gosec // no credential, but the name of a setting
	limitRatePerAccount      = "rate-per-account"
	limitRateUnauthenticated = "rate-unauthenticated"
	limitRateDiscovery       = "rate-discovery"
	limitDiscoveries         = "discoveries"
	limitConcurrentPerToken  = "concurrent-per-token" //nolint:gosec // as above
	limitStreamsPerToken     = "streams-per-token"    //nolint:gosec // as above
	limitImports             = "max-imports"
	limitAccountConnections  = "account-connections"
	limitConnectionsPerToken = "connections-per-token"
)

const (
	// rateBurst is for how many seconds' worth of calls a token may make at once,
	// strangerBurst the same of an address without a token.
	rateBurst     = 2
	accountBurst  = 4
	strangerBurst = 10
	// discoveryBurst is the same of domains whose mail servers are looked for.
	discoveryBurst = 10
	// maxBuckets bounds how many tokens, pairs of a token and an account, or
	// addresses are remembered.
	maxBuckets = 100_000
	// maxStrangerStreams bounds how many streams without a token, such as watches of
	// the health service, one address may have open.
	maxStrangerStreams = 100
	// minRetry is what a client is told to wait at least.
	minRetry = 100 * time.Millisecond
	// placeRetry is what it is told to wait where nobody knows.
	placeRetry = time.Second
	// runTime is after how long a call is taken to wait for others, and no longer
	// counts as one that runs, although it has not said so.
	runTime = 25 * time.Millisecond
	// runRest is for how many times as long as a call ran the next one of the token
	// waits, where there is one and others call too: the store, the outbox and the
	// garbage collector work for the call when it has ended.
	runRest = 2
)

// limiter keeps clients within their limits.
type limiter struct {
	limits Limits
	log    *slog.Logger

	rates, accounts, strangers *limit.Rates
	discovery                  *limit.Rates
	calls, streams, conns      *limit.Places
	strangerStreams            *limit.Places
	running                    *limit.Line
	// told is whom the log was told of lately.
	told *limit.Rates
	// known looks an account up in memory alone.
	known func(id string) (labels map[string]string, ok bool)
}

func newLimiter(limits Limits, cores int, known func(string) (map[string]string, bool), log *slog.Logger) *limiter {
	rates := func(perSecond, seconds int) *limit.Rates {
		return limit.NewRates(float64(perSecond), seconds, maxBuckets)
	}
	return &limiter{
		limits: limits, log: log, known: known,
		rates: rates(limits.RatePerToken, rateBurst), accounts: rates(limits.RatePerAccount, accountBurst),
		strangers: rates(limits.RateUnauthenticated, strangerBurst),
		discovery: rates(limits.RateDiscovery, discoveryBurst),
		calls:     limit.NewPlaces(limits.ConcurrentPerToken),
		streams:   limit.NewPlaces(limits.StreamsPerToken),
		conns:     limit.NewPlaces(limits.ConnectionsPerToken),

		strangerStreams: limit.NewPlaces(maxStrangerStreams),

		// The other half of the processors is for those who call too. A token that has
		// all of them leaves no time to see that somebody else's answer has come.
		running: limit.NewLine(0, max(1, cores/2)),
		told:    limit.NewRates(0.1, 10, 1000), // each once in ten seconds
	}
}

// limited is the failure of whoever has reached a limit.
func (l *limiter) limited(ctx context.Context, who, name string, value int, wait time.Duration, what string) *failure {
	if _, ok := l.told.Take(name+" "+who, time.Now()); ok {
		l.log.WarnContext(ctx, "a limit is reached; further calls are refused without a line of the log", "limit", name, "value", value, "by", who)
	}
	wait = max(minRetry, wait)
	return refuse(codes.ResourceExhausted, reasonRateLimited, "%s: wait for %s seconds before you go on.",
		what, strconv.FormatFloat(math.Ceil(wait.Seconds()*10)/10, 'f', -1, 64)).
		with("limit", name).with("value", strconv.Itoa(value)).retryAfter(wait)
}

// stranger counts a request that has no valid token by its address.
func (l *limiter) stranger(ctx context.Context, from netip.Addr) error {
	if !from.IsValid() {
		return nil
	}
	key := addressKey(from)
	wait, ok := l.strangers.Take(key, time.Now())
	if ok {
		return nil
	}
	return l.limited(ctx, key, limitRateUnauthenticated, l.limits.RateUnauthenticated, wait, "There are too many requests without a valid token from your address")
}

// strangerStream takes a place for a stream that needs no token.
func (l *limiter) strangerStream(ctx context.Context, from netip.Addr) (*place, error) {
	key := "-"
	if from.IsValid() {
		key = addressKey(from)
	}
	if !l.strangerStreams.Take(key) {
		return nil, l.limited(ctx, key, limitStreamsPerToken, l.strangerStreams.Most(), placeRetry, "There are too many streams without a token from your address")
	}
	return &place{leave: func() { l.strangerStreams.Leave(key) }}, nil
}

// enter counts a call. The place is to be given back at its end. It looks at the
// rate last, so that a call that is refused for another reason costs none of it.
func (l *limiter) enter(ctx context.Context, who access.Principal, at *link, stream bool) (*place, error) {
	if !at.usedBy(who.ID, l.conns) {
		return nil, l.limited(ctx, who.ID, limitConnectionsPerToken, l.limits.ConnectionsPerToken, placeRetry,
			"The calls of this token come over too many connections")
	}
	places, name, value, what := l.calls, limitConcurrentPerToken, l.limits.ConcurrentPerToken, "This token makes too many calls at once"
	if stream {
		places, name, value, what = l.streams, limitStreamsPerToken, l.limits.StreamsPerToken, "This token has too many streams open"
	}
	if !places.Take(who.ID) {
		return nil, l.limited(ctx, who.ID, name, value, placeRetry, what)
	}
	if wait, ok := l.rates.Take(who.ID, time.Now()); !ok {
		places.Leave(who.ID)
		return nil, l.limited(ctx, who.ID, limitRatePerToken, l.limits.RatePerToken, wait, "This token makes too many calls")
	}
	return &place{leave: func() { places.Leave(who.ID) }}, nil
}

// run waits until a call of a token may run, and puts its turn into the context. That
// is at once, unless others call too and the token has as many calls running as it
// may. done says that it has ended.
func (l *limiter) run(ctx context.Context, who string) (_ context.Context, done func(), err error) {
	ctx, turn, err := l.running.Begin(ctx, who, limit.Pace{Longest: runTime, Rest: runRest})
	return ctx, turn.End, err
}

// account counts a call that is about one account. It is counted for the token and
// the account together, so that nobody uses up what others may do with the same
// one; and only for accounts that are there for the caller, so that what is refused
// tells of no others.
func (l *limiter) account(ctx context.Context, req any) error {
	msg, ok := req.(proto.Message)
	if !ok {
		return nil
	}
	id := accountNamed(msg.ProtoReflect(), true)
	if id == "" {
		return nil
	}
	who := access.From(ctx)
	if labels, ok := l.known(id); !ok || !who.Sees(id, labels) {
		return nil
	}
	wait, ok := l.accounts.Take(who.ID+" "+id, time.Now())
	if ok {
		return nil
	}
	return l.limited(ctx, who.ID, limitRatePerAccount, l.limits.RatePerAccount, wait, "This token makes too many calls about this account")
}

// discover counts a look for the mail servers of a domain.
func (l *limiter) discover(ctx context.Context) error {
	who := access.From(ctx).ID
	wait, ok := l.discovery.Take(who, time.Now())
	if ok {
		return nil
	}
	return l.limited(ctx, who, limitRateDiscovery, l.limits.RateDiscovery, wait, "This token looks for too many mail servers")
}

// accountNamed is the id of the account that a request is about, by its name or
// parent, or those of the resource in it. Empty where it is about none, or many.
func accountNamed(m protoreflect.Message, deeper bool) (id string) {
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.IsList() || field.IsMap():
		case field.Kind() == protoreflect.StringKind && (field.Name() == "name" || field.Name() == "parent"):
			if rest, ok := strings.CutPrefix(value.String(), "accounts/"); ok {
				id, _, _ = strings.Cut(rest, "/")
			}
		case field.Kind() == protoreflect.MessageKind && deeper && id == "":
			id = accountNamed(value.Message(), false)
		}
		return id == ""
	})
	return id
}
