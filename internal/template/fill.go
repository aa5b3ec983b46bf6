package template

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	texttemplate "text/template"
	"time"
)

const (
	// MaxOutput bounds each part once it is filled in, in bytes.
	MaxOutput = 1 << 20
	// maxSteps bounds how many nodes of a part are run.
	maxSteps = 100_000
	// maxTime is how long a part may take. It is for steps that are costly beyond
	// reason: what is within the other bounds takes milliseconds.
	maxTime = 5 * time.Second
)

// Fill fills in a template with values as [Values] makes them. It fails with a
// [*MissingError], a [*RunError], or with the end of the context.
func (t *Template) Fill(ctx context.Context, values map[string]any) (Content, error) {
	var c Content
	for _, p := range []struct {
		name string
		run  runner
		out  *string
	}{{partSubject, t.subject, &c.Subject}, {partText, t.text, &c.Text}, {partHTML, t.html, &c.HTML}, {partURL, t.url, &c.URL}} {
		if p.run == nil {
			continue
		}
		var err error
		if *p.out, err = fill(ctx, p.name, p.run, values); err != nil {
			return Content{}, err
		}
	}
	return c, nil
}

func fill(ctx context.Context, part string, run runner, values map[string]any) (string, error) {
	within, cancel := context.WithTimeout(ctx, maxTime)
	defer cancel()
	w := &boundedWriter{done: within.Done()}
	err := run.Execute(w, values)
	switch {
	case err == nil:
		return w.out.String(), nil
	case errors.Is(err, errTime) && ctx.Err() != nil:
		return "", ctx.Err()
	}
	return "", runError(part, err)
}

var (
	errSteps  = fmt.Errorf("it takes more than %d steps", maxSteps)
	errOutput = fmt.Errorf("it makes more than %d bytes", MaxOutput)
	errTime   = errors.New("it takes too long")
)

// boundedWriter ends a run that is out of bounds. Each step writes; see checker.
type boundedWriter struct {
	// done is that of the run's context.
	done  <-chan struct{}
	out   strings.Builder
	steps int
}

// Write implements io.Writer.
func (w *boundedWriter) Write(p []byte) (int, error) {
	select {
	case <-w.done:
		return 0, errTime
	default:
	}
	if w.steps++; w.steps > maxSteps {
		return 0, errSteps
	}
	if w.out.Len()+len(p) > MaxOutput {
		return 0, errOutput
	}
	return w.out.Write(p)
}

// noEntry is what text/template says of a key that is missing.
var noEntry = regexp.MustCompile(`map has no entry for key ("(?:[^"\\]|\\.)*")$`)

// runError makes an error of the package out of one of a run.
func runError(part string, err error) error {
	for _, bound := range []error{errSteps, errOutput, errTime} {
		if errors.Is(err, bound) {
			return &RunError{Part: part, Description: bound.Error()}
		}
	}
	line, column, text := locate(err)
	var missing *missingError
	var run texttemplate.ExecError
	if errors.As(err, &missing) {
		return &MissingError{Part: part, Line: line, Column: column + 1, Key: missing.key}
	}
	if match := noEntry.FindStringSubmatch(text); match != nil && errors.As(err, &run) {
		if key, err := strconv.Unquote(match[1]); err == nil {
			return &MissingError{Part: part, Line: line, Column: column + 1, Key: key}
		}
	}
	return &RunError{Part: part, Line: line, Column: column + 1, Description: text}
}
