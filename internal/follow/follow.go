// Package follow keeps what was read from files in step with them, so that a
// certificate can be renewed and a caller shut out without a restart, which would
// end the connections to all mailboxes.
package follow

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// interval is how often files are looked at.
	interval = time.Second
	// maxSize bounds a file: a typing error may name a device or a disk image.
	maxSize = 4 << 20
)

// Files is what some files hold that are used together, such as a certificate and
// its key. They are compared by their content: the times of files tell nothing
// where they are copied, linked, or mounted into a container.
type Files[T any] struct {
	what  string
	names []string
	parse func(contents [][]byte) (T, error)

	current atomic.Pointer[T]
	// read is the content that current is from, refused what parse failed with
	// last. Run alone touches them after New.
	read    [][]byte
	refused error
}

// New reads files for the first time, which has to succeed. What they are goes
// into errors and the log, for people: it names the settings.
func New[T any](what string, parse func(contents [][]byte) (T, error), names ...string) (*Files[T], error) {
	f := &Files[T]{what: what, names: names, parse: parse}
	contents, err := readAll(names)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	value, err := parse(contents)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	f.read = contents
	f.current.Store(&value)
	return f, nil
}

// Current is what the files held when they last made sense.
func (f *Files[T]) Current() T { return *f.current.Load() }

// Run looks at the files every second until ctx ends. After a change it calls
// changed with what they hold now, where that is not nil. Files that cannot be
// read or make no sense, as in the middle of a renewal, change nothing; the log
// says so, once for each reason.
func (f *Files[T]) Run(ctx context.Context, log *slog.Logger, changed func(T)) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		renewed, err := f.look()
		switch {
		case err != nil && (f.refused == nil || f.refused.Error() != err.Error()):
			log.Error("files have changed and are of no use; what they held before stays in force",
				"files", strings.Join(f.names, ", "), "of", f.what, "error", err)
		case renewed:
			log.Info("files have changed and are in force", "files", strings.Join(f.names, ", "), "of", f.what)
			if changed != nil {
				changed(f.Current())
			}
		case err == nil && f.refused != nil:
			log.Info("files are again as they are in force", "files", strings.Join(f.names, ", "), "of", f.what)
		}
		f.refused = err
	}
}

// look reads the files and takes over what they hold if that is new.
func (f *Files[T]) look() (renewed bool, err error) {
	contents, err := readAll(f.names)
	if err != nil || equal(contents, f.read) {
		return false, err
	}
	value, err := f.parse(contents)
	if err != nil {
		return false, err
	}
	f.read = contents
	f.current.Store(&value)
	return true, nil
}

func equal(a, b [][]byte) bool {
	for i := range a {
		if !bytes.Equal(a[i], b[i]) {
			return false
		}
	}
	return true
}

func readAll(names []string) ([][]byte, error) {
	contents := make([][]byte, len(names))
	for i, name := range names {
		content, err := readFile(name)
		if err != nil {
			return nil, err
		}
		contents[i] = content
	}
	return contents, nil
}

func readFile(name string) ([]byte, error) {
	// Before it is opened: that waits where it is a pipe.
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no file that can be read again and again", name)
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxSize+1))
	if err != nil {
		return nil, err
	}
	if len(content) > maxSize {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, maxSize)
	}
	if len(content) == 0 {
		return nil, &os.PathError{Op: "read", Path: name, Err: errors.New("the file is empty")}
	}
	return content, nil
}
