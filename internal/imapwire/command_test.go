package imapwire

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/emersion/go-imap/v2"
	"github.com/google/go-cmp/cmp"
)

// tokenize reads commands as a server does, strictly, with nothing in common
// with this package's Decoder. Strings become s"...", atoms and brackets stand
// for themselves, a line's end is "\n".
func tokenize(t testing.TB, e *Encoder) []string {
	t.Helper()
	segments, err := e.Segments()
	if err != nil {
		t.Fatalf("Segments: %v", err)
	}
	var all bytes.Buffer
	for _, s := range segments {
		if _, err := s.WriteTo(&all); err != nil {
			t.Fatalf("WriteTo: %v", err)
		}
	}
	in := all.String()
	var tokens []string
	for in != "" {
		var token string
		switch c := in[0]; {
		case c == ' ':
			in = in[1:]
			continue
		case strings.HasPrefix(in, "\r\n"):
			token, in = "\n", in[2:]
		case c == '(' || c == ')' || c == '[' || c == ']':
			token, in = in[:1], in[1:]
		case c == '"':
			token, in = strictQuoted(t, in, e.UTF8)
		case c == '{' || strings.HasPrefix(in, "~{"):
			token, in = strictLiteral(t, in)
		default:
			n := strings.IndexFunc(in, func(r rune) bool {
				return r <= ' ' || r >= 0x7f || strings.ContainsRune(`()[]{"`, r)
			})
			if n <= 0 {
				t.Fatalf("no token at %q", in)
			}
			token, in = in[:n], in[n:]
		}
		tokens = append(tokens, token)
	}
	return tokens
}

func strictQuoted(t testing.TB, in string, utf8Allowed bool) (token, rest string) {
	t.Helper()
	var b strings.Builder
	for i := 1; i < len(in); i++ {
		switch c := in[i]; {
		case c == '"':
			if utf8Allowed && !utf8.ValidString(b.String()) {
				t.Fatalf("a quoted string that is not UTF-8: %q", in)
			}
			return "s" + strconv.Quote(b.String()), in[i+1:]
		case c == '\\' && i+1 < len(in) && (in[i+1] == '"' || in[i+1] == '\\'):
			i++
			b.WriteByte(in[i])
		case c == '\\', c < ' ', c == 0x7f, c >= 0x80 && !utf8Allowed:
			t.Fatalf("%q within a quoted string", c)
		default:
			b.WriteByte(c)
		}
	}
	t.Fatalf("a quoted string without end: %q", in)
	return "", ""
}

func strictLiteral(t testing.TB, in string) (token, rest string) {
	t.Helper()
	in = strings.TrimPrefix(in, "~")
	head, rest, ok := strings.Cut(in, "\r\n")
	size, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(head, "{"), "}"), "+"))
	if !ok || err != nil || size > len(rest) {
		t.Fatalf("not a literal: %q", in)
	}
	return "s" + strconv.Quote(rest[:size]), rest[size:]
}

func q(s string) string { return "s" + strconv.Quote(s) }

