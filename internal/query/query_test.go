package query_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/postern-mail/postern/internal/query"
)

func day(s string) time.Time {
	t, err := time.Parse("2006-01-02", s)
	if err != nil {
		panic(err)
	}
	return t
}

func header(pairs ...string) []imap.SearchCriteriaHeaderField {
	var list []imap.SearchCriteriaHeaderField
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, imap.SearchCriteriaHeaderField{Key: pairs[i], Value: pairs[i+1]})
	}
	return list
}

func TestCriteria(t *testing.T) {
	t.Parallel()
	a, b, c := imap.SearchCriteria{Text: []string{"a"}}, imap.SearchCriteria{Text: []string{"b"}}, imap.SearchCriteria{Text: []string{"c"}}
	tests := []struct {
		name, filter string
		want         imap.SearchCriteria
	}{
		{"nothing", "  ", imap.SearchCriteria{}},
		{"bare word", "invoice", imap.SearchCriteria{Text: []string{"invoice"}}},
		{"the documented one", `from:ann subject:"invoice" after:2026-01-01 is:unread size>1000000 text:"foo"`, imap.SearchCriteria{
			Header: header("From", "ann", "Subject", "invoice"), Since: day("2026-01-01"),
			NotFlag: []imap.Flag{imap.FlagSeen}, Larger: 1000000, Text: []string{"foo"},
		}},
		{"field forms and space", `subject : "a b" AND body:'c "d"'`, imap.SearchCriteria{Header: header("Subject", "a b"), Body: []string{`c "d"`}}},
		{"or binds tighter than and", "a b OR c", imap.SearchCriteria{Text: []string{"a"}, Or: [][2]imap.SearchCriteria{{b, c}}}},
		{"brackets", "(a b) OR c", imap.SearchCriteria{Or: [][2]imap.SearchCriteria{{{Text: []string{"a", "b"}}, c}}}},
		{"or of three", "a OR b OR c", imap.SearchCriteria{Or: [][2]imap.SearchCriteria{{a, {Or: [][2]imap.SearchCriteria{{b, c}}}}}}},
		{"not", "NOT a -b", imap.SearchCriteria{Not: []imap.SearchCriteria{a, b}}},
		{"not of a bracket", "-(a OR b)", imap.SearchCriteria{Not: []imap.SearchCriteria{{Or: [][2]imap.SearchCriteria{{a, b}}}}}},
		{"field before a bracket", "from:(ann OR bob)", imap.SearchCriteria{Or: [][2]imap.SearchCriteria{
			{{Header: header("From", "ann")}, {Header: header("From", "bob")}},
		}}},
		{"not within such a bracket", "to:(ann -bob)", imap.SearchCriteria{
			Header: header("To", "ann"), Not: []imap.SearchCriteria{{Header: header("To", "bob")}},
		}},
		{"dash and apostrophe in words", "to-do it's", imap.SearchCriteria{Text: []string{"to-do", "it's"}}},
		{"colon in a value", "subject:re:foo", imap.SearchCriteria{Header: header("Subject", "re:foo")}},
		{"escapes", `subject:"a\"b\\c"`, imap.SearchCriteria{Header: header("Subject", `a"b\c`)}},
		{"no way out of a string", `from:") UID 1:*"`, imap.SearchCriteria{Header: header("From", ") UID 1:*")}},
		{"keywords in lower case are words", "a or b", imap.SearchCriteria{Text: []string{"a", "or", "b"}}},
		{"any header", "header.List-Id:go", imap.SearchCriteria{Header: header("List-Id", "go")}},
		{"flags", `is:flagged keyword:$Forwarded flag:\Draft flag!=$Junk`, imap.SearchCriteria{
			Flag: []imap.Flag{imap.FlagFlagged, "$Forwarded", imap.FlagDraft}, NotFlag: []imap.Flag{"$Junk"},
		}},
		{"days", "after:2026-01-01 after:2026-02-01 before:2026/03/01", imap.SearchCriteria{Since: day("2026-02-01"), Before: day("2026-03-01")}},
		{"one day", "on:2026-02-28", imap.SearchCriteria{Since: day("2026-02-28"), Before: day("2026-03-01")}},
		{"date header", "date>2026-02-28 date<=2026-03-05", imap.SearchCriteria{SentSince: day("2026-03-01"), SentBefore: day("2026-03-06")}},
		{"another day", "internal_date!=2026-02-01", imap.SearchCriteria{Or: [][2]imap.SearchCriteria{
			{{Before: day("2026-02-01")}, {Since: day("2026-02-02")}},
		}}},
		{"sizes", "size>=100 size<=1K", imap.SearchCriteria{Larger: 99, Smaller: 1025}},
		{"size bounds do not undo each other", "smaller:5M larger:1M size<9M", imap.SearchCriteria{Larger: 1 << 20, Smaller: 5 << 20}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e, err := query.Parse(tt.filter)
			if err != nil {
				t.Fatal(err)
			}
			got, err := query.Criteria(e)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&tt.want, got); diff != "" {
				t.Errorf("%s: -want +got\n%s", tt.filter, diff)
			}
		})
	}
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
		"deep":                  {strings.Repeat("(", 50) + "a" + strings.Repeat(")", 50), 21, false},
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
				_, err = query.Criteria(e)
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
			_, err = query.Criteria(e)
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
