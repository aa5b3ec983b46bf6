// Package daemontest runs the programs of real servers for tests: in the
// foreground, each below a directory of its own, and never longer than the test
// binary. dovecottest and eximtest are servers that it runs.
package daemontest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// StartTimeout bounds how long a server may take to serve.
	StartTimeout = 30 * time.Second

	stopGrace    = 200 * time.Millisecond
	cleanTimeout = 10 * time.Second
	pollInterval = 5 * time.Millisecond
)

// A Process is one running server and the shell that outlives this test binary by
// a moment to end it.
type Process struct {
	master *exec.Cmd
	ended  chan struct{} // closed when the master has been waited for

	warden     *exec.Cmd
	wardenPipe io.WriteCloser
}

// wardenScript waits for a line on its standard input. What it gets instead,
// when the test binary was killed or ran into its time-out and never came to
// its clean-up, is the end of the pipe: then it ends the server and removes its
// files.
const wardenScript = `trap '' INT TERM
read -r _ && exit
kill -TERM "-$1"
sleep 0.5
kill -KILL "-$1"
sleep 0.5
rm -rf "$2"`

// Start runs a server's program, which stays in the foreground as a child that can
// be waited for. What it says on its standard error, such as what is wrong with its
// configuration, is appended to a log, whatever log the configuration names. dir is
// removed if the test binary ends without Stop.
//
// Neither child may hold the test binary's output open, because go test waits for
// whoever does. Both lead process groups of their own: the server so that its
// processes can be ended together, the warden so that it survives what ends the
// test binary's group.
func Start(cmd *exec.Cmd, dir, log string) (*Process, error) {
	p := &Process{master: cmd, ended: make(chan struct{})}
	out, err := os.OpenFile(log, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd.Stderr = out
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.ended)
		_ = cmd.Wait() // how it ended is in its log
	}()

	p.warden = exec.Command("/bin/sh", "-c", wardenScript, "warden", strconv.Itoa(cmd.Process.Pid), dir)
	p.warden.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	pipe, err := p.warden.StdinPipe()
	if err == nil {
		err = p.warden.Start()
	}
	if err != nil {
		p.stopMaster()
		return nil, fmt.Errorf("start the shell that watches over the server: %w", err)
	}
	p.wardenPipe = pipe
	return p, nil
}

// Stop ends the server and dismisses the warden.
func (p *Process) Stop() {
	_, _ = io.WriteString(p.wardenPipe, "dismissed\n")
	_ = p.warden.Wait()
	p.stopMaster()
}

// stopMaster tells all of the server's processes to end, not only the master, which
// may pass it on to some of them, and wait seconds for the rest. What is left after
// a moment, such as Dovecot's master in one of its naps, is killed.
func (p *Process) stopMaster() {
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

// WaitUntilReady waits until the server greets with a line that begins as given, or
// fails when it has ended.
func (p *Process) WaitUntilReady(ctx context.Context, addr, greeting string) error {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		err := greets(ctx, addr, greeting)
		if err == nil {
			return nil
		}
		select {
		case <-p.ended:
			return errors.New("the server ended while starting")
		case <-ctx.Done():
			return fmt.Errorf("wait for the greeting of %s: %w", addr, err)
		case <-ticker.C:
		}
	}
}

func greets(ctx context.Context, addr, greeting string) error {
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
	if !strings.HasPrefix(line, greeting) {
		return fmt.Errorf("greeting %q", line)
	}
	return nil
}

// RemoveDir removes the server's files. The sessions of a server that was told
// to stop may live on for a moment and write into the directory meanwhile.
func RemoveDir(dir string) error {
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