func TestSearchCriteria(t *testing.T) {
	t.Parallel()
	day := time.Date(2026, 2, 3, 23, 0, 0, 0, time.UTC)
	tests := []struct {
		name string
		c    SearchCriteria
		want string
	}{
		{"all", SearchCriteria{}, "ALL"},
		{"numbers", SearchCriteria{SearchCriteria: imap.SearchCriteria{SeqNum: []imap.SeqSet{{{Start: 1, Stop: 0}}}, UID: []imap.UIDSet{imap.UIDSetNum(3, 4, 9)}}}, "1:* UID 3:4,9"},
		{"last result", SearchCriteria{SearchCriteria: imap.SearchCriteria{UID: []imap.UIDSet{imap.SearchRes()}}}, "UID $"},
		{"dates", SearchCriteria{SearchCriteria: imap.SearchCriteria{Since: day, Before: day, SentSince: day, SentBefore: day}, SavedSince: day, SavedBefore: day},
			"SINCE 3-Feb-2026 BEFORE 3-Feb-2026 SENTSINCE 3-Feb-2026 SENTBEFORE 3-Feb-2026 SAVEDSINCE 3-Feb-2026 SAVEDBEFORE 3-Feb-2026"},
		{"headers", SearchCriteria{SearchCriteria: imap.SearchCriteria{Header: []imap.SearchCriteriaHeaderField{{Key: "subject", Value: `a "b"`}, {Key: "X-Y", Value: ""}}}},
			`SUBJECT "a \"b\"" HEADER "X-Y" ""`},
		{"text", SearchCriteria{SearchCriteria: imap.SearchCriteria{Body: []string{"x"}, Text: []string{"y", "z"}}}, `BODY "x" TEXT "y" TEXT "z"`},
		{"flags", SearchCriteria{SearchCriteria: imap.SearchCriteria{Flag: []imap.Flag{imap.FlagSeen, "$Junk"}, NotFlag: []imap.Flag{`\deleted`, "x"}}},
			"SEEN KEYWORD $Junk UNDELETED UNKEYWORD x"},
		{"sizes", SearchCriteria{SearchCriteria: imap.SearchCriteria{Larger: 5, Smaller: 6}}, "LARGER 5 SMALLER 6"},
		{"modseq", SearchCriteria{SearchCriteria: imap.SearchCriteria{ModSeq: &imap.SearchCriteriaModSeq{ModSeq: 5, MetadataName: `/flags/\draft`, MetadataType: imap.SearchCriteriaMetadataAll}}},
			`MODSEQ "/flags/\\draft" all 5`},
		{"not and or", SearchCriteria{SearchCriteria: imap.SearchCriteria{
			Not: []imap.SearchCriteria{{Body: []string{"x"}}}, Or: [][2]imap.SearchCriteria{{{Body: []string{"a"}, Larger: 3}, {}}}}},
			`NOT (BODY "x") OR (BODY "a" LARGER 3) (ALL)`},
		{"not and or of our own", SearchCriteria{Not: []SearchCriteria{{GmailRaw: []string{"x"}}}, Or: [][2]SearchCriteria{{{EmailID: []string{"M1"}}, {ThreadID: []string{"T1"}}}}},
			`NOT (X-GM-RAW "x") OR (EMAILID M1) (THREADID T1)`},
		{"within", SearchCriteria{Younger: 90*time.Second + 1, Older: time.Hour}, "YOUNGER 91 OLDER 3600"},
		{"Gmail", SearchCriteria{GmailRaw: []string{"has:attachment"}, GmailMsgID: []uint64{18446744073709551615}, GmailThreadID: []uint64{7}, GmailLabels: []string{"ü"}},
			`X-GM-RAW "has:attachment" X-GM-MSGID 18446744073709551615 X-GM-THRID 7 X-GM-LABELS "&APw-"`},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var e Encoder
			if got := wire(t, e.SearchProgram(&tc.c)); got != tc.want {
				t.Errorf("got\n%s\nwant\n%s", got, tc.want)
			}
		})
	}
}

