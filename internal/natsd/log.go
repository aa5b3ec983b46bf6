package natsd

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
)

// serverLog passes the NATS server's messages on to slog. The server's notices
// are its start-up report and the like, which an operator of Postern wants only
// when looking for something. Its trace of the protocol, the one place where
// clients' passwords could appear, is never turned on.
type serverLog struct {
	logger *slog.Logger

	mu     sync.Mutex
	reason string // why the server gave up
	write  string // the first write that failed
}

// fatal gives the reason for which the server gave up, if it did.
func (l *serverLog) fatal() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reason
}

// writeFailure gives the server's report of the first write to disk that
// failed, if one did.
func (l *serverLog) writeFailure() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.write
}

// fail keeps the reason why the server cannot store.
func (l *serverLog) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reason, l.write = "", err.Error()
}

// forget drops what a former server had to say.
func (l *serverLog) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reason, l.write = "", ""
}

// Fatalf is where the server expects the process to exit. It does not: the
// reason becomes the error of Start.
func (l *serverLog) Fatalf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reason == "" {
		l.reason = fmt.Sprintf(format, args...)
	}
}

// Errorf also keeps the first failed write: nats-server 2.15 then refuses all
// further writes to that stream, without an answer to the publisher and without
// another place where the embedding process could ask for it.
func (l *serverLog) Errorf(format string, args ...any) {
	l.log(slog.LevelError, format, args)
	if !strings.Contains(strings.ToLower(format), "critical write error") {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.write == "" {
		l.write = fmt.Sprintf(format, args...)
	}
}

func (l *serverLog) Warnf(format string, args ...any)   { l.log(slog.LevelWarn, format, args) }
func (l *serverLog) Noticef(format string, args ...any) { l.log(slog.LevelDebug, format, args) }
func (l *serverLog) Debugf(string, ...any)              {}
func (l *serverLog) Tracef(string, ...any)              {}

func (l *serverLog) log(level slog.Level, format string, args []any) {
	// The server's logging interface carries no context.
	l.logger.Log(context.Background(), level, "NATS server", "message", fmt.Sprintf(format, args...))
}
