package imapwire

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

// wire writes what an Encoder built, with a "<+>" where it waits for the server.
func wire(t *testing.T, e *Encoder) string {
	t.Helper()
	segments, err := e.Segments()
	if err != nil {
		t.Fatalf("Segments: %v", err)
	}
	var b bytes.Buffer
	for _, s := range segments {
		if s.Sync {
			b.WriteString("<+>")
		}
		if _, err := s.WriteTo(&b); err != nil {
			t.Fatalf("WriteTo: %v", err)
		}
	}
	return strings.ReplaceAll(b.String(), "\r\n", "\n")
}

func TestEncodeString(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxQuoted+1)
	tests := []struct {
		name    string
		encoder Encoder
		in      string
		want    string
	}{
		{"plain", Encoder{}, "foo", `"foo"`},
		{"empty", Encoder{}, "", `""`},
		{"escapes", Encoder{}, `a"b\c`, `"a\"b\\c"`},
		{"line end", Encoder{}, "a\r\nb", "{4}\n<+>a\nb"},
		{"8-bit", Encoder{}, "é", "{2}\n<+>é"},
		{"8-bit where UTF-8 is on", Encoder{UTF8: true}, "é", `"é"`},
		{"not UTF-8 where UTF-8 is on", Encoder{UTF8: true, LiteralPlus: true}, "\xe9", "{1+}\n\xe9"},
		{"LITERAL+", Encoder{LiteralPlus: true}, "é", "{2+}\né"},
		{"LITERAL-", Encoder{LiteralMinus: true}, "é", "{2+}\né"},
		{"long", Encoder{LiteralMinus: true}, long, "{1001+}\n" + long},
		{"too long for LITERAL-", Encoder{LiteralMinus: true}, strings.Repeat("y", 4097), "{4097}\n<+>" + strings.Repeat("y", 4097)},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := wire(t, tc.encoder.String(tc.in)); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestEncodeCommands(t *testing.T) {
	t.Parallel()
	var e Encoder
	e.Command("A1", "LOGIN").SP().String("ann").SP().String("pä").End()
	e.Command("A2", "APPEND").SP().Mailbox("Entwürfe").SP().Flags([]imap.Flag{imap.FlagSeen, "$x"}).SP().
		DateTime(time.Date(2026, 3, 4, 5, 6, 7, 0, time.FixedZone("", 3600))).SP().
		Literal(strings.NewReader("hello"), 5).End()
	e.Line("DONE")
	want := `A1 LOGIN "ann" {3}` + "\n<+>pä\n" +
		`A2 APPEND "Entw&APw-rfe" (\Seen $x) " 4-Mar-2026 05:06:07 +0100" {5}` + "\n<+>hello\nDONE\n"
	if got := wire(t, &e); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	e.Reset()
	if got := wire(t, &e); got != "" {
		t.Errorf("after Reset: %q", got)
	}
}

func TestEncodeLiteralUnasked(t *testing.T) {
	t.Parallel()
	e := Encoder{LiteralPlus: true}
	e.Command("A1", "X").SP().Literal8(strings.NewReader("a\x00"), 2).SP().Literal(strings.NewReader("b"), 1).End()
	if got, want := wire(t, &e), "A1 X ~{2+}\na\x00 {1+}\nb\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if segments, _ := e.Segments(); len(segments) != 3 {
		t.Errorf("%d segments, want 3", len(segments))
	}
}

func TestEncodeRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		f    func(e *Encoder)
	}{
		{"NUL in a string", func(e *Encoder) { e.String("a\x00b") }},
		{"line end in an atom", func(e *Encoder) { e.Atom("a\r\nb") }},
		{"space in a flag", func(e *Encoder) { e.Flag("a b") }},
		{"backslash within a flag", func(e *Encoder) { e.Flag(`\a\b`) }},
		{"empty flag", func(e *Encoder) { e.Flag("") }},
		{"lone backslash", func(e *Encoder) { e.Flag(`\`) }},
		{"line end in a line", func(e *Encoder) { e.Line("DONE\r\nA1 LOGOUT") }},
		{"empty set", func(e *Encoder) { e.NumSet(imap.UIDSet{}) }},
		{"negative number", func(e *Encoder) { e.Number64(-1) }},
		{"tag", func(e *Encoder) { e.Command("A 1", "NOOP") }},
		{"line end as a special character", func(e *Encoder) { e.Special('\n') }},
		{"year", func(e *Encoder) { e.Date(time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC)) }},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var e Encoder
			tc.f(&e)
			_, err := e.Segments()
			var encode *EncodeError
			if !errors.As(err, &encode) {
				t.Errorf("Segments: %v, want an EncodeError", err)
			}
		})
	}
}

func TestSegmentOfWrongSize(t *testing.T) {
	t.Parallel()
	for _, size := range []int64{4, 6} {
		s := Segment{Reader: strings.NewReader("hello"), Size: size}
		if _, err := s.WriteTo(new(bytes.Buffer)); !errors.Is(err, ErrLiteralSize) {
			t.Errorf("size %d: %v", size, err)
		}
	}
}

func TestEncodeTokens(t *testing.T) {
	t.Parallel()
	var e Encoder
	e.Special('(').NIL().SP().NString("").SP().NString("a").SP().Number(4294967295).SP().Number64(0).SP().
		UID(7).SP().Attr(imap.MailboxAttrSent).SP().NumSet(imap.UIDSet{{Start: 1, Stop: 3}, {Start: 9, Stop: 9}}).Special(')')
	if got, want := wire(t, &e), `(NIL NIL "a" 4294967295 0 7 \Sent 1:3,9)`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSameSection(t *testing.T) {
	t.Parallel()
	header := func(names ...string) *imap.FetchItemBodySection {
		return &imap.FetchItemBodySection{Specifier: imap.PartSpecifierHeader, HeaderFields: names}
	}
	tests := []struct {
		name       string
		asked, got *imap.FetchItemBodySection
		want       bool
	}{
		{"PEEK is not echoed", &imap.FetchItemBodySection{Peek: true}, &imap.FetchItemBodySection{}, true},
		{"part", &imap.FetchItemBodySection{Part: []int{1, 2}}, &imap.FetchItemBodySection{Part: []int{1, 2}}, true},
		{"another part", &imap.FetchItemBodySection{Part: []int{1, 2}}, &imap.FetchItemBodySection{Part: []int{1, 3}}, false},
		{"part within", &imap.FetchItemBodySection{Part: []int{1}}, &imap.FetchItemBodySection{Part: []int{1, 1}}, false},
		{"another specifier", &imap.FetchItemBodySection{Specifier: imap.PartSpecifierText}, header(), false},
		{"names in another case", header("Subject", "From"), header("SUBJECT", "FROM"), true},
		{"other names", header("Subject"), header("From"), false},
		{"fewer names", header("Subject", "From"), header("Subject"), false},
		{"all but", header("Subject"), &imap.FetchItemBodySection{Specifier: imap.PartSpecifierHeader, HeaderFieldsNot: []string{"Subject"}}, false},
		{"the size is not echoed", &imap.FetchItemBodySection{Partial: &imap.SectionPartial{Offset: 5, Size: 9}}, &imap.FetchItemBodySection{Partial: &imap.SectionPartial{Offset: 5}}, true},
		{"whole instead of from 0", &imap.FetchItemBodySection{Partial: &imap.SectionPartial{Size: 9}}, &imap.FetchItemBodySection{}, true},
		{"another offset", &imap.FetchItemBodySection{Partial: &imap.SectionPartial{Offset: 5, Size: 9}}, &imap.FetchItemBodySection{}, false},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := SameSection(tc.asked, tc.got); got != tc.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestSeqSet(t *testing.T) {
	t.Parallel()
	set := imap.UIDSet{{Start: 1, Stop: 3}, {Start: 4294967295, Stop: 4294967295}}
	if got := SeqSet(set).String(); got != "1:3,4294967295" {
		t.Errorf("got %s", got)
	}
	if SeqSet(nil) != nil {
		t.Error("the set of nothing is not nil")
	}
}
