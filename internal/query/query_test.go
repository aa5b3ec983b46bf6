package query_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/imapwire"
	"github.com/postern-mail/postern/internal/query"
)

// gmail is a server with everything that a filter can use.
var gmail = imap.CapSet{"X-GM-EXT-1": {}, imap.CapObjectID: {}}

// search is the text of the SEARCH that a filter becomes.
func search(t *testing.T, filter string, caps imap.CapSet) string {
	t.Helper()
	e, err := query.Parse(filter)
	if err != nil {
		t.Fatal(err)
	}
	criteria, err := query.Criteria(e, caps)
	if err != nil {
		t.Fatal(err)
	}
	var encoder imapwire.Encoder
	segments, err := encoder.SearchCriteria(criteria).Segments()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, s := range segments {
		if _, err := s.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

func TestCriteria(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, filter, want string }{
		{"nothing", "  ", `ALL`},
		{"bare word", "invoice", `TEXT "invoice"`},
		{"the documented one", `from:ann subject:"invoice" after:2026-01-01 is:unread size>1000000 text:"foo"`,
			`SINCE 1-Jan-2026 FROM "ann" SUBJECT "invoice" TEXT "foo" UNSEEN LARGER 1000000`},
		{"field forms and space", `subject : "a b" AND body:'c "d"'`, `SUBJECT "a b" BODY "c \"d\""`},
		{"or binds tighter than and", "a b OR c", `TEXT "a" OR (TEXT "b") (TEXT "c")`},
		{"brackets", "(a b) OR c", `OR (TEXT "a" TEXT "b") (TEXT "c")`},
		{"or of four", "a OR b OR c OR d", `OR (OR (TEXT "a") (TEXT "b")) (OR (TEXT "c") (TEXT "d"))`},
		{"not", "NOT a -b", `NOT (TEXT "a") NOT (TEXT "b")`},
		{"not of a bracket", "-(a OR b)", `NOT (OR (TEXT "a") (TEXT "b"))`},
		{"field before a bracket", "from:(ann OR bob)", `OR (FROM "ann") (FROM "bob")`},
		{"not within such a bracket", "to:(ann -bob)", `TO "ann" NOT (TO "bob")`},
		{"dash and apostrophe in words", "to-do it's", `TEXT "to-do" TEXT "it's"`},
		{"colon in a value", "subject:re:foo", `SUBJECT "re:foo"`},
		{"escapes", `subject:"a\"b\\c"`, `SUBJECT "a\"b\\c"`},
		{"no way out of a string", `from:") UID 1:*"`, `FROM ") UID 1:*"`},
		{"keywords in lower case are words", "a or b", `TEXT "a" TEXT "or" TEXT "b"`},
		{"any header", "header.List-Id:go", `HEADER "List-Id" "go"`},
		{"flags", `is:flagged keyword:$Forwarded flag:\draft flag!=$Junk`, `FLAGGED KEYWORD $Forwarded DRAFT UNKEYWORD $Junk`},
		{"days", "after:2026-01-01 after:2026-02-01 before:2026/03/01", `SINCE 1-Feb-2026 BEFORE 1-Mar-2026`},
		{"one day", "on:2026-02-28", `SINCE 28-Feb-2026 BEFORE 1-Mar-2026`},
		{"date header", "date>2026-02-28 date<=2026-03-05", `SENTSINCE 1-Mar-2026 SENTBEFORE 6-Mar-2026`},
		{"another day", "internal_date!=2026-02-01", `OR (BEFORE 1-Feb-2026) (SINCE 2-Feb-2026)`},
		{"sizes", "size>=100 size<=1K", `LARGER 99 SMALLER 1025`},
		{"size bounds do not undo each other", "smaller:5M larger:1M size<9M", `LARGER 1048576 SMALLER 5242880`},
		{"another size", "size!=10", `NOT (LARGER 9 SMALLER 11)`},
		{"gmail", `gmail_raw:"in:x" has:attachment label:work email_id:F1`, `EMAILID F1 X-GM-RAW "in:x" X-GM-RAW "has:attachment" X-GM-LABELS "work"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := search(t, tt.filter, gmail); got != tt.want {
				t.Errorf("%s\n got %s\nwant %s", tt.filter, got, tt.want)
			}
		})
	}
}

// A filter that is as large and as deep as any may be still becomes a search
// that the wire takes.
func TestLargest(t *testing.T) {
	t.Parallel()
	search(t, strings.TrimSuffix(strings.Repeat("a OR ", 100), " OR "), nil)
	nested := "a"
	for range 10 {
		nested = "-(" + strings.Repeat("b OR ", 9) + nested + ")"
	}
	search(t, nested, nil)
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		filter      string
		pos         int
		unsupported bool
	}{
		"open bracket":          {"a (b", 2, false},
		"closed twice":          {"a)", 1, false},
		"empty brackets":        {"()", 1, false},
		"open string":           {`subject:"a`, 8, false},
		"no value":              {"from:", 5, false},
		"no value in brackets":  {"(from: )", 7, false},
		"dangling and":          {"a AND", 5, false},
		"dangling or":           {"a OR", 4, false},
		"leading or":            {"OR a", 0, false},
		"dangling not":          {"NOT", 3, false},
		"comparator alone":      {"a = )", 4, false},
		"field within a field":  {"from:(to:a)", 8, false},
		"unknown field":         {"a colour:red", 2, false},
		"unknown state":         {"is:green", 0, false},
		"not a day":             {"after:tomorrow", 0, false},
		"no such day":           {"after:2026-02-30", 0, false},
		"not a size":            {"size>big", 0, false},
		"size too large":        {"size>4096M", 0, false},
		"size zero":             {"size<0", 0, false},
		"line break":            {"a\r\nb", 1, false},
		"NUL":                   {"from:\x00", 5, false},
		"not UTF-8":             {"\xff", 0, false},
		"flag with a space":     {`flag:"a b"`, 0, false},
		"header with a colon":   {`header."a:b":c`, 12, false},
		"order of text":         {"subject>a", 0, false},
		"empty text":            {`subject:""`, 0, false},
		"deep":                  {strings.Repeat("(", 50) + "a" + strings.Repeat(")", 50), 11, false},
		"unknown system flag":   {`flag:\Foo`, 0, false},
		"many":                  {strings.Repeat("a ", 200), 200, false},
		"exclamation mark":      {"a ! b", 2, false},
		"attachment":            {"a has:attachment", 2, true},
		"gmail":                 {`gmail_raw:"in:x"`, 0, true},
		"equality of text":      {"from=ann", 0, true},
		"time of day":           {"after:2026-01-01T10:00:00Z", 0, true},
		"unsupported in an or":  {"a OR has:attachment", 5, true},
		"unsupported in a not":  {"-has:attachment", 1, true},
		"unsupported in a list": {"has:(attachment OR b)", 5, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, err := query.Parse(tt.filter)
			if err == nil {
				_, err = query.Criteria(e, nil)
			}
			var syntax *query.SyntaxError
			var unsupported *query.UnsupportedError
			switch {
			case !tt.unsupported && errors.As(err, &syntax):
				if syntax.Pos != tt.pos {
					t.Errorf("%q: %v, want position %d", tt.filter, syntax, tt.pos)
				}
			case tt.unsupported && errors.As(err, &unsupported):
				if unsupported.Pos != tt.pos {
					t.Errorf("%q: %v, want position %d", tt.filter, unsupported, tt.pos)
				}
			default:
				t.Errorf("%q: %v (%T)", tt.filter, err, err)
			}
		})
	}
}

func FuzzCriteria(f *testing.F) {
	for _, seed := range []string{
		`from:ann subject:"invoice" after:2026-01-01 is:unread size>1000000 has:attachment text:"foo"`,
		"a OR (b AND -c) from:(x OR y)", `state = CONNECTED AND labels.team = "x"`, "((((", `"\`, "a!=b", "-", "size<=4294967295",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, filter string) {
		e, err := query.Parse(filter)
		if err == nil {
			_, err = query.Criteria(e, nil)
		}
		var syntax *query.SyntaxError
		var unsupported *query.UnsupportedError
		if err != nil && !errors.As(err, &syntax) && !errors.As(err, &unsupported) {
			t.Fatalf("%q: untyped %v", filter, err)
		}
		if syntax != nil && (syntax.Pos < 0 || syntax.Pos > len(filter)) {
			t.Fatalf("%q: position %d", filter, syntax.Pos)
		}
	})
}