func TestSearchCharset(t *testing.T) {
	t.Parallel()
	umlaut := SearchCriteria{Not: []SearchCriteria{{SearchCriteria: imap.SearchCriteria{Or: [][2]imap.SearchCriteria{{{}, {Text: []string{"ü"}}}}}}}}
	e := Encoder{LiteralPlus: true}
	if got, want := wire(t, e.SearchProgram(&umlaut)), "CHARSET UTF-8 NOT (OR (ALL) (TEXT {2+}\nü))"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	e = Encoder{UTF8: true}
	if got, want := wire(t, e.SearchProgram(&umlaut)), `NOT (OR (ALL) (TEXT "ü"))`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSearchCriteriaRefused(t *testing.T) {
	t.Parallel()
	deep := SearchCriteria{}
	for range maxSearchDepth + 1 {
		deep = SearchCriteria{Not: []SearchCriteria{deep}}
	}
	for name, c := range map[string]SearchCriteria{
		"depth":           deep,
		"negative time":   {Younger: -1},
		"keyword":         {SearchCriteria: imap.SearchCriteria{Flag: []imap.Flag{"a b"}}},
		"wildcard":        {SearchCriteria: imap.SearchCriteria{Flag: []imap.Flag{imap.FlagWildcard}}},
		"id":              {EmailID: []string{"a) (b"}},
		"negative size":   {SearchCriteria: imap.SearchCriteria{Larger: -1}},
		"empty set":       {SearchCriteria: imap.SearchCriteria{UID: []imap.UIDSet{nil}}},
		"metadata type":   {SearchCriteria: imap.SearchCriteria{ModSeq: &imap.SearchCriteriaModSeq{MetadataName: "x", MetadataType: "y\r\n"}}},
		"NUL in a string": {SearchCriteria: imap.SearchCriteria{Text: []string{"\x00"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var e Encoder
			var encode *EncodeError
			if _, err := e.SearchProgram(&c).Segments(); !errors.As(err, &encode) {
				t.Errorf("Segments: %v", err)
			}
		})
	}
}

func TestFetchItems(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		o    FetchOptions
		want string
	}{
		{"page", FetchOptions{FetchOptions: imap.FetchOptions{UID: true, Flags: true, Envelope: true, InternalDate: true, RFC822Size: true, ModSeq: true, BodyStructure: &imap.FetchItemBodyStructure{Extended: true}}},
			"(UID FLAGS MODSEQ INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)"},
		{"extensions", FetchOptions{EmailID: true, ThreadID: true, SaveDate: true, PreviewLazy: true, GmailMsgID: true, GmailThreadID: true, GmailLabels: true},
			"(EMAILID THREADID SAVEDATE X-GM-MSGID X-GM-THRID X-GM-LABELS PREVIEW (LAZY))"},
		{"bodies", FetchOptions{FetchOptions: imap.FetchOptions{BodyStructure: &imap.FetchItemBodyStructure{}, BodySection: []*imap.FetchItemBodySection{
			{Peek: true}, {Part: []int{1, 2}, Specifier: imap.PartSpecifierMIME}, {Part: []int{3}, Partial: &imap.SectionPartial{Offset: 5, Size: 10}},
			{Specifier: imap.PartSpecifierHeader, HeaderFields: []string{"From", "X Y"}, Peek: true}, {Part: []int{4}, Specifier: imap.PartSpecifierHeader, HeaderFieldsNot: []string{"A"}}}}},
			`(BODY BODY.PEEK[] BODY[1.2.MIME] BODY[3]<5.10> BODY.PEEK[HEADER.FIELDS (From "X Y")] BODY[4.HEADER.FIELDS.NOT (A)])`},
		{"binary", FetchOptions{FetchOptions: imap.FetchOptions{BinarySection: []*imap.FetchItemBinarySection{{Part: []int{1}, Peek: true}}, BinarySectionSize: []*imap.FetchItemBinarySectionSize{{Part: []int{1, 3}}}}},
			"(BINARY.SIZE[1.3] BINARY.PEEK[1])"},
		{"changes", FetchOptions{FetchOptions: imap.FetchOptions{Flags: true, ChangedSince: 12}, Vanished: true}, "(FLAGS) (CHANGEDSINCE 12 VANISHED)"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var e Encoder
			if got := wire(t, e.FetchItems(&tc.o)); got != tc.want {
				t.Errorf("got\n%s\nwant\n%s", got, tc.want)
			}
		})
	}
}

