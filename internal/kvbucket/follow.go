package kvbucket

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
)

// Follow calls read, which reads a bucket and then its changes for as long as that goes
// well, again and again until ctx ends: at once where read asks for that, else after a
// pause.
//
// read is told when the connection was lost and is back, and should begin anew then. The
// NATS client would resume a watch by itself, but only after it has missed heartbeats,
// which was measured to take 15 to 20 s.
func Follow(ctx context.Context, conn *nats.Conn, pause time.Duration, read func(reconnected <-chan nats.Status) (again bool)) {
	reconnected := conn.StatusChanged(nats.CONNECTED)
	defer conn.RemoveStatusListener(reconnected)
	for {
		if read(reconnected) {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}
