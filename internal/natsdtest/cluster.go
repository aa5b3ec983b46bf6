package natsdtest

import (
	"fmt"
	"net/url"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/daemontest"
	"github.com/postern-mail/postern/internal/waittest"
)

// Cluster starts three servers as one cluster, as an operator's NATS may be, and
// connects to it. Streams and buckets can have three replicas there. All ends with the
// test.
func Cluster(tb testing.TB) jetstream.JetStream {
	tb.Helper()
	var routes []*url.URL
	var ports []int
	for range 3 {
		port := daemontest.FreePort() // a server has to know those of the others before they run
		ports = append(ports, port)
		routes = append(routes, &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", port)})
	}
	var servers []*server.Server
	for i, port := range ports {
		srv, err := server.NewServer(&server.Options{
			ServerName: fmt.Sprintf("n%d", i), Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
			JetStream: true, StoreDir: tb.TempDir(),
			Cluster: server.ClusterOpts{Name: "postern", Host: "127.0.0.1", Port: port}, Routes: routes,
		})
		if err != nil {
			tb.Fatal(err)
		}
		srv.Start()
		tb.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
		servers = append(servers, srv)
	}
	for _, srv := range servers {
		if !srv.ReadyForConnections(patience) {
			tb.Fatal("a server of the cluster does not get ready")
		}
	}
	conn, err := nats.Connect(servers[0].ClientURL())
	js := jetStreamBy(tb, conn, err)
	awaitLeader(tb, js)
	return js
}

// awaitLeader waits until the servers have found each other and store what they are
// asked to.
func awaitLeader(tb testing.TB, js jetstream.JetStream) {
	tb.Helper()
	waittest.For(tb, "the cluster to store", func() bool {
		_, err := js.CreateOrUpdateKeyValue(tb.Context(), jetstream.KeyValueConfig{Bucket: "ready", Replicas: 3})
		return err == nil
	})
}
