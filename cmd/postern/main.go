// Postern is a gateway from IMAP to JSON: it watches mailboxes, serves their
// folders and messages by REST and gRPC, and writes every change into an event
// log.
//
//	postern serve              runs the gateway
//	postern demo               shows in one process what it does
//	postern nats credentials   lets NATS clients read the events
//	postern tokens             makes, lists and revokes API tokens
//	postern health             tells whether it is ready, for health checks
//	postern keys               rotates the keys that seal credentials
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	_ "time/tzdata" // Invitations name time zones, and a container may have none.

	"github.com/urfave/cli/v3"
	_ "golang.org/x/crypto/x509roots/fallback" // Nor has it authorities for TLS.
)

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // it could not start, or ended otherwise than asked to
	exitUsage  = 2 // the command line or a setting is wrong
)

func main() {
	// Nothing of ours logs there. What libraries do, net/http above all, quotes the
	// bytes that strangers sent.
	log.SetOutput(io.Discard)
	os.Exit(run(context.Background(), os.Args, os.Stdout, os.Stderr))
}

// run is the whole program. The first SIGINT or SIGTERM ends it in good order;
// a second one ends it at once, in the way of the operating system.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	// A reader that has gone is the error of a write, not the end of the process.
	signal.Ignore(syscall.SIGPIPE)
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as under nohup
		ends = append(ends, syscall.SIGHUP)
	}
	ctx, restore := signal.NotifyContext(ctx, ends...)
	defer restore()
	stop := context.AfterFunc(ctx, restore)
	defer stop()

	begun := false
	app := newApp(stdout, stderr, &begun)
	err := app.Run(ctx, args)
	if err == nil {
		return exitOK
	}
	// The first letter of an error is small, for it to be wrapped.
	fmt.Fprintf(stderr, "postern: %v\n", err)
	if _, usage := errors.AsType[*usageError](err); usage || !begun {
		fmt.Fprintf(stderr, "See `%s --help`.\n", commandOf(app, args))
		return exitUsage
	}
	return exitFailed
}

// usageError is a mistake in the command line or the settings.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// newApp makes the command line. It sets begun once a command is at work, all
// of its flags having been understood.
func newApp(stdout, stderr io.Writer, begun *bool) *cli.Command {
	begin := func(action cli.ActionFunc) cli.ActionFunc {
		return func(ctx context.Context, cmd *cli.Command) error {
			if cmd.Args().Present() && cmd.ArgsUsage == "" {
				return &usageError{fmt.Errorf("%s takes no arguments, but got %q", cmd.FullName(), cmd.Args().First())}
			}
			*begun = true
			return action(ctx, cmd)
		}
	}
	serve, demo, health := serveCommand(stderr), demoCommand(stdout, stderr), healthCommand()
	nats, tokens, keys := natsCommand(stdout), tokensCommand(stdout, stderr), keysCommand(stdout, stderr)
	commands := []*cli.Command{serve, demo, health}
	for _, group := range []*cli.Command{nats, tokens, keys} {
		commands = append(commands, group.Commands...)
		group.HideHelpCommand = true
		group.OnUsageError = asUsageError
		group.Action = func(_ context.Context, cmd *cli.Command) error {
			if cmd.Args().Present() {
				return &usageError{fmt.Errorf("there is no command %q", cmd.Name+" "+cmd.Args().First())}
			}
			return cli.ShowSubcommandHelp(cmd)
		}
	}
	for _, command := range commands {
		command.Action = begin(command.Action)
		command.OnUsageError = asUsageError
	}
	return &cli.Command{
		Name:            "postern",
		Usage:           "a gateway from IMAP to JSON, gRPC and a replayable event log",
		Version:         version(),
		Commands:        []*cli.Command{serve, demo, health, nats, tokens, keys},
		HideHelpCommand: true,
		Writer:          stdout,
		ErrWriter:       stderr,
		OnUsageError:    asUsageError,
		// Errors are printed by run, once.
		ExitErrHandler: func(context.Context, *cli.Command, error) {},
		Action: func(_ context.Context, cmd *cli.Command) error {
			if cmd.Args().Present() {
				return &usageError{fmt.Errorf("there is no command %q", cmd.Args().First())}
			}
			return cli.ShowAppHelp(cmd)
		},
	}
}

func asUsageError(_ context.Context, _ *cli.Command, err error, _ bool) error {
	return &usageError{err}
}

// commandOf is the command that the arguments name, as one would type it.
func commandOf(app *cli.Command, args []string) string {
	name, command := app.Name, app
	for _, arg := range args[min(1, len(args)):] {
		if command = command.Command(arg); command == nil {
			break
		}
		name += " " + arg
	}
	return name
}

// version is what was built: the module's version, which Go takes from the
// tag or the commit.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "unknown"
	}
	return strings.TrimPrefix(info.Main.Version, "v")
}
