package idle

import (
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/linktest"
	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/natsdtest"
)

// jetStreamOver connects to a NATS server through a link, until the test ends.
func jetStreamOver(t testing.TB, link *linktest.Link, server *natsd.Server) jetstream.JetStream {
	t.Helper()
	return natsdtest.Remote(t, server.URL().Reveal(), nats.SetCustomDialer(link), nats.IgnoreDiscoveredServers())
}
