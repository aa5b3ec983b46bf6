package query_test

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/imapwire"
	"github.com/postern-mail/postern/internal/query"
)

// gmail is a server with everything that a filter can use.
var gmail = imap.CapSet{"X-GM-EXT-1": {}, imap.CapObjectID: {}}

// now is what ages are counted from.
var now = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

func plan(t *testing.T, filter string, o query.Options) *query.Plan {
	t.Helper()
	e, err := query.Parse(filter)
	if err != nil {
		t.Fatal(err)
	}
	o.Now = now
	p, err := query.NewPlan(e, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// text is criteria as a command has them.
func text(t *testing.T, criteria *query.Criteria) string {
	t.Helper()
	if criteria == nil {
		return "nothing"
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

// What the server can search for exactly is left to it.
func TestSearch(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, filter, want string }{
		{"nothing", "  ", `ALL`},
		{"bare word", "invoice", `TEXT "invoice"`},
		{"the documented one", `from:ann subject:"invoice" is:unread size>1000000 text:"foo"`,
			`FROM "ann" SUBJECT "invoice" TEXT "foo" UNSEEN LARGER 1000000`},
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
		{"sizes", "size>=100 size<=1K", `LARGER 99 SMALLER 1025`},
		{"size bounds do not undo each other", "smaller:5M larger:1M size<9M", `LARGER 1048576 SMALLER 5242880`},
		{"another size", "size!=10", `NOT (LARGER 9 SMALLER 11)`},
		{"uids", `uid:5 uid:1:100,7,300:* uid>=10 uid<20`, `UID 5 UID 1:100,300:4294967295 UID 10:4294967295 UID 1:19`},
		{"no such uid", `uid<1`, `NOT (ALL)`},
		{"all uids but", `uid!=5`, `NOT (UID 5)`},
		{"presence", `header.List-Id:* subject:"*"`, `HEADER "List-Id" "" SUBJECT "*"`},
		{"JSON's names", `messageId:a inReplyTo:b HEADER.X-A:c FROM:d`, `HEADER "Message-ID" "a" HEADER "In-Reply-To" "b" HEADER "X-A" "c" FROM "d"`},
		{"gmail's system labels", `label:inbox -labels:"Two Words" label:\Sent`, `X-GM-LABELS "\\Inbox" X-GM-LABELS "\\Sent" NOT (X-GM-LABELS "Two Words")`},
		{"gmail's attachments", `filename:"a\"b" has:attachment`, `X-GM-RAW "filename:\"a b\"" X-GM-RAW "has:attachment"`},
		{"gmail", `gmail_raw:"in:x" has:attachment label:work email_id:F1`, `EMAILID F1 X-GM-RAW "in:x" X-GM-RAW "has:attachment" X-GM-LABELS "work"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := plan(t, tt.filter, query.Options{Caps: gmail})
			if got := text(t, p.Search); got != tt.want || !p.Exact() {
				t.Errorf("%s\n got %s (%v)\nwant %s", tt.filter, got, p.Exact(), tt.want)
			}
		})
	}
}

// A filter that is as large and as deep as any may be still becomes a search
// that the wire takes.
func TestLargest(t *testing.T) {
	t.Parallel()
	nested := "a"
	for range 10 {
		nested = "-(" + strings.Repeat("b OR ", 9) + nested + ")"
	}
	dates := "-after:2026-01-01"
	for range 9 {
		dates = "-(" + strings.Repeat("date!=2026-01-01 OR ", 9) + dates + ")"
	}
	for _, filter := range []string{strings.TrimSuffix(strings.Repeat("a OR ", 100), " OR "), nested, dates} {
		p := plan(t, filter, query.Options{})
		for _, criteria := range append(p.Known, p.Search, p.Certain) {
			text(t, criteria)
		}
	}
}

// What the server cannot tell exactly lies between two searches.
func TestBetween(t *testing.T) {
	t.Parallel()
	ascii := query.Options{ASCIIOnly: true}
	for _, tt := range []struct {
		name, filter  string
		options       query.Options
		upper, lower  string
		known, needed string
	}{
		{"after a day", "after:2026-01-10", query.Options{}, "SINCE 9-Jan-2026", "SINCE 12-Jan-2026", "", "date"},
		{"before a day", "before:2026/01/10", query.Options{}, "BEFORE 12-Jan-2026", "BEFORE 9-Jan-2026", "", "date"},
		{"on a day", "on:2026-01-10", query.Options{}, "SINCE 9-Jan-2026 BEFORE 13-Jan-2026", "nothing", "", "date"},
		{"a moment", "internal_date>=2026-01-10T23:30:00-05:00", query.Options{}, "SINCE 10-Jan-2026", "SINCE 13-Jan-2026", "", "date"},
		{"an age", "newer_than:7d", query.Options{}, "SINCE 19-Nov-2026", "SINCE 22-Nov-2026", "", "date"},
		{"another age", "older_than:1y", query.Options{}, "BEFORE 29-Nov-2025", "BEFORE 26-Nov-2025", "", "date"},
		{"date header", "date<2026-03-05", query.Options{}, "SENTBEFORE 7-Mar-2026", "SENTBEFORE 4-Mar-2026", "", "[Date]"},
		{"two bounds", "after:2026-01-10 after:2026-01-20 from:ann", query.Options{},
			`SINCE 19-Jan-2026 FROM "ann"`, `SINCE 22-Jan-2026 FROM "ann"`, "", "date"},
		{"not", "-after:2026-01-10", query.Options{}, "NOT (SINCE 12-Jan-2026)", "NOT (SINCE 9-Jan-2026)", "", "date"},
		{"or", "after:2026-01-10 OR subject:x", query.Options{},
			`OR (SINCE 9-Jan-2026) (SUBJECT "x")`, `OR (SINCE 12-Jan-2026) (SUBJECT "x")`, `SUBJECT "x"`, "date"},
		{"equality", "subject=invoice -from!=ann@x.org", query.Options{}, `SUBJECT "invoice" NOT (NOT (FROM "ann@x.org"))`, "nothing", "", "[Subject From]"},
		{"part of an address", "from.address=ann@x.org to.name:bob", query.Options{}, `FROM "ann@x.org" TO "bob"`, "nothing", "", "[From To]"},
		{"attachment", "is:unread has:attachment", query.Options{}, "UNSEEN", "nothing", "", "structure"},
		{"attachment or", "is:unread OR has:attachment", query.Options{}, "ALL", "UNSEEN", "UNSEEN", "structure"},
		{"no attachment", "-has:attachment", query.Options{}, "ALL", "nothing", "", "structure"},
		{"file name", "filename:pdf filename=a.pdf", query.Options{}, "ALL", "nothing", "", "structure"},
		{"charset refused", "subject:Grüße from:ann", ascii, `FROM "ann"`, "nothing", "", "[Subject]"},
		{"charset refused for text", "Grüße body:x", ascii, `BODY "x"`, "nothing", "", "message"},
		{"charset refused in a not", "-(subject:Grüße from:ann)", ascii, "ALL", `NOT (FROM "ann")`, `FROM "ann"`, "[Subject]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := plan(t, tt.filter, tt.options)
			var known []string
			for _, criteria := range p.Known {
				known = append(known, text(t, criteria))
			}
			if upper, lower := text(t, p.Search), text(t, p.Certain); upper != tt.upper || lower != tt.lower || strings.Join(known, "; ") != tt.known {
				t.Errorf("%s\nat most  %s\nat least %s\nknown    %s", tt.filter, upper, lower, known)
			}
			var needed string
			switch n := p.Needs; {
			case n.InternalDate:
				needed = "date"
			case n.Structure:
				needed = "structure"
			case n.Message:
				needed = "message"
			default:
				needed = fmt.Sprint(n.Headers)
			}
			if needed != tt.needed || p.Exact() {
				t.Errorf("%s needs %+v", tt.filter, p.Needs)
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
		"open bracket":          {"ü (b", 3, false},
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
		"thing to have":         {"a has:cheese", 2, false},
		"age":                   {"newer_than:7", 0, false},
		"age without a number":  {"newer_than:d", 0, false},
		"age with a comparator": {"newer_than>7d", 0, false},
		"uid":                   {"uid:0", 0, false},
		"set of uids":           {"uid:1:x", 0, false},
		"label elsewhere":       {"ü label:x", 3, true},
		"folder":                {"in:inbox", 0, true},
		"time without a zone":   {"after:2026-01-01T10:00:00", 0, false},
		"gmail":                 {`gmail_raw:"in:x"`, 0, true},
		"equality of text":      {"text=ann", 0, true},
		"unsupported in an or":  {"a OR label:x", 5, true},
		"unsupported in a not":  {"-label:x", 1, true},
		"unsupported in a list": {"label:(x OR b)", 7, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, err := query.Parse(tt.filter)
			if err == nil {
				_, err = query.NewPlan(e, query.Options{Now: now})
			}
			var syntax *query.SyntaxError
			var unsupported *query.UnsupportedError
			switch {
			case !tt.unsupported && errors.As(err, &syntax):
				if syntax.Pos != tt.pos || syntax.Column != utf8.RuneCountInString(tt.filter[:tt.pos])+1 {
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

func FuzzPlan(f *testing.F) {
	for _, seed := range []string{
		`from:ann subject:"invoice" after:2026-01-01 is:unread size>1000000 has:attachment text:"foo"`,
		"a OR (b AND -c) from:(x OR y)", `state = CONNECTED AND labels.team = "x"`, "((((", `"\`, "a!=b", "-", "size<=4294967295",
		"uid:1:5,7:* newer_than:7d", `subject=Grüße OR -filename:"ü.pdf"`, `label:inbox gmail_raw:"in:x"`, "header.X-Y:* from.name=ü",
		`subject:"a\"b" from:") UID 1:*"`,
	} {
		f.Add(seed, true, false)
		f.Add(seed, false, true)
	}
	f.Fuzz(func(t *testing.T, filter string, isGmail, ascii bool) {
		o := query.Options{ASCIIOnly: ascii, Now: now}
		if isGmail {
			o.Caps = gmail
		}
		e, err := query.Parse(filter)
		var p *query.Plan
		if err == nil {
			p, err = query.NewPlan(e, o)
		}
		var syntax *query.SyntaxError
		var unsupported *query.UnsupportedError
		if err != nil && !errors.As(err, &syntax) && !errors.As(err, &unsupported) {
			t.Fatalf("%q: untyped %v", filter, err)
		}
		if syntax != nil && (syntax.Pos < 0 || syntax.Pos > len(filter) || syntax.Column < 1 || syntax.Column > syntax.Pos+1) {
			t.Fatalf("%q: position %d, column %d", filter, syntax.Pos, syntax.Column)
		}
		if p == nil {
			return
		}
		for _, criteria := range append(p.Known, p.Search, p.Certain) {
			if criteria == nil {
				continue
			}
			// No text of the filter may leave its string.
			if left := outsideStrings(text(t, criteria)); !searchKeys.MatchString(left) {
				t.Fatalf("%q becomes %q, with %q outside of strings", filter, text(t, criteria), left)
			}
		}
		p.Match(&query.Facts{Known: make([]bool, len(p.Known))})
	})
}

var (
	quotedString = regexp.MustCompile(`"(?:[^"\\\r\n]|\\["\\])*"`)
	literalSize  = regexp.MustCompile(`\{(\d+)\+?\}\r\n`)
	// searchKeys are the words of a search; a flag's name is an atom.
	searchKeys = regexp.MustCompile(`^(?:[A-Z-]+|KEYWORD \S+|[0-9:,]+|[0-9]{1,2}-[A-Z][a-z]{2}-[0-9]{4}|EMAILID \S+|[ ()])*$`)
)

// outsideStrings is a command without its strings.
func outsideStrings(command string) string {
	for m := literalSize.FindStringSubmatchIndex(command); m != nil; m = literalSize.FindStringSubmatchIndex(command) {
		n, _ := strconv.Atoi(command[m[2]:m[3]])
		command = command[:m[0]] + command[m[1]+n:]
	}
	return quotedString.ReplaceAllString(command, "")
}
