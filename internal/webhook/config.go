package webhook

import (
	"crypto/tls"
	"log/slog"
	"time"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/eventlog"
	"github.com/postern-mail/postern/internal/netguard"
	"github.com/postern-mail/postern/internal/requestid"
	"github.com/postern-mail/postern/internal/secret"
)

// Config says how events are sent. What is zero has the default that is named.
type Config struct {
	// Box seals the secrets.
	Box *secret.Box
	// Requests remembers request ids; it is needed where there are any.
	Requests *requestid.Store
	// Log is where the events come from, Accounts who has which labels.
	Log      *eventlog.Log
	Accounts *account.Registry
	// Guard says which addresses endpoints may have.
	Guard *netguard.Guard
	// TLS is for https endpoints; nil means the system's roots.
	TLS       *tls.Config
	UserAgent string
	// Timeout bounds one request; 0 means 15 s.
	Timeout time.Duration
	// Schedule says when an event is tried again; without quick or parked waits
	// it is [DefaultSchedule].
	Schedule Schedule
	// DisableAfter is how long an endpoint may fail without one success before
	// its webhook is disabled; 0 means five days.
	DisableAfter time.Duration
	// HoldMin and HoldMax bound the pause between two events for an endpoint
	// that seems to be down; 0 means 5 s and 5 min.
	HoldMin, HoldMax time.Duration
	// AckWait is when the work of a node that has died passes to another one, or
	// to its next start. It is longer than a request and what follows it; 0
	// means 30 s.
	AckWait time.Duration
	// BodyPatience is how old a message's event may be before it is sent
	// without the body that cannot be read; 0 means ten minutes.
	BodyPatience time.Duration
	// Most is how many webhooks there may be; 0 means any number. Those that are
	// created at the same moment may go beyond it.
	Most int
	// Replicas is the number of copies in a NATS cluster; 0 means 1.
	Replicas int
	// Logger gets what no caller is told; nil means none.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	orElse := func(d *time.Duration, other time.Duration) {
		if *d == 0 {
			*d = other
		}
	}
	orElse(&c.Timeout, 15*time.Second)
	orElse(&c.DisableAfter, 5*24*time.Hour)
	orElse(&c.HoldMin, 5*time.Second)
	orElse(&c.HoldMax, 5*time.Minute)
	orElse(&c.AckWait, 30*time.Second)
	orElse(&c.BodyPatience, 10*time.Minute)
	if c.Schedule.Quick == nil {
		c.Schedule.Quick = DefaultSchedule().Quick
	}
	if c.Schedule.Parked == nil {
		c.Schedule.Parked = DefaultSchedule().Parked
	}
	if c.UserAgent == "" {
		c.UserAgent = "Postern-Webhooks/1"
	}
	if c.Guard == nil {
		c.Guard = &netguard.Guard{}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}
