package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v3"
	"go.yaml.in/yaml/v3"

	"github.com/postern-mail/postern/gateway"
	"github.com/postern-mail/postern/idle"
	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/audit"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/secret"
	"github.com/postern-mail/postern/internal/token"
)

// config is everything that `postern serve` can be told. Each setting is a
// flag, an environment variable (POSTERN_ and the flag's name in upper case,
// with underscores) and a key of the YAML file (the flag's name), in that
// order of precedence.
type config struct {
	File string

	DataDir string
	HTTP    string
	GRPC    string
	NATS    string
	NATSURL secret.String
	// NATSURLFile and AdminTokenFile hold the secrets of that name.
	NATSURLFile    string
	AdminTokenFile string

	BehindProxy bool
	transport   transportSettings
	callers     callerSettings

	AllowNetworks    []string
	AllowPlaintext   []string
	InsecureTLSHosts []string
	KeyFile          string
	KeyCommand       string
	KMSURI           string
	Key              secret.String
	AdminToken       secret.String

	EventsMaxAge   time.Duration
	EventsReplicas int
	PollInterval   time.Duration
	GiveUpSending  time.Duration
	PublicURL      string

	WebhookWaits        []string
	WebhookDisableAfter time.Duration

	MaxTokens       int
	Audit           string
	AuditMaxAge     time.Duration
	AuditMaxEntries int64

	LinkTimeout     time.Duration
	OverflowAfter   int
	HostConnections int
	HostLogins      int

	// Limits are those of clients, TrustedProxies as they are written.
	Limits         gateway.Limits
	TrustedProxies []string

	LogLevel  string
	LogFormat string

	// allowed is AllowNetworks parsed by validate.
	allowed []netip.Prefix
	// allowances are AllowPlaintext and InsecureTLSHosts parsed by validate.
	allowances account.Allowances
	// webhookSchedule is WebhookWaits parsed by validate; nil means the default.
	webhookSchedule []time.Duration
	// mailTLS is the base of TLS to mail servers; nil means the system's
	// roots. No setting: the demo's sandbox has an authority of its own.
	mailTLS *tls.Config
}

// secretSettings are taken from the environment only: flags show in the
// process list and files are copied around.
var secretSettings = []string{"admin-token", "key"}

// flags lists the settings of serve. The order is that of the help page; the
// file comes first, since later flags look their values up in it.
func (c *config) flags() []cli.Flag { return append(c.mainFlags(), c.limitFlags()...) }

