package imapwire

import (
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
)

// repeat is a reader of a string n times over, which takes no memory.
type repeat struct {
	s    string
	n    int
	rest string
}

func (r *repeat) Read(p []byte) (int, error) {
	if r.rest == "" {
		if r.n == 0 {
			return 0, io.EOF
		}
		r.n--
		r.rest = r.s
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// stream joins strings and repeats to what a server sends.
func stream(parts ...any) io.Reader {
	var readers []io.Reader
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			readers = append(readers, strings.NewReader(p))
		case *repeat:
			readers = append(readers, p)
		}
	}
	return io.MultiReader(readers...)
}

// block repeats s count times or a few more, in pieces that are fast to read.
func block(s string, count int) *repeat {
	per := max(1, 4096/len(s))
	return &repeat{s: strings.Repeat(s, per), n: (count + per - 1) / per}
}

const forever = 1 << 40

// limitOf returns which limit an answer ran into: its own error, or that of an
// item of FETCH.
func limitOf(t *testing.T, d *Decoder) string {
	t.Helper()
	resp, err := d.Next()
	if err == nil {
		var got any
		got, err = payload(d, resp)
		if f, ok := got.(*FetchData); ok && f != nil && err == nil && len(f.Broken) > 0 {
			err = f.Broken[0].Err
		}
	}
	if err == nil {
		_, err = d.Next()
	}
	var limit *LimitError
	if !errors.As(err, &limit) {
		t.Fatalf("error is %v, not a LimitError", err)
	}
	return limit.Limit
}

// TestHostile lets a server send what would exhaust a client. Each must end in a
// LimitError; where the line has an end, the line after it must be read.
func TestHostile(t *testing.T) {
	t.Parallel()
	const next = "\r\n* 7 RECENT\r\n"
	tests := []struct {
		name  string
		r     io.Reader
		limit string
		fatal bool
	}{
		{"2 MiB of ( in BODYSTRUCTURE", stream("* 1 FETCH (BODYSTRUCTURE ", block("(", 2<<20), next), "Depth", false},
		{"( in ENVELOPE", stream("* 1 FETCH (ENVELOPE ((((", block("(", 2<<20), next), "", false},
		{"( without end", stream("* 1 FETCH (BODYSTRUCTURE ", block("(", forever)), "Response", true},
		{"( in NAMESPACE without end", stream("* NAMESPACE ", block("(", forever)), "", false},
		{"a line without end", stream("* OK ", block("x", forever)), "Response", true},
		{"an atom without end", stream(block("x", forever)), "Response", true},
		{"a quoted string without end", stream("* LIST () \"/\" \"", block("x", forever)), "Response", true},
		{"escapes without end", stream("* LIST () \"/\" \"", block(`\\`, forever)), "Response", true},
		{"digits without end", stream("* 1 FETCH (UID ", block("1", forever)), "Response", true},
		{"blank lines without end", stream(block("\r\n", forever)), "Response", true},
		{"unknown data without end", stream("* XFOO (", block(`a "b" `, forever)), "Response", true},
		{"4 GiB literal", stream("* 1 FETCH (BODY[] {4294967296}\r\n", block("x", forever)), "Stream", true},
		{"literal of 21 digits", stream("* LIST () \"/\" {999999999999999999999}\r\n", block("x", forever)), "Stream", true},
		{"4 GiB literal in unknown data", stream("* XFOO {4294967296}\r\n", block("x", forever)), "Stream", true},
		{"literal too long for memory", stream("* LIST () \"/\" {2097152}\r\n", block("x", 2<<20), next), "String", false},
		{"literals without end", stream("* 1 FETCH (FLAGS (", block("{4}\r\nabcd ", forever)), "", false},
		{"envelope literals without end", stream("* 1 FETCH (X (", block("{4}\r\nabcd ", forever)), "Response", true},
		{"a million flags", stream("* 1 FETCH (FLAGS (", block("a ", 1e6), ") UID 5)", next), "Elements", false},
		{"a million flags of a mailbox", stream("* FLAGS (", block("a ", 1e6), ")", next), "Elements", false},
		{"a million capabilities", stream("* CAPABILITY ", block("A ", 1e6), next), "Elements", false},
		{"a million addresses", stream(`* 1 FETCH (ENVELOPE (NIL NIL (`, block(`(NIL NIL "a" "b")`, 9e5), "))", next), "Elements", false},
		{"1e5 parts", stream(`* 1 FETCH (BODYSTRUCTURE (`, block(`("text" "plain" NIL NIL NIL "7bit" 1 1)`, 1e5), ` "mixed"))`, next), "Elements", false},
		{"1e6 parameters", stream(`* 1 FETCH (BODYSTRUCTURE ("text" "plain" (`, block(`"a" "b" `, 1e6), `) NIL NIL "7bit" 1 1))`, next), "Elements", false},
		{"threads without end", stream("* THREAD ", block("(", forever)), "Numbers", false},
		{"endless sort", stream("* SORT ", block("1 ", forever)), "Numbers", false},
		{"quota roots", stream("* QUOTAROOT a ", block("b ", 1e6), next), "Elements", false},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var limits Limits
			if strings.HasSuffix(tc.name, "without end") {
				limits.Response = 1 << 20 // all of it is read, so less will do
			}
			d := NewDecoder(tc.r, limits)
			if tc.limit != "" {
				if got := limitOf(t, d); got != tc.limit {
					t.Errorf("the limit is %s, want %s", got, tc.limit)
				}
			} else if resp, err := d.Next(); err == nil {
				_, _ = payload(d, resp) // the rule is about memory and time
			}
			if fatal := d.Err() != nil; tc.limit != "" && fatal != tc.fatal {
				t.Errorf("Err = %v", d.Err())
			}
			for range 3 {
				resp, err := d.Next()
				if err == nil && resp.Name == "RECENT" {
					return
				}
				if d.Err() != nil {
					var limit *LimitError
					if !errors.As(d.Err(), &limit) {
						t.Errorf("the stream ended with %v", d.Err())
					}
					return
				}
			}
			t.Error("neither the response after it nor an end")
		})
	}
}

