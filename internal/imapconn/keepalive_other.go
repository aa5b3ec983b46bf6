//go:build !linux

package imapconn

import (
	"net"
	"time"
)

// setUserTimeout has no portable form; the deadlines of writes have to do.
func setUserTimeout(*net.TCPConn, time.Duration) {}
