package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/postern-mail/postern/internal/natsd"
)

// natsCommand holds what concerns the embedded NATS server.
func natsCommand(stdout io.Writer) *cli.Command {
	cfg := &config{}
	var name string
	var revoke, list bool
	text := func(name, value string, dest *string, usage string) cli.Flag {
		return &cli.StringFlag{Name: name, Value: value, Destination: dest, Usage: usage, Sources: cli.EnvVars(envName(name))}
	}
	credentials := &cli.Command{
		Name:  "credentials",
		Usage: "make or revoke credentials that let a NATS client read the events and do nothing else",
		Description: "It prints the URL to connect with, once: only a hash of the password is kept. Made again under the\n" +
			"same name, credentials replace the former. It works whether Postern runs or not; a running one follows\n" +
			"within a second, and closes the connections of credentials that have ended. With the last credentials\n" +
			"the places of all such consumers in the log are forgotten.",
		Flags: []cli.Flag{
			text("data-dir", "postern-data", &cfg.DataDir, "the data directory of Postern, `DIR`"),
			text("nats", "127.0.0.1:4222", &cfg.NATS, "the `ADDR` to print when Postern has not been started yet"),
			&cli.StringFlag{Name: "name", Value: "app", Destination: &name, Usage: "the `NAME` of the credentials: a to z, digits and hyphens"},
			&cli.BoolFlag{Name: "revoke", Destination: &revoke, Usage: "end the credentials of that name"},
			&cli.BoolFlag{Name: "list", Destination: &list, Usage: "list the credentials that there are"},
		},
		Action: func(_ context.Context, cmd *cli.Command) error {
			switch {
			case list && (revoke || cmd.IsSet("name")):
				return &usageError{errors.New("--list takes neither --name nor --revoke")}
			case list:
				return listCredentials(stdout, cfg.DataDir)
			case revoke && !cmd.IsSet("name"):
				return &usageError{errors.New("--revoke: give the --name of the credentials to end")}
			case revoke:
				return natsd.RevokeCredential(cfg.DataDir, name)
			}
			url, err := natsd.CreateCredential(cfg.DataDir, name, cfg.NATS)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(stdout, url.Reveal())
			return err
		},
	}
	return &cli.Command{
		Name:     "nats",
		Usage:    "credentials of the embedded NATS server",
		Commands: []*cli.Command{credentials},
	}
}

func listCredentials(out io.Writer, dir string) error {
	list, err := natsd.Credentials(dir)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, credential := range list {
		if _, err := fmt.Fprintf(table, "%s\t%s\n", credential.Name, credential.Created.Format(time.RFC3339)); err != nil {
			return err
		}
	}
	return table.Flush()
}