func TestListAndStatusArguments(t *testing.T) {
	t.Parallel()
	var e Encoder
	e.ListArguments(&ListOptions{}, "", "*").End()
	e.ListArguments(&ListOptions{ListOptions: imap.ListOptions{SelectSubscribed: true, SelectRecursiveMatch: true, ReturnChildren: true, ReturnSpecialUse: true,
		ReturnStatus: &imap.StatusOptions{NumMessages: true}}}, "ü/", "%", "Entwürfe").End()
	e.ListArguments(&ListOptions{ReturnStatus: &StatusOptions{MailboxID: true, StatusOptions: imap.StatusOptions{UIDNext: true}}}, "", "*").End()
	want := `"" "*"` + "\n" + `(SUBSCRIBED RECURSIVEMATCH) "&APw-/" ("%" "Entw&APw-rfe") RETURN (CHILDREN SPECIAL-USE STATUS (MESSAGES))` + "\n" +
		`"" "*" RETURN (STATUS (UIDNEXT MAILBOXID))` + "\n"
	if got := wire(t, &e); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestMailboxNames(t *testing.T) {
	t.Parallel()
	e := Encoder{LiteralPlus: true}
	e.Mailbox("inbox").SP().Mailbox("R&D").SP().RawMailbox("R&D").SP().RawMailbox("caf\xe9").SP().Mailbox("a\r\nb")
	if got, want := wire(t, &e), `INBOX "R&-D" "R&D" {4+}`+"\ncaf\xe9 \"a&AA0ACg-b\""; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	e = Encoder{UTF8: true}
	if got, want := wire(t, e.Mailbox("R&D ü")), `"R&D ü"`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// FuzzEncoder writes strings of all kinds into commands and has a strict server
// read them: each must come back as it was, and nothing else must.
func FuzzEncoder(f *testing.F) {
	f.Add("a", "b", "c", uint8(0))
	f.Add("a\r\nA2 LOGOUT", `"`, `\`, uint8(1))
	f.Add("ü&-", "{5}\r\n", "\xff", uint8(7))
	f.Add(strings.Repeat("x", 5000), "inbox", "\x00", uint8(4))
	f.Fuzz(func(t *testing.T, a, b, c string, mode uint8) {
		e := &Encoder{UTF8: mode&1 != 0, LiteralPlus: mode&2 != 0, LiteralMinus: mode&4 != 0}
		e.Command("A1", "X").SP().String(a).SP().Mailbox(b).SP().Literal8(strings.NewReader(c), int64(len(c))).SP().
			RawMailbox(c).End()
		if mode&8 != 0 {
			e.Command("A2", "Y").SP().Flag(imap.Flag(a)).SP().Atom(b).End()
		}
		if e.Err() != nil {
			if mode&8 == 0 && !strings.Contains(a+b+c, "\x00") {
				t.Fatalf("an error without a reason: %v", e.Err())
			}
			return
		}
		mailbox := q(b)
		switch {
		case isINBOX(b):
			mailbox = "INBOX"
		case !e.UTF8:
			mailbox = q(EncodeUTF7(b))
		}
		want := []string{"A1", "X", q(a), mailbox, q(c), q(c), "\n"}
		if mode&8 != 0 {
			want = append(want, "A2", "Y")
			want = append(want, brackets(a)...)
			want = append(want, append(brackets(b), "\n")...)
		}
		if diff := cmp.Diff(want, tokenize(t, e)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// brackets divides an atom at opening brackets, as tokenize does.
func brackets(atom string) (tokens []string) {
	for atom != "" {
		n := strings.IndexByte(atom, '[')
		if n < 0 {
			return append(tokens, atom)
		}
		if n > 0 {
			tokens = append(tokens, atom[:n])
		}
		tokens, atom = append(tokens, "["), atom[n+1:]
	}
	return tokens
}

// FuzzSearchCriteria does the same with search keys.
func FuzzSearchCriteria(f *testing.F) {
	f.Add("Subject", "a", "b", "seen", "c", int64(0))
	f.Add("X\r\n", `") ALL (`, "ü", "x", "NOT", int64(77))
	f.Add("", "\xff", "{3+}\r\nabc", "$x", "\\", int64(-1))
	f.Fuzz(func(t *testing.T, key, value, text, flag, raw string, n int64) {
		c := SearchCriteria{
			SearchCriteria: imap.SearchCriteria{
				Header: []imap.SearchCriteriaHeaderField{{Key: key, Value: value}},
				Or:     [][2]imap.SearchCriteria{{{Text: []string{text}}, {Flag: []imap.Flag{imap.Flag(flag)}}}},
				Larger: n,
			},
			Not: []SearchCriteria{{GmailRaw: []string{raw}, Younger: time.Duration(n)}},
		}
		e := &Encoder{LiteralPlus: true}
		e.SearchProgram(&c).End()
		if e.Err() != nil {
			return
		}
		var want []string
		add := func(tokens ...string) { want = append(want, tokens...) }
		if !isASCII(key + value + text + raw) {
			add("CHARSET", "UTF-8")
		}
		switch upper := strings.ToUpper(key); upper {
		case "BCC", "CC", "FROM", "SUBJECT", "TO":
			add(upper, q(value))
		default:
			add("HEADER", q(key), q(value))
		}
		if n != 0 {
			add("LARGER", fmt.Sprint(n))
		}
		add("OR", "(", "TEXT", q(text), ")", "(")
		if strings.HasPrefix(flag, `\`) {
			add(strings.ToUpper(flag[1:]))
		} else {
			add("KEYWORD")
			add(brackets(flag)...)
		}
		add(")", "NOT", "(")
		if n > 0 {
			add("YOUNGER", fmt.Sprint((n-1)/int64(time.Second)+1))
		}
		add("X-GM-RAW", q(raw), ")", "\n")
		if diff := cmp.Diff(want, tokenize(t, e)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}
