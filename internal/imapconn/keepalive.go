package imapconn

import (
	"net"
	"time"
)

// keepAlive has the operating system find out within limit that the peer of a
// connection is gone: it probes a connection at rest, and gives one up whose
// data are not acknowledged. What it cannot set is left to the commands, which
// have time-outs of their own.
func keepAlive(conn net.Conn, limit time.Duration) {
	for {
		wrapped, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		conn = wrapped.NetConn()
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	// A third of the limit at rest, then three probes in another third: the last
	// is for whatever was rounded up.
	probes := 3
	_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{
		Enable:   true,
		Idle:     max(limit/3, time.Second),
		Interval: max(limit/time.Duration(3*probes), time.Second),
		Count:    probes,
	})
	setUserTimeout(tcp, 2*limit/3)
}
