package gateway

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

// spooled passes a message through a spool, in pieces of n bytes.
func spooled(t testing.TB, raw []byte, n int) ([]byte, error) {
	t.Helper()
	s, err := newSpools(t.TempDir(), &Limits{Imports: 1}, time.Minute).open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for len(raw) > 0 {
		size := min(n, len(raw))
		if _, err := s.Write(raw[:size]); err != nil {
			return nil, err
		}
		raw = raw[size:]
	}
	m, err := s.message()
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(m.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(got)) != m.Size {
		t.Errorf("%d bytes, said to be %d", len(got), m.Size)
	}
	return got, nil
}

// crlf is what line ends become, told by another way than the spool's.
func crlf(raw []byte) []byte {
	return bytes.ReplaceAll(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
}

// A spool gives the same whether its message comes in one piece or in many, and
// whether it lies in memory or in a file.
func FuzzSpool(f *testing.F) {
	f.Add([]byte("Subject: a\r\n\r\nbare\nline ends\r\n"), 1)
	f.Add([]byte("\r\r\n\n\n\r"), 1)
	f.Add([]byte("split\r\nacross pieces\r\n"), 6)
	f.Add([]byte("8 bits \xff\xfe"), 3)
	f.Add([]byte("a\x00b"), 2)
	f.Add(bytes.Repeat([]byte("a line\n"), 60_000), 4096)
	f.Fuzz(func(t *testing.T, raw []byte, n int) {
		got, err := spooled(t, raw, max(n, 1))
		if bytes.IndexByte(raw, 0) >= 0 {
			if err == nil {
				t.Error("a NUL was taken")
			}
			return
		}
		if err != nil || !bytes.Equal(got, crlf(raw)) {
			t.Errorf("%q became %q, %v", raw, got, err)
		}
	})
}

func TestSpoolTellsWhereTheNULIs(t *testing.T) {
	t.Parallel()
	_, err := spooled(t, []byte("Subject: a\r\n\r\n\x00"), 5)
	if err == nil || !strings.Contains(err.Error(), "Byte 14 ") {
		t.Errorf("got %v", err)
	}
}

// There is a bound to the messages that are received at once, and their files
// have no names.
func TestSpoolsAreBounded(t *testing.T) {
	t.Parallel()
	const maxSpools = 16
	dir := t.TempDir()
	spools := newSpools(dir, &Limits{Imports: maxSpools}, time.Millisecond)
	var open []*spool
	for range maxSpools {
		s, err := spools.open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, s)
	}
	if _, err := open[0].Write(bytes.Repeat([]byte("x"), inMemory+1)); err != nil || open[0].file == nil {
		t.Errorf("the file is %v, %v", open[0].file, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("there is %v, %v", left, err)
	}
	_, err := spools.open(t.Context())
	if f, ok := asFailure(err); !ok || f.reason != reasonRateLimited {
		t.Errorf("one too many: %v", err)
	}
	for _, s := range open {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	s, err := spools.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
}

func TestSplitUIDs(t *testing.T) {
	t.Parallel()
	set := imap.UIDSet{{Start: 1, Stop: 3}, {Start: 10, Stop: 10}, {Start: 4294967290, Stop: 4294967295}}
	for n, want := range map[uint32][2]string{
		0: {"", "1:3,10,4294967290:4294967295"}, 2: {"1:2", "3,10,4294967290:4294967295"}, 3: {"1:3", "10,4294967290:4294967295"},
		5: {"1:3,10,4294967290", "4294967291:4294967295"}, 10: {"1:3,10,4294967290:4294967295", ""}, 99: {"1:3,10,4294967290:4294967295", ""},
	} {
		if first, rest := splitFirst(set, n); first.String() != want[0] || rest.String() != want[1] {
			t.Errorf("the first %d: %q and %q", n, first.String(), rest.String())
		}
	}
	if rest, last := splitLast(set, 7); rest.String() != "1:3" || last.String() != "10,4294967290:4294967295" {
		t.Errorf("the last 7: %q and %q", rest.String(), last.String())
	}
	if got := subtract(set, imap.UIDSetNum(2, 4294967295)); got.String() != "1,3,10,4294967290:4294967294" {
		t.Errorf("subtracted: %q", got.String())
	}
}
