package daemontest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
)

// FindProgram looks for a program in PATH and where the systems put servers: an
// ordinary user's PATH often lacks the sbin directories. advice is said where it is
// missing.
func FindProgram(name, advice string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin", "/opt/homebrew/sbin", "/opt/homebrew/bin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not installed: %s", name, advice)
}

// FreePort proposes a port of 127.0.0.1 that nobody listens on, below the range from
// which systems give out ephemeral ports, so that it is still free when a stopped
// server comes back. Few servers can say which port they got, so asking for port 0
// is no way.
func FreePort() int {
	const low, high = 20000, 32000
	for {
		port := low + rand.IntN(high-low)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			l.Close()
			return port
		}
	}
}
