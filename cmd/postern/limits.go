package main

import (
	"fmt"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/postern-mail/postern/gateway"
)

// numberLimit is a setting of a limit that counts something. Those of which 0 means
// no bound have the least 0.
type numberLimit struct {
	name  string
	dest  *int
	least int
	usage string
}

func (c *config) numberLimits() []numberLimit {
	l := &c.Limits
	return []numberLimit{
		{"rate-per-token", &l.RatePerToken, 0, "take `N` calls a second of one token, and twice as many at once"},
		{"rate-per-account", &l.RatePerAccount, 0, "take `N` calls a second of one token about one account, and four times as many at once"},
		{"rate-unauthenticated", &l.RateUnauthenticated, 0, "take `N` requests a second without a valid token from one address, and ten times as many at once"},
		{"rate-discovery", &l.RateDiscovery, 0, "look for the mail servers of `N` domains a second for one token, and of ten times as many at once"},
		{"concurrent-per-token", &l.ConcurrentPerToken, 0, "let one token have `N` calls under way at a time"},
		{"streams-per-token", &l.StreamsPerToken, 0, "let one token have `N` watches, downloads, imports and uploads open at a time"},
		{"connections-per-token", &l.ConnectionsPerToken, 0, "let the calls of one token come over `N` connections at a time"},
		{"connections-per-address", &l.ConnectionsPerAddress, 0, "take `N` connections at a time from one address"},
		{"max-connections", &l.Connections, 0, "take `N` connections at a time"},
		{"streams-per-connection", &l.StreamsPerConnection, 1, "let one HTTP/2 connection have `N` calls under way at a time"},
		{"max-imports", &l.Imports, 1, "receive `N` messages and drafts at a time"},
		{"imports-per-token", &l.ImportsPerToken, 0, "receive `N` of them of one token while others import too"},
		{"max-request-bytes", &l.RequestBytes, 64 << 10, "take requests of `N` bytes, but for what is streamed"},
		{"max-header-bytes", &l.HeaderBytes, 4 << 10, "take headers of `N` bytes"},
		{"max-accounts", &l.Accounts, 0, "keep `N` accounts"},
		{"max-webhooks", &l.Webhooks, 0, "keep `N` webhooks"},
		{"max-templates", &l.Templates, 0, "keep `N` templates"},
		{"uploads-per-account", &l.Outbox.Uploads, 0, "keep `N` uploads of one account"},
		{"submissions-per-account", &l.Outbox.Submissions, 0, "keep `N` submissions of one account that have not ended"},
		{"outbox-mib-per-account", &l.Outbox.MiB, 0, "keep `N` MiB of uploads and messages of one account"},
		{"blocks-per-account", &l.Outbox.Blocks, 0, "keep `N` addresses on the blocklist of one account"},
	}
}

// timeLimit is a setting of a limit of time.
type timeLimit struct {
	name  string
	dest  *time.Duration
	usage string
}

func (c *config) timeLimits() []timeLimit {
	l := &c.Limits
	return []timeLimit{
		{"header-timeout", &l.HeaderTimeout, "give clients this `DURATION` for the TLS handshake, and for the header of a request"},
		{"body-timeout", &l.BodyTimeout, "give clients this `DURATION` for the body of a request, or to go on with one that is streamed"},
		{"answer-timeout", &l.AnswerTimeout, "end a request without a stream whose answer is not taken after this `DURATION`"},
		{"stall-timeout", &l.StallTimeout, "end a stream of which nothing is taken for this `DURATION`"},
		{"idle-timeout", &l.IdleTimeout, "close HTTP connections without a request after this `DURATION`"},
		{"grpc-ping-interval", &l.PingInterval, "let gRPC clients send keepalive pings once in this `DURATION`"},
	}
}

// maxLimit bounds what a limit that counts may be set to: some are 32 bits wide in
// HTTP/2.
const maxLimit = 1 << 30

// limitFlags are the settings of limits. Their defaults are the gateway's.
func (c *config) limitFlags() []cli.Flag {
	usual := &config{Limits: gateway.DefaultLimits()}
	var flags []cli.Flag
	numbers, times := usual.numberLimits(), usual.timeLimits()
	for i, l := range c.numberLimits() {
		usage := l.usage
		if l.least == 0 {
			usage += "; 0 for any number"
		}
		flags = append(flags, &cli.IntFlag{Name: l.name, Value: *numbers[i].dest, Destination: l.dest, Sources: c.sources(l.name), Usage: usage})
	}
	for i, l := range c.timeLimits() {
		flags = append(flags, &cli.DurationFlag{Name: l.name, Value: *times[i].dest, Destination: l.dest, Sources: c.sources(l.name), Usage: l.usage})
	}
	return append(flags, &cli.StringSliceFlag{Name: "trusted-proxies", Destination: &c.TrustedProxies, Sources: c.sources("trusted-proxies"),
		Usage: "`CIDR` ranges of proxies in front, comma-separated: X-Forwarded-For of theirs says where requests come from"})
}

// checkLimits checks the settings of limits.
func (c *config) checkLimits() (err error) {
	for _, l := range c.numberLimits() {
		if *l.dest < l.least || *l.dest > maxLimit {
			return fmt.Errorf("--%s is %d: give a number from %d to %d", l.name, *l.dest, l.least, maxLimit)
		}
	}
	for _, l := range c.timeLimits() {
		if *l.dest < time.Second || *l.dest > 24*time.Hour {
			return fmt.Errorf("--%s is %s: give from 1s to 24h", l.name, *l.dest)
		}
	}
	c.Limits.TrustedProxies, err = parseNetworks("trusted-proxies", c.TrustedProxies)
	// Behind a proxy all requests seem to come from it.
	c.Limits.AddressesHidden = c.BehindProxy
	return err
}