func (c *config) mainFlags() []cli.Flag {
	text := func(name, value string, dest *string, usage string) cli.Flag {
		return &cli.StringFlag{Name: name, Value: value, Destination: dest, Usage: usage, Sources: c.sources(name)}
	}
	return slices.Concat([]cli.Flag{
		&cli.StringFlag{Name: "config", Destination: &c.File, Sources: cli.EnvVars("POSTERN_CONFIG"),
			Usage: "read settings from this YAML `FILE` (keys are the names of these flags)"},
		text("data-dir", "postern-data", &c.DataDir, "keep the embedded NATS server's data, the key and the admin token in `DIR`"),
		text("http", "127.0.0.1:8080", &c.HTTP, "serve REST, SSE and the API reference on `ADDR`"),
		text("grpc", "127.0.0.1:9090", &c.GRPC, "serve gRPC on `ADDR`"),
		text("nats", "127.0.0.1:4222", &c.NATS, "let NATS clients reach the embedded server on `ADDR` (loopback only)"),
		&cli.GenericFlag{Name: "nats-url", Value: secretFlag{&c.NATSURL}, Sources: c.sources("nats-url"),
			Usage: "use the NATS servers at `URL` instead of the embedded one"},
		text("nats-url-file", "", &c.NATSURLFile, "a `FILE` that holds the --nats-url"),
		text("admin-token-file", "", &c.AdminTokenFile, "a `FILE` that holds the admin token, in place of POSTERN_ADMIN_TOKEN"),
		&cli.BoolFlag{Name: "behind-proxy", Destination: &c.BehindProxy, Sources: c.sources("behind-proxy"),
			Usage: "allow listeners beyond loopback without TLS, because a proxy in front terminates it"},
		&cli.StringSliceFlag{Name: "allow-networks", Destination: &c.AllowNetworks, Sources: c.sources("allow-networks"),
			Usage: "private `CIDR` ranges that mail servers and webhooks may be in, comma-separated"},
	}, c.allowanceFlags(), []cli.Flag{
		text("key-file", "", &c.KeyFile, "key set that seals stored credentials, a `FILE` (default: DIR/secret.key; POSTERN_KEY holds the key set itself)"),
		text("key-command", "", &c.KeyCommand, "run this `COMMAND` and take what it prints as the key set, in place of a key file"),
		text("kms-uri", "", &c.KMSURI, "the key set is encrypted by the key at this `URI` of a key management service: hcvault://HOST:PORT/transit/keys/NAME"),
		&cli.DurationFlag{Name: "events-max-age", Value: 7 * 24 * time.Hour, Destination: &c.EventsMaxAge, Sources: c.sources("events-max-age"),
			Usage: "keep events for this `DURATION`"},
		&cli.IntFlag{Name: "events-replicas", Value: 1, Destination: &c.EventsReplicas, Sources: c.sources("events-replicas"),
			Usage: "copies of each event and record in a NATS cluster, `N` from 1 to 5"},
		&cli.DurationFlag{Name: "poll-interval", Value: time.Minute, Destination: &c.PollInterval, Sources: c.sources("poll-interval"),
			Usage: "look at folders that the server does not push every `DURATION`, unless an account says otherwise"},
		&cli.DurationFlag{Name: "submission-give-up", Value: gateway.DefaultGiveUpSending, Destination: &c.GiveUpSending, Sources: c.sources("submission-give-up"),
			Usage: "try for this `DURATION` to send mail that is refused for now"},
		text("public-url", "", &c.PublicURL, "an https `URL` at which the world reaches the HTTP listener, for those who unsubscribe from mail"),
		&cli.IntFlag{Name: "max-tokens", Value: token.DefaultLimit, Destination: &c.MaxTokens, Sources: c.sources("max-tokens"),
			Usage: "let at most `N` API tokens be in use"},
		text("audit", auditAll, &c.Audit, "write these `CALLS` into the audit log: all, writes or off"),
		&cli.DurationFlag{Name: "audit-max-age", Value: audit.DefaultMaxAge, Destination: &c.AuditMaxAge, Sources: c.sources("audit-max-age"),
			Usage: "keep entries of the audit log for this `DURATION`"},
		&cli.Int64Flag{Name: "audit-max-entries", Value: audit.DefaultMaxEntries, Destination: &c.AuditMaxEntries, Sources: c.sources("audit-max-entries"),
			Usage: "keep at most `N` entries of the audit log"},
		&cli.DurationFlag{Name: "link-timeout", Value: imapconn.DefaultLinkTimeout, Destination: &c.LinkTimeout, Sources: c.sources("link-timeout"),
			Usage: "find out within `DURATION` that a connection to a mail server is dead"},
		&cli.IntFlag{Name: "overflow-after", Value: idle.DefaultOverflowAfter, Destination: &c.OverflowAfter, Sources: c.sources("overflow-after"),
			Usage: "announce a folder.overflow before more than `N` changes of a folder at once"},
		&cli.IntFlag{Name: "host-connections", Value: imapconn.DefaultHostConnections, Destination: &c.HostConnections, Sources: c.sources("host-connections"),
			Usage: "open at most `N` connections to one mail server at a time"},
		&cli.IntFlag{Name: "host-logins", Value: imapconn.DefaultHostLogins, Destination: &c.HostLogins, Sources: c.sources("host-logins"),
			Usage: "log in to one mail server at most `N` times a second"},
		&cli.StringSliceFlag{Name: "webhook-waits", Destination: &c.WebhookWaits, Sources: c.sources("webhook-waits"),
			Usage: "after the first tries, wait for these `DURATIONS` before each further one to send an event to a webhook, comma-separated (default: 5s,5m,30m,2h,5h,10h,14h,20h,24h)"},
		&cli.DurationFlag{Name: "webhook-disable-after", Value: 5 * 24 * time.Hour, Destination: &c.WebhookDisableAfter, Sources: c.sources("webhook-disable-after"),
			Usage: "disable a webhook to which no request has succeeded for this `DURATION`"},
		text("log-level", "info", &c.LogLevel, "log from this `LEVEL` up: debug, info, warn or error"),
		text("log-format", "text", &c.LogFormat, "log in this `FORMAT`: text or json"),
	}, c.transport.flags(c.sources), c.callers.flags(c.sources))
}

// checkPublicURL: what stands in mail has to be right, and RFC 8058 wants HTTPS.
func (c *config) checkPublicURL() error {
	if c.PublicURL == "" {
		return nil
	}
	u, err := url.Parse(c.PublicURL)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || len(c.PublicURL) > 200 {
		return fmt.Errorf("--public-url: %q is no address such as https://postern.example.com", c.PublicURL)
	}
	return nil
}

