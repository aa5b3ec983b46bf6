package message

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/google/go-cmp/cmp"

	"github.com/postern-mail/postern/internal/dovecottest"
)

// section asks for the part that IMAP calls path.
func section(path string) *imap.FetchItemBodySection {
	s := &imap.FetchItemBodySection{Peek: true}
	for name := range strings.SplitSeq(path, ".") {
		if n, err := strconv.Atoi(name); err == nil {
			s.Part = append(s.Part, n)
		} else {
			s.Specifier = imap.PartSpecifier(name)
		}
	}
	return s
}

// leaves are the parts with content of their own, as "path type size".
func leaves(root *Part) []string {
	var lines []string
	var visit func(p *Part)
	visit = func(p *Part) {
		if !p.IsMultipart() {
			lines = append(lines, fmt.Sprintf("%s %s %s %d", p.Path, p.Type, p.Encoding, p.Size))
		}
		for _, c := range p.Children {
			visit(c)
		}
	}
	visit(root)
	return lines
}

// otherwise lists where Dovecot or go-imap's client reads broken mail otherwise
// than this package, and why that is not our error.
var otherwise = map[string]struct{ structure, params, identity string }{
	"bad-no-boundary":           {structure: "Dovecot makes up an empty part"},
	"bad-empty-multipart":       {structure: "Dovecot makes up an empty part"},
	"bad-boundary-never-occurs": {structure: "Dovecot makes up an empty part"},
	"filename-raw-8bit":         {params: "Dovecot ends a value without quotes at a blank"},
	"bad-content-type":          {params: "Dovecot drops a value without its closing quote"},
	"bad-encoded-words":         {identity: "go-imap decodes words before we see them"},
	"russian-raw-subject-1251":  {identity: "go-imap takes raw text for Latin-1"},
	"bad-header-injection":      {identity: "Dovecot sees a group at a colon in an encoded word"},
	"date-zoo":                  {identity: "Dovecot and go-imap give up on these fields"},
}

// withDefaults adds what a server adds: RFC 2045 section 5.2 has a charset for
// text that declares none.
func withDefaults(p *Part) {
	if strings.HasPrefix(p.Type, "text/") && p.Charset() == "" {
		if p.Params == nil {
			p.Params = make(map[string]string)
		}
		p.Params["charset"] = "us-ascii"
	}
	for _, c := range p.Children {
		withDefaults(c)
	}
}

// TestDovecotAgrees compares what Dovecot says of the corpus with what this
// package reads by itself: the tree and its numbering, the bytes of each part,
// and the identity.
func TestDovecotAgrees(t *testing.T) {
	t.Parallel()
	srv := dovecottest.Shared(t)
	username, _ := srv.User(t)
	messages := corpus(t)
	uids := make(map[string]imap.UID, len(messages))
	for name, raw := range messages {
		uids[name] = srv.Deliver(t, username, "INBOX", raw)
	}
	c := srv.Client(t, username)
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	for name, raw := range messages { //nolint:paralleltest // they share a connection
		t.Run(name, func(t *testing.T) {
			compareWithServer(t, c, name, uids[name], raw)
		})
	}
}

func compareWithServer(t *testing.T, c *imapclient.Client, name string, uid imap.UID, raw []byte) {
	bodies := make(map[string][]byte)
	m, err := Walk(bytes.NewReader(raw), Limits{}, func(p *Part, body io.Reader) error {
		if body == nil || p.IsMessage() {
			return nil
		}
		b, err := io.ReadAll(body)
		bodies[p.Path] = b
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	msg := fetch(t, c, uid, &imap.FetchOptions{Envelope: true, RFC822Size: true, BodyStructure: &imap.FetchItemBodyStructure{Extended: true}})
	server, local := FromEnvelope(msg.Envelope, msg.BodyStructure), m.Summary()
	withDefaults(server.Structure)
	withDefaults(local.Structure)
	known := otherwise[name]
	if diff := cmp.Diff(leaves(server.Structure), leaves(local.Structure)); (diff != "") != (known.structure != "") {
		t.Errorf("%s\nparts (-server +local):\n%s", known.structure, diff)
	}
	if diff := cmp.Diff(server.Attachments, local.Attachments); (diff != "") != (known.params != "") {
		t.Errorf("%s\nattachments (-server +local):\n%s", known.params, diff)
	}
	for path, want := range bodies {
		s := section(path)
		got := fetch(t, c, uid, &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{s}}).FindBodySection(s)
		// IMAP cannot send NUL; Dovecot sends 0x80 for it.
		want = bytes.ReplaceAll(want, []byte{0}, []byte{0x80})
		if !bytes.Equal(got, want) && known.structure == "" {
			t.Errorf("part %s:\nserver %q\nlocal  %q", path, got, want)
		}
	}
	var key [32]byte
	a, b := Fingerprint(key, msg.Envelope, msg.RFC822Size), local.Fingerprint(key, m.Size)
	if (a != b) != (known.identity != "") {
		t.Errorf("%s\nfingerprints %s and %s of\nserver %+v\nlocal  %+v", known.identity, a, b, server.Envelope, local.Envelope)
	}
}

func fetch(t *testing.T, c *imapclient.Client, uid imap.UID, opts *imap.FetchOptions) *imapclient.FetchMessageBuffer {
	t.Helper()
	messages, err := c.Fetch(imap.UIDSetNum(uid), opts).Collect()
	if err != nil || len(messages) != 1 {
		t.Fatalf("fetch: %d messages, %v", len(messages), err)
	}
	return messages[0]
}
