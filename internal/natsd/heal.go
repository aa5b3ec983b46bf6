package natsd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// nats-server 2.15 gives a stream up for good when a write to it fails, and all
// of JetStream in some cases, until it is started again. So the server is started
// again within the process, once its disk takes writes: clients lose their
// connections for a moment, as by any restart of a server, and come back.

const (
	// healPace is how often a server that cannot store looks whether it could.
	healPace = time.Second
	// healRest is the least time from one start to the next: space that comes
	// back bit by bit must not make a server that does nothing but start.
	healRest = 5 * time.Second
	// probeSize is how much has to fit onto the disk for a start to be of use.
	probeSize = 2 << 20
)

// StorageError says that the server cannot store. Full says that this is for want
// of space; it passes by itself once there is some.
type StorageError struct {
	Dir    string
	Reason string
	Full   bool
}

// Error implements error.
func (e *StorageError) Error() string {
	if e.Full {
		return fmt.Sprintf("the disk with %s is full (%s): free space there, and Postern goes on by itself", e.Dir, e.Reason)
	}
	return fmt.Sprintf("the embedded NATS server cannot store in %s: %s; it is tried again", e.Dir, e.Reason)
}

// storage is nil as long as the server stores what it is given.
func (s *Server) storage() *StorageError {
	reason := s.log.writeFailure()
	if reason == "" && s.current().JetStreamEnabled() {
		return nil
	}
	if reason == "" {
		reason = "storage was turned off"
	}
	return &StorageError{Dir: s.dir.path, Reason: reason, Full: strings.Contains(reason, "no space left") ||
		strings.Contains(reason, "quota exceeded") || isFull(probe(s.dir.path))}
}

func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// probe tries whether the disk takes writes.
func probe(dir string) (err error) {
	path := filepath.Join(dir, "probe")
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close(), os.Remove(path)) }()
	block := make([]byte, 64<<10)
	for range probeSize / len(block) {
		if _, err := file.Write(block); err != nil {
			return err
		}
	}
	return file.Sync()
}

// heal starts the server again whenever it cannot store and could, until ctx
// ends.
func (s *Server) heal(ctx context.Context) {
	tick := time.NewTicker(healPace)
	defer tick.Stop()
	started, told := time.Time{}, false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		failure := s.storage()
		if failure == nil {
			told = false
			continue
		}
		if !told {
			s.logger.Error("nothing can be stored", "error", failure)
			told = true
		}
		if time.Since(started) < healRest || probe(s.dir.path) != nil {
			continue
		}
		started = time.Now()
		if err := s.restart(ctx); err != nil {
			s.logger.Error("start the embedded NATS server again", "error", err)
			continue
		}
		s.logger.Info("the embedded NATS server stores again")
	}
}

// restart puts a new NATS server in place of one that cannot store.
func (s *Server) restart(ctx context.Context) error {
	old := s.current()
	old.Shutdown()
	old.WaitForShutdown()
	// What the old one had to say is over.
	s.log.forget()
	if _, err := s.run(ctx); err != nil {
		s.log.fail(err)
		return err
	}
	return nil
}

// current is the NATS server that runs at present.
func (s *Server) current() *server.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nats
}

// InProcessConn implements [nats.InProcessConnProvider]: a connection goes to the
// server that runs at present.
func (s *Server) InProcessConn() (net.Conn, error) { return s.current().InProcessConn() }
