package template

import (
	"errors"
	"fmt"
	htmltemplate "html/template"
	"io"
	"strings"
	texttemplate "text/template"
	"text/template/parse"
	"unicode/utf8"
)

// Bounds of the parts of a template, in bytes.
const (
	MaxSubject = 2000 // and of a URL
	MaxBody    = 256 << 10
)

// Content is what mail is made of, each part a template. Parts may be empty.
type Content struct {
	Subject string
	Text    string
	HTML    string
	// URL is an address on the web, of a part of the message.
	URL string
}

// Template is content that was parsed. It is safe for concurrent use.
type Template struct {
	subject, text, html, url runner
}

// runner is what text/template and html/template have in common.
type runner interface {
	Execute(w io.Writer, data any) error
}

// Names of the parts, as errors have them.
const (
	partSubject = "subject"
	partText    = "text"
	partHTML    = "html"
	partURL     = "url"
)

// Parse reads content. It fails with a [*SyntaxError].
func Parse(c Content) (*Template, error) {
	var t Template
	var err error
	if t.subject, err = parseText(partSubject, c.Subject, MaxSubject); err != nil {
		return nil, err
	}
	if t.text, err = parseText(partText, c.Text, MaxBody); err != nil {
		return nil, err
	}
	if t.url, err = parseText(partURL, c.URL, MaxSubject); err != nil {
		return nil, err
	}
	t.html, err = parseHTML(c.HTML)
	return &t, err
}

func parseText(part, source string, limit int) (runner, error) {
	if source == "" {
		return nil, nil //nolint:nilnil // a part that is not there
	}
	tree, err := parseTree(part, source, limit)
	if err != nil {
		return nil, err
	}
	t, err := texttemplate.New(part).Option("missingkey=error").Funcs(functions).AddParseTree(part, tree)
	if err != nil {
		return nil, syntaxError(part, source, err)
	}
	return t, nil
}

func parseHTML(source string) (runner, error) {
	if source == "" {
		return nil, nil //nolint:nilnil // a part that is not there
	}
	tree, err := parseTree(partHTML, source, MaxBody)
	if err != nil {
		return nil, err
	}
	t, err := htmltemplate.New(partHTML).Option("missingkey=error").Funcs(functions).AddParseTree(partHTML, tree)
	if err != nil {
		return nil, syntaxError(partHTML, source, err)
	}
	// How values are escaped is decided at the first run, and what is ambiguous is
	// refused then. What else this run fails with comes of its having no values.
	err = t.Execute(io.Discard, nil)
	var ambiguous *htmltemplate.Error
	if errors.As(err, &ambiguous) {
		return nil, syntaxError(partHTML, source, ambiguous)
	}
	return t, nil
}

// parseTree parses one part and refuses what a stranger's template must not do.
func parseTree(part, source string, limit int) (*parse.Tree, error) {
	switch {
	case len(source) > limit:
		return nil, &SyntaxError{Part: part, Description: fmt.Sprintf("it has %d bytes, and at most %d are taken", len(source), limit)}
	case !utf8.ValidString(source):
		return nil, &SyntaxError{Part: part, Description: "it is not UTF-8"}
	case strings.ContainsRune(source, 0):
		return nil, &SyntaxError{Part: part, Description: "it has a NUL"}
	}
	trees, err := parse.Parse(part, source, "", "", functions, builtins)
	if err != nil {
		return nil, syntaxError(part, source, err)
	}
	if len(trees) != 1 || trees[part] == nil {
		return nil, &SyntaxError{Part: part, Description: "it has define or block, which are not taken"}
	}
	c := checker{part: part, source: source}
	if err := c.list(trees[part].Root, 0, 0); err != nil {
		return nil, err
	}
	return trees[part], nil
}
