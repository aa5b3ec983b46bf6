package main

import (
	"log/slog"
	"net"
	"os"
)

// notifySystemd tells systemd of the state of this service, by the protocol of
// sd_notify(3): a datagram to the socket that the environment names. It does
// nothing where systemd does not ask, by Type=notify.
func notifySystemd(log *slog.Logger, state string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err == nil {
		_, err = conn.Write([]byte(state))
		_ = conn.Close()
	}
	if err != nil {
		log.Warn("systemd cannot be told of this service's state", "state", state, "error", err)
	}
}
