package imapwire

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/emersion/go-imap/v2"
	"github.com/google/go-cmp/cmp"
)

// decode returns a Decoder of what a server sends. Its line ends may be written
// as "\n". Half of the tests read byte by byte, so that every token is seen cut.
func decode(transcript string) *Decoder {
	return NewDecoder(strings.NewReader(crlf(transcript)), Limits{})
}

func crlf(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\n", "\r\n")
}

// eachChunking runs a test over the transcript as a whole and in pieces.
func eachChunking(t *testing.T, transcript string, f func(t *testing.T, d *Decoder)) {
	t.Helper()
	t.Run("whole", func(t *testing.T) { f(t, decode(transcript)) })
	t.Run("bytewise", func(t *testing.T) {
		f(t, NewDecoder(iotest.OneByteReader(strings.NewReader(crlf(transcript))), Limits{}))
	})
}

func mustNext(t *testing.T, d *Decoder) Response {
	t.Helper()
	r, err := d.Next()
	if err != nil {
		t.Fatalf("Next: %v", err)
	}
	return r
}

func TestNext(t *testing.T) {
	t.Parallel()
	status := func(typ, code, arg, text string) *Status {
		return &Status{Type: imap.StatusResponseType(typ), Code: imap.ResponseCode(code), Arg: arg, Text: text}
	}
	tests := []struct {
		name, line string
		want       Response
	}{
		{"greeting", "* OK [CAPABILITY IMAP4rev1 IDLE] ready", Response{Name: "OK", Status: status("OK", "CAPABILITY", "IMAP4rev1 IDLE", "ready")}},
		{"tagged", "A1 OK done", Response{Tag: "A1", Name: "", Status: status("OK", "", "", "done")}},
		{"tagged without text", "A1 OK", Response{Tag: "A1", Status: status("OK", "", "", "")}},
		{"lower case", "A1 no [alert] no", Response{Tag: "A1", Status: status("NO", "ALERT", "", "no")}},
		{"code without text", "A1 NO [TRYCREATE]", Response{Tag: "A1", Status: status("NO", "TRYCREATE", "", "")}},
		{"code never closed", "A1 NO [TRYCREATE", Response{Tag: "A1", Status: status("NO", "", "", "[TRYCREATE")}},
		{"brackets in flags", `* OK [PERMANENTFLAGS (a[1] \*)] ok`, Response{Name: "OK", Status: status("OK", "PERMANENTFLAGS", `(a[1] \*)`, "ok")}},
		{"bracket in a string", `* NO [BADCHARSET ("x]" y)] ok`, Response{Name: "NO", Status: status("NO", "BADCHARSET", `("x]" y)`, "ok")}},
		{"parenthesis never closed", "* OK [X (a] text", Response{Name: "OK", Status: status("OK", "X", "(a", "text")}},
		{"8-bit text", "* BYE caf\xe9", Response{Name: "BYE", Status: status("BYE", "", "", "café")}},
		{"announcement in text", "* OK send {5}", Response{Name: "OK", Status: status("OK", "", "", "send {5}")}},
		{"double spaces", "*  OK  [ALERT]  hi ", Response{Name: "OK", Status: status("OK", "ALERT", "", "hi")}},
		{"number", "* 12 EXISTS", Response{Name: "EXISTS", Num: 12}},
		{"trailing space", "* 12 exists ", Response{Name: "EXISTS", Num: 12}},
		{"data", "* FLAGS (x)", Response{Name: "FLAGS"}},
		{"continuation", "+ idling", Response{Continuation: true, Text: "idling"}},
		{"bare continuation", "+", Response{Continuation: true}},
		{"continuation with space only", "+ ", Response{Continuation: true}},
		{"blank lines before", "\n\n* 1 EXISTS", Response{Name: "EXISTS", Num: 1}},
		{"NUL before", "\x00\x00* 1 EXISTS", Response{Name: "EXISTS", Num: 1}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			eachChunking(t, tc.line+"\n* 7 RECENT\n", func(t *testing.T, d *Decoder) {
				if diff := cmp.Diff(tc.want, mustNext(t, d)); diff != "" {
					t.Fatalf("response (-want +got):\n%s", diff)
				}
				if got := mustNext(t, d); got.Name != "RECENT" || got.Num != 7 {
					t.Fatalf("the response after it is %+v", got)
				}
			})
		})
	}
}

