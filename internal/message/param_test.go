package message

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseValue(t *testing.T) {
	t.Parallel()
	bad := []Defect{DefectParameter}
	tests := []struct {
		name, raw, text string
		params          map[string]string
		defects         []Defect
	}{
		{"no parameters", "Text/Plain", "text/plain", nil, nil},
		{"one", `text/plain; Charset="UTF-8"`, "text/plain", map[string]string{"charset": "UTF-8"}, nil},
		{"comments", "text/plain (a; b); charset=us-ascii (Plain text)", "text/plain", map[string]string{"charset": "us-ascii"}, nil},
		{"no semicolon at the end of things", "a/b;;x=1;", "a/b", map[string]string{"x": "1"}, nil},
		{"blanks around", "a/b ; x = 1", "a/b", map[string]string{"x": "1"}, nil},
		{"semicolon in quotes", `a/b; x="1;2"; y=3`, "a/b", map[string]string{"x": "1;2", "y": "3"}, nil},
		{"escapes", `a/b; x="\"1\""`, "a/b", map[string]string{"x": `"1"`}, nil},
		{"backslash of a path", `a/b; x="C:\dir\f.txt"`, "a/b", map[string]string{"x": `C:\dir\f.txt`}, nil},
		{"blanks without quotes", "a/b; x=my file.pdf; y=1", "a/b", map[string]string{"x": "my file.pdf", "y": "1"}, bad},
		{"brackets without quotes", "a/b; x=report (1).pdf", "a/b", map[string]string{"x": "report (1).pdf"}, bad},
		{"no closing quote", `a/b; x="no end; y=1`, "a/b", map[string]string{"x": "no end", "y": "1"}, bad},
		{"name alone", "a/b; flag; x=1", "a/b", map[string]string{"x": "1"}, bad},
		{"first wins", "a/b; x=1; x=2", "a/b", map[string]string{"x": "1"}, nil},
		{"encoded word", `a/b; x="=?utf-8?Q?=C3=BC?="`, "a/b", map[string]string{"x": "ü"}, nil},
		{"boundary that looks like a word", `a/b; boundary="=?utf-8?Q?x?="`, "a/b", map[string]string{"boundary": "=?utf-8?Q?x?="}, nil},
		{"raw 8-bit", "a/b; x=\"\xfc\"", "a/b", map[string]string{"x": "ü"}, []Defect{DefectHeaderRaw8Bit}},
		{"extended", "a/b; x*=iso-8859-1'de'%FC%20b", "a/b", map[string]string{"x": "ü b"}, nil},
		{"extended beats plain", "a/b; x=u; x*=utf-8''%C3%BC", "a/b", map[string]string{"x": "ü"}, nil},
		{"extended without charset", "a/b; x*=%C3%BC", "a/b", map[string]string{"x": "ü"}, nil},
		{"continued", `a/b; x*0="ab"; x*1=cd`, "a/b", map[string]string{"x": "abcd"}, nil},
		{"continued out of order", `a/b; x*1=cd; x*0="ab"`, "a/b", map[string]string{"x": "abcd"}, nil},
		{"character split between sections", "a/b; x*0*=utf-8''%C3; x*1*=%BC; x*2=%C3", "a/b", map[string]string{"x": "ü%C3"}, nil},
		{"section missing", "a/b; x*0=a; x*2=c", "a/b", map[string]string{"x": "a"}, bad},
		{"first section missing", "a/b; x*1=b; x*2=c", "a/b", map[string]string{"x": "bc"}, bad},
		{"section twice", "a/b; x*0=a; x*0=b; x*1=c", "a/b", map[string]string{"x": "ac"}, nil},
		{"section that is no number", "a/b; x*q=a", "a/b", map[string]string{}, bad},
		{"bad percent", "a/b; x*=utf-8''100%", "a/b", map[string]string{"x": "100%"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v := parseValue(tt.raw, "")
			if v.text != tt.text {
				t.Errorf("text %q, want %q", v.text, tt.text)
			}
			if diff := cmp.Diff(tt.params, v.params); diff != "" {
				t.Errorf("params (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.defects, []Defect(v.found)); diff != "" {
				t.Errorf("defects (-want +got):\n%s", diff)
			}
		})
	}
}
