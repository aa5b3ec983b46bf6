package gateway

import (
	"net/netip"
	"time"

	"github.com/postern-mail/postern/internal/submit"
)

// Limits bound what clients may ask for. They are there for those who do not mean
// well, or not what they do: the defaults are such that nobody else meets them.
// They are this node's own, and know nothing of what other nodes are asked for.
type Limits struct {
	// Calls per second: of one token, of one token about one account, and of one
	// address without a valid token. 0 means as many as one likes.
	RatePerToken, RatePerAccount, RateUnauthenticated int
	// RateDiscovery is for how many domains per second mail servers are looked for, of
	// one token. 0 means as many as one likes.
	RateDiscovery int
	// What one token may have open at a time: calls with one answer, and streams,
	// which are watches, downloads, imports and uploads. 0 means any number.
	ConcurrentPerToken, StreamsPerToken int
	// Connections at a time: over which one token calls, from one address, and all.
	// 0 means any number.
	ConnectionsPerToken, ConnectionsPerAddress, Connections int
	// StreamsPerConnection are the calls at a time of one HTTP/2 connection.
	StreamsPerConnection int
	// Imports are the messages that are received at a time to be put into a mailbox,
	// ImportsPerToken those of one token while others import, too.
	Imports, ImportsPerToken int

	// RequestBytes bounds the body of a request, also once it is decompressed,
	// and HeaderBytes its header.
	RequestBytes, HeaderBytes int

	// HeaderTimeout is for how long a client may take for its TLS handshake and
	// the header of a request, BodyTimeout for the body, or to go on with one that
	// is a stream. StallTimeout is for how long it may take nothing of an answer,
	// IdleTimeout for how long a connection is kept without a request.
	// AnswerTimeout bounds a call with one answer from its beginning until the
	// answer is taken.
	//
	// Between a slow client and this end the kernels hold megabytes, and take more
	// only once a good part of them is read: to the sender, a client that reads
	// steadily stands still for tens of seconds.
	HeaderTimeout, BodyTimeout, StallTimeout, IdleTimeout, AnswerTimeout time.Duration
	// PingInterval is how often a gRPC client may ask whether the connection is
	// alive.
	PingInterval time.Duration

	// How many there may be. 0 means any number.
	Accounts, Webhooks, Templates int
	// Outbox is how much there may be of each account.
	Outbox submit.Bounds

	// TrustedProxies are in front of the listeners: what they say in
	// X-Forwarded-For of where a request comes from is believed. AddressesHidden
	// says that there are others, which are not known, so that connections and
	// requests are not counted by address.
	TrustedProxies  []netip.Prefix
	AddressesHidden bool
}

// DefaultLimits are the limits unless an operator sets others.
func DefaultLimits() Limits {
	return Limits{
		RatePerToken: 5000, RatePerAccount: 2000, RateUnauthenticated: 100, RateDiscovery: 5,
		ConcurrentPerToken: 256, StreamsPerToken: 5000,
		ConnectionsPerToken: 5000, ConnectionsPerAddress: 1000, Connections: 20_000,
		StreamsPerConnection: 250, Imports: 16, ImportsPerToken: 8,
		RequestBytes: 4 << 20, HeaderBytes: 64 << 10,
		HeaderTimeout: 10 * time.Second, BodyTimeout: time.Minute, StallTimeout: 2 * time.Minute, IdleTimeout: 2 * time.Minute, AnswerTimeout: 5 * time.Minute,
		PingInterval: 20 * time.Second,
		Accounts:     100_000, Webhooks: 1000, Templates: 10_000,
		Outbox: submit.Bounds{Uploads: 1000, Submissions: 100_000, MiB: 10 << 10, Blocks: 100_000},
	}
}
