package secret

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
	"unicode"
)

const (
	// commandTimeout bounds one run of a key command: it may ask a service.
	commandTimeout = 30 * time.Second
	// maxCommandWords bounds what is told of a command's complaints.
	maxCommandWords = 500
)

// FromCommand is a key set that a command prints, in the form of a key file. It is
// run at the start and then once a minute. No shell is involved: the first word is
// the program, the others are its arguments.
func FromCommand(words []string) *Source {
	name := fmt.Sprintf("the command %q (--key-command)", strings.Join(words, " "))
	return &Source{
		name:  name,
		stamp: func() string { return "" },
		read: func(ctx context.Context) ([]byte, error) {
			content, err := runKeyCommand(ctx, words)
			if err != nil {
				return nil, fmt.Errorf("key set from %s: %w", name, err)
			}
			return content, nil
		},
	}
}

func runKeyCommand(ctx context.Context, words []string) ([]byte, error) {
	if len(words) == 0 {
		return nil, errors.New("no program is named")
	}
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, words[0], words[1:]...) //nolint:gosec // who sets it up says which program to run
	// A child that holds the pipes open does not hold the start up.
	cmd.WaitDelay = time.Second
	stdout, stderr := &boundedBuffer{limit: maxKeySetSize + 1}, &boundedBuffer{limit: maxCommandWords}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("it did not end within %s", commandTimeout)
	case err != nil:
		return nil, fmt.Errorf("%w: %s", err, printable(stderr.String()))
	case stdout.Len() > maxKeySetSize:
		return nil, errors.New("it prints too much for a key set")
	case len(bytes.TrimSpace(stdout.Bytes())) == 0:
		return nil, errors.New("it prints nothing")
	}
	return stdout.Bytes(), nil
}

// printable is what a program complained of, on one line.
func printable(text string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text))
}

// boundedBuffer keeps the beginning of what is written to it.
type boundedBuffer struct {
	bytes.Buffer
	limit int
}

// Write implements [io.Writer].
func (b *boundedBuffer) Write(p []byte) (int, error) {
	if left := b.limit - b.Len(); left > 0 {
		_, _ = b.Buffer.Write(p[:min(left, len(p))]) // never fails
	}
	return len(p), nil
}
