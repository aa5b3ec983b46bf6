package template_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/template"
)

func values() map[string]any {
	return template.Values(map[string]any{
		"name": "Bob <script>alert(1)</script>", "n": 1234567.0, "price": 1234567.25, "nothing": nil, "yes": true,
		"items": []any{map[string]any{"id": 1.0}, map[string]any{"id": 2.0}},
	})
}

func TestFill(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ source, text, html string }{
		"a value":           {"Dear {{.name}}", "Dear Bob <script>alert(1)</script>", "Dear Bob &lt;script&gt;alert(1)&lt;/script&gt;"},
		"numbers":           {"{{.n}} {{.price}}", "1234567 1234567.25", "1234567 1234567.25"},
		"null":              {"[{{.nothing}}]{{if .nothing}}x{{end}}", "[]", "[]"},
		"a range":           {"{{range $i, $x := .items}}{{if $i}},{{end}}{{$x.id}}{{end}}", "1,2", "1,2"},
		"break":             {"{{range .items}}{{.id}}{{break}}{{end}}", "1", "1"},
		"index":             {`{{index .items 1 "id"}}`, "2", "2"},
		"comparison":        {`{{if and .yes (eq .n 1234567) (gt .price 1.5)}}y{{else}}n{{end}}`, "y", "y"},
		"a URL":             {`<a href="/?q={{.name}}">`, `<a href="/?q=Bob <script>alert(1)</script>">`, `<a href="/?q=Bob%20%3cscript%3ealert%281%29%3c%2fscript%3e">`},
		"urlquery":          {`{{urlquery "a b&c"}}`, "a+b%26c", "a&#43;b%26c"},
		"a script":          {`<script>x = {{.name}}</script>`, `<script>x = Bob <script>alert(1)</script></script>`, `<script>x = "Bob \u003cscript\u003ealert(1)\u003c/script\u003e"</script>`},
		"an unsafe address": {`<a href="{{index "javascript:alert(1)" | print}}">`, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			parsed, err := template.Parse(template.Content{Text: test.source, HTML: test.source})
			if test.text == "" {
				var syntax *template.SyntaxError
				if !errors.As(err, &syntax) {
					t.Fatalf("parsed: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got, err := parsed.Fill(t.Context(), values())
			if err != nil || got.Text != test.text || got.HTML != test.html {
				t.Errorf("%v\ntext %q\nwant %q\nhtml %q\nwant %q", err, got.Text, test.text, got.HTML, test.html)
			}
		})
	}
}

func TestTemplatesThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		content      template.Content
		part         string
		line, column int
		says         string
	}{
		"an unknown function": {template.Content{Subject: "a {{env \"HOME\"}}"}, "subject", 1, 3, "env"},
		"the third line":      {template.Content{Text: "é\n{{.a}}\nö {{.b}} {{if}} {{.c}}"}, "text", 3, 10, "missing value for if"},
		"an open action":      {template.Content{Text: "a {{.a"}, "text", 1, 3, "unclosed action"},
		"an open block":       {template.Content{Text: "{{if .a}}\nb"}, "text", 2, 2, "unexpected EOF"},
		"print":               {template.Content{Text: "{{print .a .a}}"}, "text", 1, 1, "print"},
		"printf":              {template.Content{Text: `{{printf "%1000000d" 1}}`}, "text", 1, 1, "printf"},
		"call":                {template.Content{Text: "{{call .a}}"}, "text", 1, 1, "call"},
		"define":              {template.Content{HTML: `{{define "x"}}a{{end}}b`}, "html", 0, 0, "define"},
		"itself":              {template.Content{HTML: `a {{template "html" .}}`}, "html", 1, 14, "calls another template"},
		"block":               {template.Content{HTML: `{{block "x" .}}a{{end}}`}, "html", 0, 0, "block"},
		"ranges in ranges":    {template.Content{Text: strings.Repeat("{{range .a}}", 5) + strings.Repeat("{{end}}", 5)}, "text", 1, 61, "nested"},
		"very deep":           {template.Content{HTML: strings.Repeat("{{if .a}}", 10_000) + strings.Repeat("{{end}}", 10_000)}, "html", 1, 190, "nested"},
		"a long computation":  {template.Content{Text: "{{and" + strings.Repeat(" .a", 100) + "}}"}, "text", 1, 3, "too much"},
		"ambiguous HTML":      {template.Content{HTML: `<a href="{{if .a}}/x?{{end}}{{.b}}">`}, "html", 1, 31, "ambig"},
		"not UTF-8":           {template.Content{Text: "\xff"}, "text", 0, 0, "UTF-8"},
		"too long":            {template.Content{Subject: strings.Repeat("x", 2001)}, "subject", 0, 0, "2001 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := template.Parse(test.content)
			var syntax *template.SyntaxError
			if !errors.As(err, &syntax) || syntax.Part != test.part || syntax.Line != test.line || syntax.Column != test.column ||
				!strings.Contains(syntax.Description, test.says) {
				t.Errorf("%#v", err)
			}
		})
	}
}