// TestHostileMemory reads the worst of it, a quarter of the default limit to be
// quick, and looks at what was allocated in all, which is more than what is held
// at any time. It does not run in parallel, for the sake of the measurement.
func TestHostileMemory(t *testing.T) { //nolint:paralleltest // what others allocate would count
	const most = 48 << 20
	for _, tc := range []struct {
		name string
		r    io.Reader
	}{
		{"brackets", stream("* 1 FETCH (BODYSTRUCTURE ", block("(", 2<<20), "\r\n")},
		{"parts", stream(`* 1 FETCH (BODYSTRUCTURE (`, block(`("text" "plain" NIL NIL NIL "7bit" 1 1)`, 1e5), ` "mixed"))`, "\r\n")},
		{"addresses", stream(`* 1 FETCH (ENVELOPE (NIL NIL (`, block(`(NIL NIL "a" "b")`, 9e5), "))\r\n")},
		{"a search", stream("* SEARCH ", &repeat{s: "4000000000 2 ", n: forever})},
		{"a line", stream("* OK ", block("x", forever))},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		d := NewDecoder(tc.r, Limits{Response: DefaultLimits.Response / 4, Ranges: DefaultLimits.Ranges / 4})
		for d.Err() == nil {
			if resp, err := d.Next(); err == nil {
				_, _ = payload(d, resp)
			}
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > most {
			t.Errorf("%s: %d MiB allocated", tc.name, n>>20)
		}
	}
}

// TestSetsStayRanges reads the set that costs go-imap's client 16 GiB to list.
func TestSetsStayRanges(t *testing.T) {
	t.Parallel()
	d := decode("* ESEARCH UID ALL 1:4294967295\n")
	mustNext(t, d)
	data, err := d.ESearch()
	if err != nil || len(data.All) != 1 || CountUIDs(data.All) != 4294967295 {
		t.Fatalf("ESearch = %+v, %v", data, err)
	}
}

func TestSmallLimits(t *testing.T) {
	t.Parallel()
	tests := []struct {
		line   string
		limits Limits
		want   string
	}{
		{`* LIST () "/" "abcdef"`, Limits{String: 5}, "String"},
		{`* LIST () "/" abcdefghijklmn`, Limits{String: 5}, "String"},
		{"* LIST () \"/\" {6}\nabcdef", Limits{String: 5}, "String"},
		{"* XFOO {6}\nabcdef", Limits{Stream: 5}, "Stream"},
		{"* NAMESPACE ((x (y))) NIL NIL", Limits{Depth: 1}, "Depth"},
		{"* FLAGS (a b c)", Limits{Elements: 2}, "Elements"},
		{"* SEARCH 1 3 5 7", Limits{Ranges: 3}, "Ranges"},
		{"* SEARCH 7 5 3 1", Limits{Ranges: 3}, "Ranges"},
		{"* SORT 7 5 3 1", Limits{Numbers: 3}, "Numbers"},
		{"* THREAD (1 2 3 4)", Limits{Numbers: 3}, "Numbers"},
		{"* 1 FETCH (FLAGS (a b c))", Limits{Elements: 2}, "Elements"},
	}
	for _, tc := range tests {
		t.Run(tc.line+" "+tc.want, func(t *testing.T) {
			t.Parallel()
			d := NewDecoder(strings.NewReader(crlf(tc.line+"\n")), tc.limits)
			if got := limitOf(t, d); got != tc.want {
				t.Errorf("the limit is %s", got)
			}
		})
	}
}

// TestLongText expects a completion to arrive, whatever its text.
func TestLongText(t *testing.T) {
	t.Parallel()
	d := NewDecoder(strings.NewReader("A1 OK [X] abcdefghij\r\n* 7 RECENT\r\n"), Limits{String: 8})
	if r := mustNext(t, d); r.Tag != "A1" || r.Status.Code != "X" || r.Status.Text != "abc" {
		t.Errorf("Next = %+v, %+v", r, r.Status)
	}
	if r := mustNext(t, d); r.Num != 7 {
		t.Errorf("then %+v", r)
	}
}

// TestRangesWithDoubles sends a set that exceeds the limit only as long as it is
// not sorted.
func TestRangesWithDoubles(t *testing.T) {
	t.Parallel()
	d := NewDecoder(stream("* SEARCH ", &repeat{s: "9 5 1 ", n: 1000}, "\r\n"), Limits{Ranges: 8})
	mustNext(t, d)
	data, err := d.Search()
	if err != nil || data.All.String() != "1,5,9" {
		t.Fatalf("Search = %+v, %v", data, err)
	}
}

func TestSplitUIDs(t *testing.T) {
	t.Parallel()
	var set imap.UIDSet
	for n := imap.UID(1); n < 10000; n += 3 {
		set = append(set, imap.UIDRange{Start: n, Stop: n + n%2})
	}
	var joined imap.UIDSet
	for _, part := range SplitUIDs(set, 100) {
		if s := part.String(); len(s) > 100 || s == "" {
			t.Fatalf("a part of %d bytes", len(s))
		}
		joined = append(joined, part...)
	}
	if joined.String() != set.String() {
		t.Error("the parts are not the set")
	}
	if parts := SplitUIDs(nil, 100); parts != nil {
		t.Errorf("parts of nothing: %v", parts)
	}
	if parts := SplitUIDs(imap.UIDSet{{Start: 1000000, Stop: 2000000}}, 3); len(parts) != 1 {
		t.Errorf("a range of its own: %v", parts)
	}
}
