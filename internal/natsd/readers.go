package natsd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// readersPace is how often the readers' credentials are looked at.
	readersPace = 200 * time.Millisecond
	// copyPace is how often it is made sure that the copy of the log is there,
	// and keeps events for as long as the log does.
	copyPace = 5 * time.Second
	// copyTimeout bounds one such look.
	copyTimeout = 10 * time.Second
)

// keep looks after the server until ctx ends.
func (s *Server) keep(ctx context.Context) {
	defer close(s.healed)
	var group sync.WaitGroup
	group.Go(func() { s.heal(ctx) })
	if s.readable != "" {
		group.Go(func() { s.serveReaders(ctx) })
	}
	group.Wait()
}

// serveReaders keeps what readers read, and lets nobody in whose credentials have
// ended, until ctx ends.
func (s *Server) serveReaders(ctx context.Context) {
	tick := time.NewTicker(readersPace)
	defer tick.Stop()
	c := &copier{server: s}
	defer c.close()
	looked, told := time.Time{}, ""
	for {
		ended, err := s.keys.reload()
		if len(ended) > 0 {
			err = errors.Join(err, s.expel(ended))
		}
		if err == nil && time.Since(looked) >= copyPace || c.wanted != s.keys.any() {
			var done bool
			if done, err = c.look(ctx); done {
				looked = time.Now()
			}
		}
		if err != nil && ctx.Err() == nil && err.Error() != told {
			s.logger.Warn("readers of events", "error", err)
			told = err.Error()
		}
		if err == nil {
			told = ""
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (s *Server) expel(names []string) error {
	return (&gate{server: s.current()}).expel(names)
}

// copier keeps the copy of the log that readers read.
type copier struct {
	server *Server
	wanted bool // whether there were readers at the last look

	log, copy *nats.Conn // nil before they are needed
}

// look makes the copy if there are readers, and removes it if there are none. It is
// not done as long as there is no log.
func (c *copier) look(ctx context.Context) (done bool, err error) {
	c.wanted = c.server.keys.any()
	ctx, cancel := context.WithTimeout(ctx, copyTimeout)
	defer cancel()
	if err := c.connect(ctx); err != nil {
		return false, err
	}
	copied, err := jetstream.New(c.copy)
	if err != nil {
		return false, err
	}
	name := c.server.readable
	if !c.wanted {
		if err := copied.DeleteStream(ctx, name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return false, fmt.Errorf("remove the copy of the log: %w", err)
		}
		return true, nil
	}
	original, err := jetstream.New(c.log)
	if err != nil {
		return false, err
	}
	stream, err := original.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return false, nil // not made yet
	}
	if err != nil {
		return false, fmt.Errorf("look at the log: %w", err)
	}
	if _, err := copied.CreateOrUpdateStream(ctx, copyConfig(stream.CachedInfo().Config)); err != nil {
		return false, fmt.Errorf("copy the log: %w", err)
	}
	return true, nil
}

// copyConfig is how the copy of a stream has to be. Sequence numbers are those of
// the original.
func copyConfig(original jetstream.StreamConfig) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        original.Name,
		Description: original.Description,
		Mirror: &jetstream.StreamSource{
			Name:     original.Name,
			External: &jetstream.ExternalStream{APIPrefix: copyAPI, DeliverPrefix: copyFeed},
		},
		Storage:    jetstream.FileStorage,
		Retention:  jetstream.LimitsPolicy,
		Discard:    jetstream.DiscardOld,
		Replicas:   1,
		MaxAge:     original.MaxAge,
		MaxBytes:   original.MaxBytes,
		DenyDelete: true,
		DenyPurge:  true,
	}
}

// connect opens the connections, which then last.
func (c *copier) connect(ctx context.Context) (err error) {
	if c.log == nil {
		if c.log, err = c.server.connect(ctx, c.server.keys.owner); err != nil {
			return err
		}
	}
	if c.copy == nil {
		c.copy, err = c.server.connect(ctx, c.server.keys.copier)
	}
	return err
}

func (c *copier) close() {
	if c.log != nil {
		c.log.Close()
	}
	if c.copy != nil {
		c.copy.Close()
	}
}