// TestNextGoesOn sends nonsense and expects the response after it.
func TestNextGoesOn(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, junk string }{
		{"a word", "hello"},
		{"words", "hello world again"},
		{"star alone", "*"},
		{"number alone", "* 12"},
		{"number too large", "* 4294967296 EXISTS"},
		{"tag with unknown status", "A1 MAYBE"},
		{"literal in it", "foo bar {3}\n\r\nx baz"},
		{"literal at its end", "foo bar {3}\nabc"},
		{"unknown data", `* XSTUFF (a "b)" {5}` + "\n()\"\n (c)) d"},
		{"unknown data, literal8", "* XSTUFF ~{5}\n\x00\x00\"\n d"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			eachChunking(t, tc.junk+"\n* 7 RECENT\n", func(t *testing.T, d *Decoder) {
				for range 2 {
					r, err := d.Next()
					if err == nil && r.Name == "RECENT" && r.Num == 7 {
						return
					}
					var syntax *SyntaxError
					if err != nil && !errors.As(err, &syntax) {
						t.Fatalf("Next: %v", err)
					}
				}
				t.Fatal("the response after it was lost")
			})
		})
	}
}

func TestStrings(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, in, want string
		isNIL          bool
	}{
		{"quoted", `"foo"`, "foo", false},
		{"empty", `""`, "", false},
		{"escapes", `"a\"b\\c"`, `a"b\c`, false},
		{"quotes not escaped", `"foo "bar"baz".doc"`, `foo "bar"baz".doc`, false},
		{"quote not escaped", `"foo"bar.doc"`, `foo"bar.doc`, false},
		{"quoted within", `"say "hi""`, `say "hi"`, false},
		{"backslash not doubled", `"C:\dir"`, `C:\dir`, false},
		{"8-bit", "\"caf\xe9\"", "caf\xe9", false},
		{"literal", "{6}\na\"(\nb", "a\"(\r\nb", false},
		{"empty literal", "{0}\n", "", false},
		{"literal8", "~{3}\na\x00b", "a\x00b", false},
		{"literal with plus", "{3+}\nabc", "abc", false},
		{"NIL", "NIL", "", true},
		{"lower-case nil", "nil", "", true},
		{"quoted NIL", `"NIL"`, "NIL", false},
		{"atom", "foo[]%*\\", `foo[]%*\`, false},
		{"atom with a tilde", "~foo", "~foo", false},
		{"long", `"` + strings.Repeat("x", 3*windowSize) + `"`, strings.Repeat("x", 3*windowSize), false},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			eachChunking(t, "* X "+tc.in+" after\n", func(t *testing.T, d *Decoder) {
				mustNext(t, d)
				got, ok, err := d.NString()
				if err != nil || got != tc.want || ok == tc.isNIL {
					t.Fatalf("NString = %q, %v, %v", got, ok, err)
				}
				if after, err := d.Atom(); err != nil || after != "after" {
					t.Fatalf("then %q, %v", after, err)
				}
			})
		})
	}
}

func TestSkipValue(t *testing.T) {
	t.Parallel()
	for _, value := range []string{
		"atom", `"quoted"`, "{3}\n)))", "()", "((()))", `(a (b "c)" {2}` + "\n((" + ` nil) (d))`, "~{1}\n(", "NIL",
	} {
		eachChunking(t, "* X "+value+" after\n", func(t *testing.T, d *Decoder) {
			mustNext(t, d)
			if err := d.SkipValue(); err != nil {
				t.Fatalf("SkipValue of %q: %v", value, err)
			}
			if after, err := d.Atom(); err != nil || after != "after" {
				t.Fatalf("after %q: %q, %v", value, after, err)
			}
		})
	}
}

func TestLiteralReader(t *testing.T) {
	t.Parallel()
	eachChunking(t, "* X {5}\nhello {4}\nrest \"q\" NIL {0}\n\n* 1 EXISTS\n", func(t *testing.T, d *Decoder) {
		mustNext(t, d)
		first, err := d.NStringReader()
		if err != nil || first.Size() != 5 {
			t.Fatalf("NStringReader: %v", err)
		}
		if _, err := d.Atom(); !errors.Is(err, errLiteralOpen) {
			t.Fatalf("a token inside a literal: %v", err)
		}
		if got, err := io.ReadAll(first); err != nil || string(got) != "hello" {
			t.Fatalf("read %q, %v", got, err)
		}
		second, err := d.NStringReader()
		if err != nil {
			t.Fatal(err)
		}
		one := make([]byte, 1)
		if _, err := second.Read(one); err != nil || one[0] != 'r' {
			t.Fatalf("read %q, %v", one, err)
		}
		if got := mustNext(t, d); got.Name != "EXISTS" {
			t.Fatalf("then %+v", got)
		}
		if _, err := second.Read(one); !errors.Is(err, errLiteralClosed) {
			t.Fatalf("read after the decoder went on: %v", err)
		}
	})
}

func TestLiteralReaderForms(t *testing.T) {
	t.Parallel()
	d := decode("* X \"quoted\" {0}\n NIL ~{1}\nx\n")
	mustNext(t, d)
	for _, want := range []string{"quoted", "", "nil", "x"} {
		l, err := d.NStringReader()
		if err != nil {
			t.Fatal(err)
		}
		if l == nil {
			if want != "nil" {
				t.Fatalf("got NIL, want %q", want)
			}
			continue
		}
		var b strings.Builder
		if n, err := io.Copy(&b, l); err != nil || b.String() != want || n != l.Size() {
			t.Fatalf("got %q, %v, want %q", b.String(), err, want)
		}
	}
}

// script is a reader that plays one step at a time: data, or an error.
type script struct{ steps []any }

func (s *script) Read(p []byte) (int, error) {
	if len(s.steps) == 0 {
		return 0, io.EOF
	}
	switch step := s.steps[0].(type) {
	case string:
		n := copy(p, step)
		if s.steps[0] = step[n:]; n == len(step) {
			s.steps = s.steps[1:]
		}
		return n, nil
	case error:
		s.steps = s.steps[1:]
		return 0, step
	}
	panic("unknown step")
}

func TestTimeoutWhileWaiting(t *testing.T) {
	t.Parallel()
	timeout := os.ErrDeadlineExceeded
	d := NewDecoder(&script{[]any{timeout, "* 1 EXISTS\r\n", timeout, "\r\n", timeout, "* 2 EX", timeout}}, Limits{})
	for _, want := range []uint32{0, 1, 0, 0} {
		r, err := d.Next()
		if want == 0 {
			if !errors.Is(err, timeout) || d.Err() != nil {
				t.Fatalf("Next = %v, Err = %v", err, d.Err())
			}
		} else if err != nil || r.Num != want {
			t.Fatalf("Next = %+v, %v", r, err)
		}
		d.Release()
	}
	if _, err := d.Next(); !errors.Is(err, timeout) || d.Err() == nil {
		t.Fatalf("a time-out within a response: Next = %v, Err = %v", err, d.Err())
	}
}

func TestEndOfStream(t *testing.T) {
	t.Parallel()
	d := decode("* 1 EXISTS\n")
	mustNext(t, d)
	if _, err := d.Next(); err != io.EOF {
		t.Fatalf("Next at the end: %v", err)
	}
	d = decode("* 1 EXI")
	if _, err := d.Next(); err != io.ErrUnexpectedEOF {
		t.Fatalf("Next in the middle: %v", err)
	}
}

func TestRelease(t *testing.T) {
	t.Parallel()
	d := decode("* 1 EXISTS\nA1 OK done\n")
	mustNext(t, d)
	d.Release()
	if d.buf == nil {
		t.Fatal("Release gave up unread bytes")
	}
	mustNext(t, d)
	d.Release()
	if d.buf != nil {
		t.Fatal("Release kept the buffer")
	}
}

func TestFinish(t *testing.T) {
	t.Parallel()
	d := decode("* 1 EXISTS\n")
	mustNext(t, d)
	if d.Buffered() == 0 {
		t.Fatal("the line's end is not there to be finished")
	}
	if err := d.Finish(); err != nil || d.Buffered() != 0 {
		t.Fatalf("Finish: %v, Buffered = %d", err, d.Buffered())
	}
	if d.Release(); d.buf != nil {
		t.Fatal("Release kept the buffer")
	}
}

func TestTakeBuffered(t *testing.T) {
	t.Parallel()
	d := decode("A1 OK DEFLATE active\n\x01\x02")
	mustNext(t, d)
	if n, b := d.Buffered(), d.TakeBuffered(); n != 2 || string(b) != "\x01\x02" || d.Buffered() != 0 {
		t.Fatalf("Buffered = %d, TakeBuffered = %q", n, b)
	}
	d.Reset(strings.NewReader("* 3 EXISTS\r\n"))
	if r := mustNext(t, d); r.Num != 3 {
		t.Fatalf("after Reset: %+v", r)
	}
}
