package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/postern-mail/postern/internal/secret"
)

// keySettings are the settings of serve that say where keys and records are.
var keySettings = []string{"config", "data-dir", "nats-url", "nats-url-file", "key-file", "key-command", "kms-uri"}

// keysCommand holds what concerns the keys that seal what is stored.
func keysCommand(stdout, stderr io.Writer) *cli.Command {
	return &cli.Command{
		Name:     "keys",
		Usage:    "the keys that seal stored credentials",
		Commands: []*cli.Command{keysList(stdout), keysRotate(stdout, stderr), keysRetire(stdout, stderr), keysEncrypt(stdout, stderr)},
	}
}

// keyCommand makes a command that has the settings of where keys are besides its own
// flags.
func keyCommand(name, usage, description string, own []cli.Flag, action func(ctx context.Context, cfg *config) error) *cli.Command {
	cfg := &config{}
	flags := slices.DeleteFunc(cfg.flags(), func(f cli.Flag) bool { return !slices.Contains(keySettings, f.Names()[0]) })
	return &cli.Command{
		Name: name, Usage: usage, Description: description, Flags: append(flags, own...),
		Action: func(ctx context.Context, _ *cli.Command) error {
			if err := errors.Join(checkFile(cfg.File, cfg.flags()), cfg.readSecrets(), cfg.checkKey()); err != nil {
				return &usageError{err}
			}
			return action(ctx, cfg)
		},
	}
}

func keysList(stdout io.Writer) *cli.Command {
	var format string
	return keyCommand("list", "list the keys, and how many records need each",
		"The records are counted anew each time, beside a running Postern or without one.",
		[]cli.Flag{&cli.StringFlag{Name: "format", Value: "text", Destination: &format, Usage: "print in this `FORMAT`: text or json"}},
		func(ctx context.Context, cfg *config) error {
			if format != "text" && format != "json" {
				return &usageError{fmt.Errorf("--format is %q: give text or json", format)}
			}
			keys, err := surveyKeys(ctx, cfg)
			if err != nil {
				return err
			}
			if format == "json" {
				return keys.writeJSON(stdout)
			}
			return keys.write(stdout)
		})
}

func keysRotate(stdout, stderr io.Writer) *cli.Command {
	return keyCommand("rotate", "add a new key, which seals from now on",
		"A running Postern follows within seconds and seals anew what older keys have sealed; `postern keys list` tells\n"+
			"how far it is. The older keys stay for opening until `postern keys retire`. Where nodes have copies of the\n"+
			"key file, copy it to them: the new key waits for all of them. A key set that is not in a file is printed,\n"+
			"to be put where it is kept.", nil,
		func(ctx context.Context, cfg *config) error {
			source, err := cfg.keySource()
			if err != nil {
				return err
			}
			added, set, err := source.Rotate(ctx)
			if err != nil {
				return err
			}
			return tellChange(stdout, stderr, source, set, fmt.Sprintf("added key %d and made it the primary one", added))
		})
}

func keysRetire(stdout, stderr io.Writer) *cli.Command {
	var chosen string
	var now bool
	return keyCommand("retire", "take keys out of the set that nothing needs any more",
		"It refuses while a record needs the key, while a node uses it, and for a day after another one has taken\n"+
			"its place: what was given out before, such as page tokens and the places of event streams, is good for so long.",
		[]cli.Flag{
			&cli.StringFlag{Name: "key", Destination: &chosen, Usage: "take out the key with this `ID` alone, not all that can be"},
			&cli.BoolFlag{Name: "now", Destination: &now, Usage: "do not wait for a day: what was given out before ends now"},
		},
		func(ctx context.Context, cfg *config) error {
			var only secret.KeyID
			if chosen != "" {
				id, err := strconv.ParseUint(chosen, 10, 32)
				if err != nil {
					return &usageError{fmt.Errorf("--key: %q is no id of a key: `postern keys list` has them", chosen)}
				}
				only = secret.KeyID(id)
			}
			keys, err := surveyKeys(ctx, cfg)
			if err != nil {
				return err
			}
			ids, err := keys.retirable(time.Now(), only, now)
			if err != nil {
				return err
			}
			if len(ids) == 0 {
				_, err := fmt.Fprintln(stderr, "There is no key to retire.")
				return err
			}
			set, err := keys.source.Remove(ctx, ids)
			if err != nil {
				return err
			}
			return tellChange(stdout, stderr, keys.source, set, "took out "+keyNames(ids))
		})
}

func keysEncrypt(stdout, stderr io.Writer) *cli.Command {
	return keyCommand("encrypt", "have a key management service encrypt a key set that is in clear",
		"Give --kms-uri, and from then on to serve too. Copies of the file in clear, such as in backups, stay what they are.", nil,
		func(ctx context.Context, cfg *config) error {
			if cfg.KMSURI == "" {
				return &usageError{errors.New("give --kms-uri, the key that is to encrypt the key set")}
			}
			kms, err := openKMS(cfg.KMSURI)
			if err != nil {
				return err
			}
			source := cfg.plainKeySource()
			set, err := source.Encrypt(ctx, kms)
			if err != nil {
				return err
			}
			return tellChange(stdout, stderr, source, set, "encrypted with "+kms.URI)
		})
}

// tellChange says what was done to a key set. One that has to be put in its place by
// somebody else goes to the standard output, and nothing else does.
func tellChange(stdout, stderr io.Writer, source *secret.Source, set secret.String, did string) error {
	if set.IsZero() {
		_, err := fmt.Fprintf(stderr, "%s: %s.\n", source, did)
		return err
	}
	if _, err := fmt.Fprintln(stdout, set.Reveal()); err != nil {
		return err
	}
	_, err := fmt.Fprintf(stderr, "%s: %s. The new set is above: put it in the place of the old one, and restart Postern where it is in the environment.\n", source, did)
	return err
}
