package main

import (
	"net"
	"path/filepath"
	"testing"
	"time"
)

func TestServeNotifiesSystemd(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "notify")
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer systemd.Close()
	told := func() string {
		if err := systemd.SetReadDeadline(time.Now().Add(deadline)); err != nil {
			t.Fatal(err)
		}
		message := make([]byte, 100)
		n, err := systemd.Read(message)
		if err != nil {
			t.Fatal(err)
		}
		return string(message[:n])
	}
	args := append([]string{"serve", "--data-dir=" + t.TempDir()}, loopback...)
	p := launch(t, []string{"NOTIFY_SOCKET=" + path}, args...)
	if got := told(); got != "READY=1" {
		t.Errorf("told %q", got)
	}
	p.stop(t)
	if got := told(); got != "STOPPING=1" {
		t.Errorf("told %q", got)
	}
}
