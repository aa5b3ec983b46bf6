package imapwire

import (
	"fmt"
	"strings"
	"testing"
)

func TestRecent(t *testing.T) {
	t.Parallel()
	var r recent
	long := strings.Repeat("x", maxRecent+1)
	for range 2 {
		for i := range 4 * recentStrings { // so that they drive each other out
			for _, want := range []string{fmt.Sprint(i), long} {
				b := []byte(want)
				got := r.string(b)
				clear(b) // the bytes are the window's
				if got != want {
					t.Fatalf("%q became %q", want, got)
				}
			}
		}
	}
}

// TestRepeatedFrom: what is taken over from From is what was sent.
func TestRepeatedFrom(t *testing.T) {
	t.Parallel()
	const from = `(("=?utf-8?q?J=C3=B6rg?=" NIL "joerg" "example.org"))`
	const other = `(("=?utf-8?q?J=C3=B6rg?=" NIL "joerg" "example.com"))`
	in := `* 1 FETCH (ENVELOPE (NIL NIL ` + from + ` ` + from + ` ` + other + ` NIL ("" NIL) (("Ann" NIL "ann" "example.org")) NIL NIL))` + "\r\n"
	d := NewDecoder(strings.NewReader(in), Limits{})
	r, err := d.Next()
	if err != nil {
		t.Fatal(err)
	}
	data, err := d.Fetch(r, nil)
	if err != nil || data.Broken != nil {
		t.Fatal(err, data.Broken)
	}
	e := data.Envelope
	got := fmt.Sprint(e.From, e.Sender, e.ReplyTo, e.To == nil, len(e.Cc), e.Bcc)
	const want = `[{Jörg joerg example.org}] [{Jörg joerg example.org}] [{Jörg joerg example.com}] true 1 [{Ann ann example.org}]`
	if got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}