func TestMissingValues(t *testing.T) {
	t.Parallel()
	for source, key := range map[string]string{
		"ab {{.other}}":                           "other",
		"{{if .other}}x{{end}}":                   "other",
		"{{range .items}}{{.colour}}{{end}}":      "colour",
		`{{index . "a \"quoted\" key: x"}}`:       `a "quoted" key: x`,
		"{{with .items}}{{$.deep.deeper}}{{end}}": "deep",
	} {
		for _, content := range []template.Content{{Text: source}, {HTML: source}} {
			parsed, err := template.Parse(content)
			if err != nil {
				t.Fatal(err)
			}
			_, err = parsed.Fill(t.Context(), values())
			var missing *template.MissingError
			if !errors.As(err, &missing) || missing.Key != key || missing.Line != 1 || missing.Column == 0 {
				t.Errorf("%s: %#v", source, err)
			}
		}
	}
}

// What a stranger's template could do at worst ends soon.
func TestRunsAreBounded(t *testing.T) {
	t.Parallel()
	many := make([]any, 1000)
	for i := range many {
		many[i] = strings.Repeat("x", 50)
	}
	worst := template.Values(map[string]any{"a": many, "n": 1e15})
	quiet := strings.Repeat("{{range $.a}}", 4) + "{{$x := 1}}" + strings.Repeat("{{end}}", 4)
	for name, source := range map[string]string{
		"nested ranges":   strings.Repeat("{{range $.a}}", 4) + "x" + strings.Repeat("{{end}}", 4),
		"without output":  quiet,
		"over a number":   "{{range .n}}{{end}}",
		"much output":     "{{range .a}}{{range $.a}}{{.}}{{end}}{{end}}",
		"much at once":    "{{range .a}}{{$.a}}{{end}}",
		"growing queries": "{{$x := \"%%%\"}}{{range .a}}{{$x = urlquery (urlquery $x)}}{{end}}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, content := range []template.Content{{Text: source}, {HTML: source}} {
				parsed, err := template.Parse(content)
				if err != nil {
					t.Fatal(err)
				}
				_, err = parsed.Fill(t.Context(), worst)
				var run *template.RunError
				if !errors.As(err, &run) {
					t.Errorf("%v", err)
				}
			}
		})
	}
	parsed, err := template.Parse(template.Content{Text: quiet})
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := parsed.Fill(ended, worst); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
}

func FuzzTemplate(f *testing.F) {
	for _, seed := range []string{
		"Dear {{.name}}, {{range $i, $x := .items}}{{if $i}}, {{end}}{{$x.id}}{{else}}none{{end}}",
		`<a href="/?q={{.name | urlquery}}" onclick="f({{.items}})" style="color:{{.name}}">{{with .n}}{{.}}{{end}}</a>`,
		`<script>var x = {{.items}}; /* {{.name}} */</script><!-- {{.n}} -->{{/* c */}}`,
		"{{range .items}}{{range $.items}}{{range $.items}}{{break}}{{end}}{{continue}}{{end}}{{end}}",
		`{{define "x"}}{{template "x" .}}{{end}}{{block "y" .}}{{end}}`, "{{index .items 1 \"id\"}}{{slice .name 1 2}}{{len .items}}",
		"{{$x := 1}}{{range 9}}{{$x = urlquery $x}}{{end}}{{- \"a\" -}}{{'a'}}{{0x1p-2}}{{nil}}", "{{if eq .n 1 2 3}}{{else if lt .n 3}}{{end}}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, source string) {
		for _, content := range []template.Content{{Text: source}, {HTML: source}, {Subject: source}} {
			parsed, err := template.Parse(content)
			var syntax *template.SyntaxError
			if err != nil {
				if !errors.As(err, &syntax) || syntax.Description == "" || syntax.Line < 0 || syntax.Column < 0 {
					t.Fatalf("%#v", err)
				}
				continue
			}
			out, err := parsed.Fill(t.Context(), values())
			var missing *template.MissingError
			var run *template.RunError
			if err != nil && !errors.As(err, &missing) && !errors.As(err, &run) {
				t.Fatal(err)
			}
			if n := len(out.Subject + out.Text + out.HTML); n > template.MaxOutput {
				t.Fatal(fmt.Sprint(n, " bytes"))
			}
		}
	})
}
