//go:build unix

package imapconn

import (
	"errors"
	"net"
	"syscall"
	"time"
)

// probe looks at a connection at rest without a round trip: whether the server
// has closed it, or sent something. It looks past TLS and compression, at the
// socket, and takes nothing out of it. ok is false if it cannot tell.
func probe(conn net.Conn) (closed, pending, ok bool) {
	sc, isSyscall := conn.(syscall.Conn)
	if !isSyscall {
		return false, false, false
	}
	// An expired deadline would make the look fail.
	if conn.SetReadDeadline(time.Time{}) != nil {
		return true, false, true
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return true, false, true
	}
	var n int
	var peekErr error
	err = raw.Read(func(fd uintptr) bool {
		var one [1]byte
		n, _, peekErr = syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return true
	})
	switch {
	case err != nil:
		return true, false, true
	case errors.Is(peekErr, syscall.EAGAIN), errors.Is(peekErr, syscall.EINTR):
		return false, false, true
	case peekErr != nil || n == 0:
		return true, false, true
	}
	return false, true, true
}
