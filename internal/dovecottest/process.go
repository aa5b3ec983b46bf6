package dovecottest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	startTimeout = 30 * time.Second
	stopGrace    = 200 * time.Millisecond
	cleanTimeout = 10 * time.Second
	pollInterval = 5 * time.Millisecond
)

// A process is one running Dovecot and the shell that outlives this test
// binary by a moment to end it.
type process struct {
	master *exec.Cmd
	ended  chan struct{} // closed when the master has been waited for

	warden     *exec.Cmd
	wardenPipe io.WriteCloser
}

// wardenScript waits for a line on its standard input. What it gets instead,
// when the test binary was killed or ran into its time-out and never came to
// its clean-up, is the end of the pipe: then it ends Dovecot and removes its
// files.
const wardenScript = `trap '' INT TERM
read -r _ && exit
kill -TERM "-$1"
sleep 0.5
kill -KILL "-$1"
sleep 0.5
rm -rf "$2"`

// startProcess runs Dovecot in the foreground, as a child that can be waited
// for. Neither child may hold the test binary's output open, because go test
// waits for whoever does. Both lead process groups of their own: Dovecot so that
// its processes can be ended together, the warden so that it survives what ends
// the test binary's group.
func startProcess(dovecot, dir string) (*process, error) {
	p := &process{ended: make(chan struct{})}
	p.master = exec.Command(dovecot, "-F", "-c", filepath.Join(dir, "dovecot.conf"))
	// What is wrong with a configuration goes to the standard error, not to
	// the log that the configuration names.
	log, err := os.OpenFile(filepath.Join(dir, "dovecot.log"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.master.Stderr = log
	p.master.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.master.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.ended)
		_ = p.master.Wait() // how it ended is in its log
	}()

	p.warden = exec.Command("/bin/sh", "-c", wardenScript, "warden", strconv.Itoa(p.master.Process.Pid), dir)
	p.warden.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	pipe, err := p.warden.StdinPipe()
	if err == nil {
		err = p.warden.Start()
	}
	if err != nil {
		p.stopMaster()
		return nil, fmt.Errorf("start the shell that watches over Dovecot: %w", err)
	}
	p.wardenPipe = pipe
	return p, nil
}

// stop dismisses the warden and ends Dovecot.
func (p *process) stop() {
	_, _ = io.WriteString(p.wardenPipe, "dismissed\n")
	_ = p.warden.Wait()
	p.stopMaster()
}

// stopMaster tells all of Dovecot's processes to end, not only the master: the
// master would pass it on to some of them, and wait seconds for the rest. What
// is left after a moment, such as the master in one of its naps, is killed.
func (p *process) stopMaster() {
	group := -p.master.Process.Pid
	_ = syscall.Kill(group, syscall.SIGTERM)
	timer := time.NewTimer(stopGrace)
	defer timer.Stop()
	select {
	case <-p.ended:
	case <-timer.C:
	}
	_ = syscall.Kill(group, syscall.SIGKILL)
	<-p.ended
}

// waitUntilReady waits until the server greets, or fails when it has ended.
func (p *process) waitUntilReady(ctx context.Context, addr string) error {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		err := greets(ctx, addr)
		if err == nil {
			return nil
		}
		select {
		case <-p.ended:
			return errors.New("the server ended while starting")
		case <-ctx.Done():
			return fmt.Errorf("wait for Dovecot's greeting: %w", err)
		case <-ticker.C:
		}
	}
}

func greets(ctx context.Context, addr string) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return err
	}
	if !strings.HasPrefix(line, "* OK ") {
		return fmt.Errorf("greeting %q", line)
	}
	return nil
}

// removeDir removes the server's files. The sessions of a server that was told
// to stop may live on for a moment and write into the directory meanwhile.
func removeDir(dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), cleanTimeout)
	defer cancel()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		err := os.RemoveAll(dir)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-ticker.C:
		}
	}
}
