// A consumer of Postern's events by NATS. It has a place of its own in the log,
// under the name "example": started again, it goes on where it stopped.
//
//	go run ./docs/examples/nats "$(postern nats credentials --name example)"
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if len(os.Args) != 2 {
		log.Print("give the URL that `postern nats credentials` has printed")
		return
	}
	if err := consume(ctx, os.Args[1], os.Stdout); err != nil && ctx.Err() == nil {
		log.Print(err)
	}
}

// consume prints new messages until ctx ends.
func consume(ctx context.Context, url string, out io.Writer) error {
	conn, err := nats.Connect(url, nats.MaxReconnects(-1))
	if err != nil {
		return err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	consumer, err := js.CreateOrUpdateConsumer(ctx, "POSTERN_EVENTS", jetstream.ConsumerConfig{
		Durable:       "example",
		FilterSubject: "postern.events.*.message.created",
		DeliverPolicy: jetstream.DeliverAllPolicy, // or DeliverNewPolicy, or from a time
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       30 * time.Second,
	})
	if err != nil {
		return err
	}
	messages, err := consumer.Messages()
	if err != nil {
		return err
	}
	defer messages.Stop()
	for {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return err
		}
		var event struct {
			ID   string
			Data struct {
				Message  string
				Envelope struct{ Subject string }
			}
		}
		if err := json.Unmarshal(msg.Data(), &event); err != nil {
			return fmt.Errorf("event on %s: %w", msg.Subject(), err)
		}
		// Do the work here. An event whose acknowledgement is lost comes again,
		// under the same id.
		if _, err := fmt.Fprintf(out, "%s %s %q\n", event.ID, event.Data.Message, event.Data.Envelope.Subject); err != nil {
			return err
		}
		if err := msg.Ack(); err != nil {
			return err
		}
	}
}
