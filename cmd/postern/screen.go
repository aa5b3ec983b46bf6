package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// The styles of a terminal that the demo uses, as the parameters of SGR
// (ECMA-48 section 8.3.117).
const (
	styleTitle = "1"  // bold
	styleNote  = "2"  // faint
	styleMark  = "36" // cyan
	styleGood  = "32" // green
)

// screenWidth is the width that is written for where there is no terminal, and
// the least and the most for where there is one.
const (
	screenWidth    = 100
	minScreenWidth = 60
	maxScreenWidth = 120
)

// screen is where the demo writes: a terminal with some colour, or anything
// else without.
type screen struct {
	w      io.Writer
	colour bool
	width  int
	err    error // of the first write that failed
}

func newScreen(w io.Writer, env func(string) string) *screen {
	s := &screen{w: w, width: screenWidth}
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return s
	}
	// https://no-color.org
	s.colour = env("NO_COLOR") == "" && env("TERM") != "dumb"
	if columns, _, err := term.GetSize(int(file.Fd())); err == nil {
		s.width = min(max(columns, minScreenWidth), maxScreenWidth)
	}
	return s
}

// styled gives text in a style.
func (s *screen) styled(style, text string) string {
	if !s.colour || text == "" {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

// line writes one line. Errors are kept until somebody asks: the screen is not
// worth a check at every line, but a demo that nobody saw has not happened.
func (s *screen) line(parts ...string) {
	if s.err == nil {
		_, s.err = fmt.Fprintln(s.w, strings.Join(parts, ""))
	}
}

// step begins a step of the demo: what happens, and the request that does it.
func (s *screen) step(number int, title, request string) {
	s.line()
	s.line(s.styled(styleMark, fmt.Sprint(number)), "  ", s.styled(styleTitle, title))
	if request != "" {
		s.line("   ", s.styled(styleNote, request))
	}
	s.line()
}

// json writes JSON with an indentation, as compact as the width allows.
func (s *screen) json(v jsonValue, indent int) {
	// One column stays free for the comma behind a line.
	for _, text := range s.layout(v, 0, s.width-indent-1) {
		s.line(strings.Repeat(" ", indent), text)
	}
}
