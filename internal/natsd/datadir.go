package natsd

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gofrs/flock"
)

// The files beside the server's own directory "jetstream".
const (
	lockFile = "lock"
	urlFile  = "nats-url"
)

// InUseError says that another process uses the data directory.
type InUseError struct {
	Dir string
	// PID is the other process, 0 when it is not known.
	PID int
}

func (e *InUseError) Error() string {
	who := "another process"
	if e.PID != 0 {
		who = fmt.Sprintf("process %d", e.PID)
	}
	return fmt.Sprintf("data directory %s is in use by %s: stop it first, or choose another directory", e.Dir, who)
}

// dataDir is a directory that this process alone uses.
type dataDir struct {
	path string
	lock *flock.Flock
}

// openDataDir makes the directory where needed and locks it. It also finds out
// by a synced write whether the directory can hold data at all, because the
// server would only tell later and less clearly.
func openDataDir(path string) (*dataDir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("data directory %s cannot be made: %w", path, err)
	}
	name := filepath.Join(path, lockFile)
	// The kernel drops the lock with the process, however it ends.
	lock := flock.New(name, flock.SetPermissions(0o600))
	locked, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("data directory %s is not writable: %w", path, err)
	}
	if !locked {
		return nil, &InUseError{Dir: path, PID: readPID(name)}
	}
	dir := &dataDir{path: path, lock: lock}
	if err := writePID(name); err != nil {
		return nil, errors.Join(fmt.Errorf("data directory %s takes no data: %w", path, err), dir.close())
	}
	return dir, nil
}

// warn tells of a directory that was there, and in which others can put their own
// files in place of ours. Reading them takes more: each is for its owner alone.
func (d *dataDir) warn(log *slog.Logger) {
	info, err := os.Stat(d.path)
	if err == nil && info.Mode().Perm()&0o022 != 0 {
		log.Warn("others than its owner can change what is in the data directory: run chmod 700 on it",
			"dir", d.path, "mode", fmt.Sprintf("%04o", info.Mode().Perm()))
	}
}

func (d *dataDir) close() error { return d.lock.Close() }

// writePID says in the lock file who holds it, for the message of the next.
func writePID(name string) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(file, os.Getpid())
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

func readPID(name string) int {
	content, err := os.ReadFile(name)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil {
		return 0
	}
	return pid
}

// credentials takes the user and password from the URL file of an earlier
// start, so that clients keep working across restarts, or makes new ones.
func (d *dataDir) credentials() (credentials, error) {
	name := filepath.Join(d.path, urlFile)
	content, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return newCredentials(), nil
	}
	if err != nil {
		return credentials{}, fmt.Errorf("credentials of the embedded NATS server: %w", err)
	}
	login, ok := parseCredentials(string(content))
	if !ok {
		return credentials{}, fmt.Errorf("%s does not hold a NATS URL with user and password: remove it to have new credentials made", name)
	}
	return login, nil
}

// writeURL keeps the URL for clients, and for the next start.
func (d *dataDir) writeURL(url string) error {
	if err := writeWhole(filepath.Join(d.path, urlFile), []byte(url+"\n")); err != nil {
		return fmt.Errorf("write the NATS URL: %w", err)
	}
	return nil
}

// writeWhole puts a file in place whole or not at all, with mode 0600 whatever
// mode an older one had.
func writeWhole(path string, content []byte) error {
	// CreateTemp gives the file mode 0600.
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	_, err = temp.Write(content)
	if err == nil {
		err = temp.Sync()
	}
	err = errors.Join(err, temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	return err
}
