package message

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files of the corpus anew")

// corpus gives the sample messages by name.
func corpus(tb testing.TB) map[string][]byte {
	tb.Helper()
	files, err := filepath.Glob("testdata/corpus/*.eml")
	if err != nil || len(files) < 60 {
		tb.Fatalf("corpus: %d files, %v", len(files), err)
	}
	messages := make(map[string][]byte, len(files))
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			tb.Fatal(err)
		}
		messages[strings.TrimSuffix(filepath.Base(f), ".eml")] = raw
	}
	return messages
}

// reading is all that the package can tell of a message.
type reading struct {
	Summary
	Header   []Field
	Text     *Text           `json:",omitempty"`
	HTML     *Text           `json:",omitempty"`
	Snippet  string          `json:",omitempty"`
	Calendar *Calendar       `json:",omitempty"`
	Report   *DeliveryReport `json:",omitempty"`
}

// read reads a message in the way of the gateway: the tree, then the parts.
func read(raw []byte) (*reading, error) {
	bodies := make(map[string][]byte)
	m, err := Walk(bytes.NewReader(raw), Limits{}, func(p *Part, body io.Reader) error {
		if body == nil || p.IsMessage() {
			return nil
		}
		b, err := io.ReadAll(body)
		bodies[p.Path] = b
		return err
	})
	if err != nil {
		return nil, err
	}
	r := &reading{Summary: m.Summary(), Header: m.Header.Fields}
	body := func(p *Part) io.Reader { return bytes.NewReader(bodies[p.Path]) }
	const limit = 64 << 10
	if p := r.Summary.HTML; p != nil {
		t, err := ReadHTML(body(p), p, limit)
		if err != nil {
			return nil, err
		}
		r.HTML = &t
	}
	if p := r.Summary.Text; p != nil {
		t, err := ReadText(body(p), p, limit)
		if err != nil {
			return nil, err
		}
		r.Text = &t
	} else if p := r.Summary.HTML; p != nil {
		t, err := ReadHTMLAsText(body(p), p, limit)
		if err != nil {
			return nil, err
		}
		r.Text = &t
	}
	if r.Text != nil {
		r.Snippet = Snippet(r.Text.Content)
	}
	for _, p := range r.Attachments {
		switch p.Kind() {
		case KindCalendar:
			if c, ok, err := ReadCalendar(body(p), p); err != nil {
				return nil, err
			} else if ok {
				r.Calendar = &c
			}
		case KindDeliveryStatus:
			report, err := ReadDeliveryReport(body(p), p)
			if err != nil {
				return nil, err
			}
			r.Report = &report
		}
	}
	return r, nil
}

func TestCorpus(t *testing.T) {
	t.Parallel()
	for name, raw := range corpus(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := read(raw)
			if err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			enc := json.NewEncoder(&b)
			enc.SetEscapeHTML(false)
			enc.SetIndent("", "  ")
			if err := enc.Encode(golden(r)); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata/golden", name+".json")
			if *update {
				if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), b.String()); diff != "" {
				t.Errorf("reading (-want +got):\n%s", diff)
			}
			if !utf8.Valid(b.Bytes()) || bytes.Contains(b.Bytes(), []byte(`\ufffd`)) && !strings.Contains(name, "charset-lies") {
				t.Errorf("replacement characters in %s", b.Bytes())
			}
		})
	}
}

// golden is a reading without what is empty, so that a person can check it.
func golden(r *reading) any {
	b, err := json.Marshal(r)
	if err != nil {
		panic(err) // Structs of strings and numbers always encode.
	}
	var v any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		panic(err)
	}
	return prune(v)
}

func prune(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			if e = prune(e); e == nil {
				delete(v, k)
			} else {
				v[k] = e
			}
		}
		if len(v) == 0 {
			return nil
		}
	case []any:
		if len(v) == 0 {
			return nil
		}
		for i := range v {
			v[i] = prune(v[i])
		}
	case string:
		if v == "" || v == "0001-01-01T00:00:00Z" {
			return nil
		}
	case bool:
		if !v {
			return nil
		}
	}
	return v
}
