package message

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// crlf writes a message as it is on the wire.
func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

// outline walks a message and gives a line per leaf: path, type, content.
func outline(t *testing.T, raw io.Reader, limits Limits) (*Message, []string) {
	t.Helper()
	var lines []string
	m, err := Walk(raw, limits, func(p *Part, body io.Reader) error {
		if body == nil {
			lines = append(lines, fmt.Sprintf("%s %s", p.Path, p.Type))
			return nil
		}
		if p.IsMessage() {
			lines = append(lines, fmt.Sprintf("%s %s", p.Path, p.Type))
			return nil
		}
		content, err := io.ReadAll(body)
		lines = append(lines, fmt.Sprintf("%s %s %q", p.Path, p.Type, content))
		return err
	})
	if err != nil {
		t.Fatalf("Walk: %v", err)
	}
	return m, lines
}

const nestedMessage = `From: ann@example.com
Content-Type: multipart/mixed; boundary=outer

preamble
--outer
Content-Type: multipart/alternative; boundary="outer inner"

--outer inner
Content-Type: text/plain

plain
--outer inner
Content-Type: text/html

<p>html
--outer inner--
epilogue
--outer
Content-Type: message/rfc822

Subject: forwarded
Content-Type: multipart/mixed; boundary=third

--third

one
--third

two
--third--
--outer
Content-Type: message/rfc822

Subject: simple

text

--outer--
`

func TestWalk(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, raw string
		want      []string
		defects   []Defect
	}{
		{"single part", "Subject: x\n\nhello\n", []string{`1 text/plain "hello\r\n"`}, nil},
		{"no body", "Subject: x\n\n", []string{`1 text/plain ""`}, nil},
		{"header without end", "Subject: x\n", []string{`1 text/plain ""`}, []Defect{DefectHeaderUnterminated}},
		{"empty", "", []string{`1 text/plain ""`}, []Defect{DefectHeaderUnterminated}},
		{"nested", nestedMessage, []string{
			"TEXT multipart/mixed", "1 multipart/alternative", `1.1 text/plain "plain"`, `1.2 text/html "<p>html"`,
			"2 message/rfc822", "2.TEXT multipart/mixed", `2.1 text/plain "one"`, `2.2 text/plain "two"`,
			"3 message/rfc822", `3.1 text/plain "text\r\n"`,
		}, nil},
		{"digest", "Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: a\n\none\n--b--\n",
			[]string{"TEXT multipart/digest", "1 message/rfc822", `1.1 text/plain "one"`}, nil},
		{"never closed", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\n\ntwo\n",
			[]string{"TEXT multipart/mixed", `1 text/plain "one"`, `2 text/plain "two\r\n"`}, []Defect{DefectMultipartUnterminated}},
		{"inner never closed", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\n\none\n--b\n\ntwo\n--b--\n",
			[]string{"TEXT multipart/mixed", "1 multipart/mixed", `1.1 text/plain "one"`, `2 text/plain "two"`}, []Defect{DefectMultipartUnterminated}},
		{"boundary never seen", "Content-Type: multipart/mixed; boundary=b\n\njust text\n",
			[]string{"TEXT multipart/mixed", `1 text/plain "just text\r\n"`}, []Defect{DefectBoundaryMissing}},
		{"no boundary parameter", "Content-Type: multipart/mixed\n\njust text\n",
			[]string{`1 text/plain "just text\r\n"`}, []Defect{DefectBoundaryMissing}},
		{"delimiter ends a part's header", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html\n--b\n\ntwo\n--b--\n",
			[]string{"TEXT multipart/mixed", `1 text/html ""`, `2 text/plain "two"`}, []Defect{DefectHeaderUnterminated}},
		{"mbox separator and garbage", ">From ann Mon Nov 23 10:00:00 2026\nSubject: x\nnonsense\nTo: b@example.com\n\nhello\n",
			[]string{`1 text/plain "hello\r\n"`}, []Defect{DefectHeaderGarbage}},
		{"blanks behind the boundary", "Content-Type: multipart/mixed; boundary=b\n\n--b \t\n\none\n--b-- \n",
			[]string{"TEXT multipart/mixed", `1 text/plain "one"`}, nil},
		{"dashes that are no boundary", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n--\n-- \n--c\n--b--\n",
			[]string{"TEXT multipart/mixed", `1 text/plain "--\r\n-- \r\n--c"`}, nil},
		{"encoded multipart", "Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: base64\n\n--b\n\none\n--b--\n",
			[]string{"TEXT multipart/mixed", `1 text/plain "one"`}, []Defect{DefectMultipartEncoded}},
		{"same boundary inside", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/alternative; boundary=b\n\n--b\n\none\n--b--\n--b--\n",
			[]string{"TEXT multipart/mixed", "1 multipart/alternative", `1.1 text/plain "one"`}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			raw := crlf(tt.raw)
			m, lines := outline(t, strings.NewReader(raw), Limits{})
			if diff := cmp.Diff(tt.want, lines); diff != "" {
				t.Errorf("parts (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.defects, m.Defects); diff != "" {
				t.Errorf("defects (-want +got):\n%s", diff)
			}
			if m.Size != int64(len(raw)) {
				t.Errorf("Size = %d, want %d", m.Size, len(raw))
			}
			// However the bytes come, the result is the same.
			if _, slow := outline(t, iotest.OneByteReader(strings.NewReader(raw)), Limits{}); !cmp.Equal(lines, slow) {
				t.Errorf("byte by byte: %s", cmp.Diff(lines, slow))
			}
			if _, lf := outline(t, strings.NewReader(tt.raw), Limits{}); len(lf) != len(lines) {
				t.Errorf("with LF alone: %d parts, want %d", len(lf), len(lines))
			}
		})
	}
}

func TestWalkReadsMessageWhole(t *testing.T) {
	t.Parallel()
	var got []string
	_, err := Walk(strings.NewReader(crlf(nestedMessage)), Limits{}, func(p *Part, body io.Reader) error {
		if p.IsMessage() {
			content, err := io.ReadAll(body)
			got = append(got, string(content))
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[1] != "Subject: simple\r\n\r\ntext\r\n" {
		t.Errorf("got %q", got)
	}
}

func TestWalkErrors(t *testing.T) {
	t.Parallel()
	broken := errors.New("connection reset")
	r := io.MultiReader(strings.NewReader("Content-Type: multipart/mixed; boundary=b\n\n--b\n\none"), iotest.ErrReader(broken))
	m, err := Walk(r, Limits{}, func(_ *Part, body io.Reader) error {
		if body == nil {
			return nil
		}
		_, err := io.ReadAll(body)
		return err
	})
	if !errors.Is(err, broken) {
		t.Errorf("reading: err = %v, want %v", err, broken)
	}
	if m.Root == nil || len(m.Root.Children) != 1 {
		t.Errorf("the parts read so far are lost: %+v", m.Root)
	}
	stop := errors.New("enough")
	calls := 0
	_, err = Walk(strings.NewReader(nestedMessage), Limits{}, func(*Part, io.Reader) error {
		calls++
		return stop
	})
	if err != stop || calls != 1 {
		t.Errorf("callback: err = %v after %d calls", err, calls)
	}
}
