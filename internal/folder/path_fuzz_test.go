package folder

import (
	"strings"
	"testing"
)

func FuzzCleanPath(f *testing.F) {
	f.Add("Projects\x002026", '/')
	f.Add("inbox\x00e\u0301", '.')
	f.Add("a/b", '/')
	f.Add("", rune(0))
	f.Fuzz(func(t *testing.T, joined string, delimiter rune) {
		path := strings.Split(joined, "\x00")
		clean, err := CleanPath(path, delimiter)
		if err != nil {
			return
		}
		if len(clean) != len(path) {
			t.Fatalf("%q became %q", path, clean)
		}
		for _, segment := range clean {
			if segment == "" || delimiter != 0 && strings.ContainsRune(segment, delimiter) || strings.ContainsAny(segment, "\r\n") {
				t.Errorf("%q has the element %q", clean, segment)
			}
		}
		if again, err := CleanPath(clean, delimiter); err != nil || strings.Join(again, "\x00") != strings.Join(clean, "\x00") {
			t.Errorf("%q became %q, then %q, %v", path, clean, again, err)
		}
	})
}
