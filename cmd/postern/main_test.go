package main

import (
	"bytes"
	"context"
	"flag"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/logtest"
	"github.com/postern-mail/postern/internal/secret"
)

// asProgram makes a copy of the test binary play the program, so that tests
// see real processes without a second build.
const asProgram = "POSTERN_TEST_AS_PROGRAM"

// deadline bounds every wait of these tests; they end much earlier.
const deadline = 60 * time.Second

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	if what := os.Getenv(asFlood); what != "" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		runFlood(ctx, what)
		stop()
		os.Exit(0)
	}
	flag.Parse()
	chosen := false
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "test.parallel" })
	if !chosen {
		_ = flag.Set("test.parallel", strconv.Itoa(max(atOnce, runtime.GOMAXPROCS(0)))) // the testing package's own
	}
	os.Exit(m.Run())
}

// atOnce is how many of these tests run in parallel: most of their time they wait
// for processes and servers.
const atOnce = 5

// program is a command that runs postern, with an environment that has no
// settings but those given.
func program(ctx context.Context, env []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "POSTERN_") })
	cmd.Env = append(append(cmd.Env, asProgram+"=1"), env...)
	return cmd
}

// outcome is how a process ended.
type outcome struct {
	code           int
	stdout, stderr string
}

// execute runs postern to its end.
func execute(t *testing.T, env []string, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	cmd := program(ctx, env, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if ctx.Err() != nil {
		t.Fatalf("postern %s did not end: %s", strings.Join(args, " "), stderr.String())
	}
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return outcome{code: cmd.ProcessState.ExitCode(), stdout: stdout.String(), stderr: stderr.String()}
}

// failed checks that a process gave up, and said why once.
func (o outcome) failed(t *testing.T, says ...string) {
	t.Helper()
	if o.code != exitFailed {
		t.Errorf("exit code %d, want %d", o.code, exitFailed)
	}
	for _, text := range says {
		if n := strings.Count(o.stderr, text); n != 1 {
			t.Errorf("%q is said %d times, want once", text, n)
		}
	}
	if t.Failed() {
		t.Logf("stderr:\n%s", o.stderr)
	}
}

// process is a postern that runs.
type process struct {
	cmd    *exec.Cmd
	stderr *logtest.Buffer
	exited chan struct{}
	base   string // of its REST API
	token  string
}

// readyLine is what a process says when it is ready, as text or as JSON.
var readyLine = regexp.MustCompile(`msg"?[=:]"?ready"?[ ,]"?rest"?[=:]"?([^\s",]+)`)

// loopback has a process take free ports.
var loopback = []string{"--http=127.0.0.1:0", "--grpc=127.0.0.1:0", "--nats=127.0.0.1:0"}

// serveIn starts postern serve on a data directory, and waits until it is
// ready. It is killed with the test.
func serveIn(t *testing.T, dir string, args ...string) *process {
	t.Helper()
	args = append(append([]string{"serve", "--data-dir=" + dir}, loopback...), args...)
	p := launch(t, nil, args...)
	token, err := os.ReadFile(dir + "/admin-token")
	if err != nil {
		t.Fatal(err)
	}
	p.token = strings.TrimSpace(string(token))
	return p
}

// launch starts a process and waits until it is ready. Its log is shown if the
// test fails.
func launch(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	p := begin(t, env, args...)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of process %d:\n%s", p.cmd.Process.Pid, p.stderr.String())
		}
	})
	p.awaitReady(t)
	return p
}

// begin starts a process, which is killed with the test.
func begin(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	p := &process{cmd: program(context.Background(), env, args...), stderr: &logtest.Buffer{}, exited: make(chan struct{})}
	p.cmd.Stderr = p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.exited
	})
	return p
}

// awaitReady waits until the process serves, and learns where.
func (p *process) awaitReady(t *testing.T) {
	t.Helper()
	await(t, "the process to be ready", func() bool {
		select {
		case <-p.exited:
			t.Fatalf("the process ended with code %d: %s", p.cmd.ProcessState.ExitCode(), p.stderr.String())
		default:
		}
		found := readyLine.FindStringSubmatch(p.stderr.String())
		if found == nil {
			return false
		}
		p.base = found[1]
		return true
	})
}

// stop ends the process by a signal, and checks that it was in good order.
func (p *process) stop(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.awaitExit(t)
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d after SIGTERM, want 0", code)
	}
}

// kill ends the process as a crash of the machine does.
func (p *process) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	p.awaitExit(t)
}

func (p *process) awaitExit(t *testing.T) {
	t.Helper()
	timer := time.NewTimer(deadline)
	defer timer.Stop()
	select {
	case <-p.exited:
	case <-timer.C:
		t.Fatal("the process does not end")
	}
}

// client calls the process's API.
func (p *process) client() *apiClient {
	return &apiClient{base: p.base, token: secret.New(p.token), http: http.DefaultClient}
}

// await waits for a condition.
func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	end := time.Now().Add(deadline)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
		<-tick.C
	}
}
