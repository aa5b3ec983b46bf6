package gateway

import (
	"encoding/base64"
	"path/filepath"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"google.golang.org/protobuf/proto"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/secret"
)

// sealed is everything that clients hold and the gateway opens: what each token is,
// and who opens it.
type sealed struct {
	tokens  map[string]string
	openers map[string]func(token string) bool
}

func newSealed(tb testing.TB) sealed {
	tb.Helper()
	box, err := secret.OpenFile(filepath.Join(tb.TempDir(), "key"))
	if err != nil {
		tb.Fatal(err)
	}
	must := func(token string, err error) string {
		if err != nil {
			tb.Fatal(err)
		}
		return token
	}
	s := sealed{tokens: make(map[string]string), openers: make(map[string]func(string) bool)}
	list := func(parent string) *posternv1.ListMessagesRequest {
		return &posternv1.ListMessagesRequest{Parent: parent, Filter: "is:unread", PageSize: 7}
	}
	page := func(name, kind string, req *posternv1.ListMessagesRequest) {
		p := pager{box: box, kind: kind}
		s.tokens[name] = must(p.token(req, folderPosition{validity: 1, before: 9}.appendTo(nil)))
		s.openers[name] = func(token string) bool {
			next := proto.CloneOf(req)
			next.PageToken = token
			position, err := p.position(next)
			return err == nil && position != nil
		}
	}
	page("page of messages", "messages", list("accounts/ann"))
	page("page of another account", "messages", list("accounts/bob"))
	page("page of threads", "threads", list("accounts/ann"))
	booth := ticketBooth{box: box}
	for _, place := range []string{ticketPlace, resumePlace} {
		s.tokens[place] = must(booth.seal(ticket{Token: "t", Expires: time.Now().Add(time.Hour).Unix()}, place))
		s.openers[place] = func(token string) bool { _, ok := booth.open(token, place); return ok }
	}
	page("page that is named like a ticket", "../event-ticket", list("accounts/ann"))
	link := unsubscriber{box: box, former: box}
	s.tokens["unsubscription"] = must(link.link("ann", "bob@example.com"))[len(unsubscribePath):]
	s.openers["unsubscription"] = func(token string) bool { _, err := link.open(token); return err == nil }
	return s
}

// A token is good where it was given out for, and nowhere else.
func TestSealedTokensAreOfOneKind(t *testing.T) {
	t.Parallel()
	s := newSealed(t)
	for made, token := range s.tokens {
		for opened, open := range s.openers {
			if got := open(token); got != (made == opened) {
				t.Errorf("a token for %s is taken for %s: %v", made, opened, got)
			}
		}
	}
}

// A token of which any bit was changed is no token.
func TestSealedTokensCannotBeChanged(t *testing.T) {
	t.Parallel()
	s := newSealed(t)
	for kind, token := range s.tokens {
		bytes, err := base64.RawURLEncoding.DecodeString(token)
		if err != nil {
			t.Fatal(err)
		}
		for bit := range len(bytes) * 8 {
			bytes[bit/8] ^= 1 << (bit % 8)
			if s.openers[kind](base64.RawURLEncoding.EncodeToString(bytes)) {
				t.Errorf("%s: bit %d may be changed", kind, bit)
			}
			bytes[bit/8] ^= 1 << (bit % 8)
		}
		for n := range bytes {
			if s.openers[kind](base64.RawURLEncoding.EncodeToString(bytes[:n])) {
				t.Errorf("%s: %d bytes of %d will do", kind, n, len(bytes))
			}
		}
	}
}

// Whatever is sent in place of a token is refused, and breaks nothing.
func FuzzSealedTokens(f *testing.F) {
	s := newSealed(f)
	genuine := make(map[string]bool)
	for _, token := range s.tokens {
		bytes, err := base64.RawURLEncoding.DecodeString(token)
		if err != nil {
			f.Fatal(err)
		}
		genuine[string(bytes)] = true
		f.Add(token)
	}
	f.Fuzz(func(t *testing.T, text string) {
		bytes, _ := base64.RawURLEncoding.DecodeString(text)
		for kind, open := range s.openers {
			if open(text) && !genuine[string(bytes)] {
				t.Errorf("%s: %q was forged", kind, text)
			}
		}
	})
}

// What is in a page token was ours; of another version it may have another form.
func FuzzPositions(f *testing.F) {
	f.Add(sortedPosition{folderPosition: folderPosition{validity: 1, before: 9}, offset: 3, last: []imap.UID{4, 1 << 31}}.encode())
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := readSortedPosition(b)
		if err != nil {
			return
		}
		again, err := readSortedPosition(p.encode())
		if err != nil || again.offset != p.offset || again.folderPosition != p.folderPosition || len(again.last) != len(p.last) {
			t.Errorf("%x is %+v, then %+v, %v", b, p, again, err)
		}
	})
}