// sources looks a setting up in the environment, then in the file.
func (c *config) sources(name string) cli.ValueSourceChain {
	return cli.NewValueSourceChain(cli.EnvVar(envName(name)), fileSource{config: c, key: name})
}

func envName(flag string) string {
	return "POSTERN_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// secretFlag is a setting that may hold a password.
type secretFlag struct{ dest *secret.String }

// Set implements [cli.Value].
func (f secretFlag) Set(text string) error {
	*f.dest = secret.New(text)
	return nil
}

// String implements [cli.Value]; the help page shows it as the default.
func (secretFlag) String() string { return "" }

// Get implements [cli.Value].
func (f secretFlag) Get() any { return *f.dest }

// validate checks what flags cannot check by themselves. Its errors name the
// setting and say what to do. isSet tells whether a setting was given.
func (c *config) validate(isSet func(flag string) bool) error {
	if err := checkFile(c.File, c.flags()); err != nil {
		return err
	}
	if err := c.transport.validate(); err != nil {
		return err
	}
	if err := c.callers.validate(&c.transport); err != nil {
		return err
	}
	if err := c.checkKey(); err != nil {
		return err
	}
	for _, listener := range []struct{ flag, addr string }{{"http", c.HTTP}, {"grpc", c.GRPC}} {
		if err := c.checkListener(listener.flag, listener.addr); err != nil {
			return err
		}
	}
	if err := c.checkNATS(isSet); err != nil {
		return err
	}
	if c.EventsMaxAge < time.Minute {
		return fmt.Errorf("--events-max-age is %s: give at least 1m", c.EventsMaxAge)
	}
	if c.PollInterval < time.Second {
		return fmt.Errorf("--poll-interval is %s: give at least 1s", c.PollInterval)
	}
	if c.GiveUpSending < time.Minute {
		return fmt.Errorf("--submission-give-up is %s: give at least 1m", c.GiveUpSending)
	}
	if err := c.checkPublicURL(); err != nil {
		return err
	}
	if err := c.checkLinks(); err != nil {
		return err
	}
	if err := c.checkTokens(); err != nil {
		return err
	}
	if err := c.checkLimits(); err != nil {
		return err
	}
	if _, err := newLogger(io.Discard, c.LogLevel, c.LogFormat); err != nil {
		return err
	}
	if c.WebhookDisableAfter < time.Minute {
		return fmt.Errorf("--webhook-disable-after is %s: give at least 1m", c.WebhookDisableAfter)
	}
	for _, text := range c.WebhookWaits {
		wait, err := time.ParseDuration(strings.TrimSpace(text))
		if err != nil || wait <= 0 {
			return fmt.Errorf("--webhook-waits: %q is no duration such as 30s or 5m", text)
		}
		c.webhookSchedule = append(c.webhookSchedule, wait)
	}
	var err error
	if c.allowed, err = parseNetworks("allow-networks", c.AllowNetworks); err != nil {
		return err
	}
	return c.checkAllowances()
}

// parseNetworks reads the networks of a setting.
func parseNetworks(flag string, texts []string) (networks []netip.Prefix, err error) {
	for _, text := range texts {
		prefix, err := netip.ParsePrefix(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("--%s: %q is no network in CIDR form such as 10.0.0.0/8", flag, text)
		}
		networks = append(networks, prefix.Masked())
	}
	return networks, nil
}

// What --audit can be.
const (
	auditAll    = "all"
	auditWrites = "writes"
	auditOff    = "off"
)

// checkTokens checks what concerns tokens and what is done with them.
func (c *config) checkTokens() error {
	if c.MaxTokens < 1 {
		return fmt.Errorf("--max-tokens is %d: give at least 1", c.MaxTokens)
	}
	switch c.Audit {
	case auditAll, auditWrites, auditOff:
	default:
		return fmt.Errorf("--audit is %q: give all, writes or off", c.Audit)
	}
	if c.AuditMaxAge < time.Hour {
		return fmt.Errorf("--audit-max-age is %s: give at least 1h", c.AuditMaxAge)
	}
	if c.AuditMaxEntries < 1000 {
		return fmt.Errorf("--audit-max-entries is %d: give at least 1000", c.AuditMaxEntries)
	}
	return nil
}

// Bounds of --link-timeout: a server that thinks for ten seconds is no dead link,
// and IDLE ends after half an hour anyway.
const (
	minLinkTimeout = 30 * time.Second
	maxLinkTimeout = 30 * time.Minute
)

// checkLinks checks what concerns connections to mail servers.
func (c *config) checkLinks() error {
	if c.LinkTimeout < minLinkTimeout || c.LinkTimeout > maxLinkTimeout {
		return fmt.Errorf("--link-timeout is %s: give from %s to %s", c.LinkTimeout, minLinkTimeout, maxLinkTimeout)
	}
	if c.OverflowAfter < 1 {
		return fmt.Errorf("--overflow-after is %d: give at least 1", c.OverflowAfter)
	}
	if c.HostConnections < 1 {
		return fmt.Errorf("--host-connections is %d: give at least 1", c.HostConnections)
	}
	if c.HostLogins < 1 || c.HostLogins > 1000 {
		return fmt.Errorf("--host-logins is %d: give a number from 1 to 1000", c.HostLogins)
	}
	return nil
}

// checkNATS tells apart what is for the embedded server and for another.
func (c *config) checkNATS(isSet func(flag string) bool) error {
	if c.EventsReplicas < 1 || c.EventsReplicas > 5 {
		return fmt.Errorf("--events-replicas is %d: give a number from 1 to 5", c.EventsReplicas)
	}
	if c.NATSURL.IsZero() {
		if c.EventsReplicas > 1 {
			return fmt.Errorf("--events-replicas is %d, but the embedded NATS server is one: give the URL of a cluster with --nats-url", c.EventsReplicas)
		}
		return nil
	}
	if isSet("nats") {
		return errors.New("--nats is the listener of the embedded NATS server, which --nats-url takes the place of: give one of them")
	}
	_, err := natsHosts(c.NATSURL)
	return err
}

// checkListener refuses to serve tokens and mail in clear text to a network.
func (c *config) checkListener(flag, addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err == nil {
		var resolver net.Resolver
		_, err = resolver.LookupPort(context.Background(), "tcp", port) // in memory, or a file
	}
	if err != nil {
		return fmt.Errorf("--%s is %q: give HOST:PORT such as 127.0.0.1:8080", flag, addr)
	}
	if c.transport.encrypts() || c.BehindProxy || isLoopback(host) {
		return nil
	}
	return fmt.Errorf("--%s %s would serve tokens and mail without TLS beyond this machine: "+
		"give --tls-cert and --tls-key, or --behind-proxy if a proxy terminates TLS in front", flag, addr)
}

// isLoopback reports whether a listener of that host is for this machine alone. Of
// names it knows one; that it stands for what it should is looked at once it
// has been resolved.
func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// fileSource finds a flag's value in the YAML file. The file is read anew for
// each flag: it is small, and start-up is the only time.
type fileSource struct {
	config *config
	key    string
}

func (s fileSource) Lookup() (string, bool) {
	settings, err := readFile(s.config.File)
	if err != nil {
		return "", false // validate reads it again and reports the error
	}
	value, ok := settings[s.key]
	return value, ok
}

func (s fileSource) String() string   { return fmt.Sprintf("key %q of the configuration file", s.key) }
func (s fileSource) GoString() string { return s.String() }

// readFile reads the YAML file into one string per key; a list becomes a
// comma-separated string, as it would be written on the command line.
func readFile(path string) (map[string]string, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	var values map[string]any
	if err := yaml.Unmarshal(text, &values); err != nil {
		return nil, fmt.Errorf("read the configuration %s: %w", path, err)
	}
	settings := make(map[string]string, len(values))
	for key, value := range values {
		switch value := value.(type) {
		case nil:
		case []any:
			items := make([]string, len(value))
			for i, item := range value {
				items[i] = fmt.Sprint(item)
			}
			settings[key] = strings.Join(items, ",")
		case map[string]any:
			return nil, fmt.Errorf("read the configuration %s: %q holds a mapping, expected a plain value or a list", path, key)
		default:
			settings[key] = fmt.Sprint(value)
		}
	}
	return settings, nil
}

// checkFile reports an unreadable file and keys that mean nothing: a misspelt
// setting must not be silently without effect.
func checkFile(path string, flags []cli.Flag) error {
	settings, err := readFile(path)
	if err != nil {
		return err
	}
	for key := range settings {
		if slices.Contains(secretSettings, key) {
			return fmt.Errorf("%s: %q is a secret and is taken from the environment only, as %s", path, key, envName(key))
		}
		known := slices.ContainsFunc(flags, func(flag cli.Flag) bool { return flag.Names()[0] == key })
		if !known || key == "config" {
			return fmt.Errorf("%s: unknown setting %q; `postern serve --help` lists them", path, key)
		}
	}
	return nil
}
