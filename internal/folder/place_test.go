package folder

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestCleanPath(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name      string
		path      []string
		delimiter rune
		want      []string
		segment   int
	}{
		{name: "nested", path: []string{"Projects", "2026"}, delimiter: '/', want: []string{"Projects", "2026"}},
		{name: "wildcards and ampersands", path: []string{"100% *&- ~"}, delimiter: '/', want: []string{"100% *&- ~"}},
		{name: "NFD", path: []string{"Entwu\u0308rfe"}, delimiter: '/', want: []string{"Entw\u00fcrfe"}},
		{name: "INBOX", path: []string{"inbox", "Inbox"}, delimiter: '.', want: []string{"INBOX", "Inbox"}},
		{name: "another delimiter", path: []string{"a/b"}, delimiter: '.', want: []string{"a/b"}},
		{name: "flat", path: []string{"a/b"}, want: []string{"a/b"}},
		{name: "nothing", delimiter: '/', segment: -1},
		{name: "below on a flat server", path: []string{"a", "b"}, segment: -1},
		{name: "empty", path: []string{"a", ""}, delimiter: '/', segment: 1},
		{name: "delimiter", path: []string{"a", "b", "c.d"}, delimiter: '.', segment: 2},
		{name: "line break", path: []string{"a\r\nb"}, delimiter: '/', segment: 0},
		{name: "NUL", path: []string{"a\x00"}, delimiter: '/', segment: 0},
		{name: "line separator", path: []string{"a\u2028"}, delimiter: '/', segment: 0},
		{name: "long", path: []string{strings.Repeat("x", 256)}, delimiter: '/', segment: 0},
		{name: "deep", path: slices.Repeat([]string{"x"}, 51), delimiter: '/', segment: -1},
		{name: "long in all", path: slices.Repeat([]string{strings.Repeat("x", 250)}, 5), delimiter: '/', segment: -1},
		{name: "no UTF-8", path: []string{"\xff"}, delimiter: '/', segment: 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := CleanPath(tc.path, tc.delimiter)
			wrong := (*PathError)(nil)
			switch {
			case tc.want != nil && (err != nil || !slices.Equal(got, tc.want)):
				t.Errorf("%q, %v; want %q", got, err, tc.want)
			case tc.want == nil && (!errors.As(err, &wrong) || wrong.Segment != tc.segment):
				t.Errorf("%q, %v; want an error of element %d", got, err, tc.segment)
			}
		})
	}
}
