package gateway_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/http"
	netmail "net/mail"
	"net/textproto"
	"slices"
	"strings"
	"testing"
)

// generated is a message that was made up, and what has to be read out of it.
type generated struct {
	raw           []byte
	subject       string
	fromName      string
	text, html    string
	attachments   []generatedFile
	headers       [][2]string
	hasText, page bool
}

type generatedFile struct {
	name, contentType string
	content           []byte
}

// generator makes up messages out of a seed, with the standard library's writers,
// which are nobody's of ours.
type generator struct{ *rand.Rand }

var alphabets = []string{
	"abcdefghijklmnopqrstuvwxyz ABC 0123456789", "äöüßéèñç ÄÖÜ", "привет мир", "漢字かな交じり文", "안녕하세요", "עברית العربية", "😀👩\u200d🚀🇪🇺", "=?=_ \"\\()<>@,;:.[]", "~!#$%^&*+-/|`'{}",
}

// words are n runes of one or two alphabets, without blanks at the ends.
func (g generator) words(n int) string {
	var b strings.Builder
	alphabet := []rune(alphabets[g.IntN(len(alphabets))] + alphabets[g.IntN(len(alphabets))])
	for range n {
		b.WriteRune(alphabet[g.IntN(len(alphabet))])
	}
	return strings.Join(strings.Fields("x"+b.String()+"x"), " ")
}

// prose is text of several lines, some of them long, some empty.
func (g generator) prose() string {
	var b strings.Builder
	for range 1 + g.IntN(8) {
		switch g.IntN(6) {
		case 0:
			b.WriteString("\n")
		case 1:
			b.WriteString("From here\n.\n--not a delimiter\n")
		default:
			b.WriteString(g.words(1+g.IntN(300)) + "\n")
		}
	}
	return b.String()
}

func (g generator) bytes() []byte {
	b := make([]byte, g.IntN(5000))
	for i := range b {
		b[i] = byte(g.Uint32())
	}
	return b
}

// encoded writes content in base64 or quoted-printable, and names the encoding.
func (g generator) encoded(content []byte) (encoding string, body []byte) {
	var b bytes.Buffer
	if g.IntN(2) == 0 {
		w := quotedprintable.NewWriter(&b)
		_, _ = w.Write(content)
		_ = w.Close()
		return "quoted-printable", b.Bytes()
	}
	text := base64.StdEncoding.EncodeToString(content)
	for len(text) > 76 {
		b.WriteString(text[:76] + "\r\n")
		text = text[76:]
	}
	b.WriteString(text + "\r\n")
	return "base64", b.Bytes()
}

// entity is a header and a body.
type entity struct {
	header textproto.MIMEHeader
	body   []byte
}

func (g generator) textEntity(subtype, content string) entity {
	encoding, body := g.encoded([]byte(strings.ReplaceAll(content, "\n", "\r\n")))
	return entity{textproto.MIMEHeader{
		"Content-Type": {"text/" + subtype + "; charset=utf-8"}, "Content-Transfer-Encoding": {encoding},
	}, body}
}

func multi(g generator, subtype string, parts ...entity) entity {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, p := range parts {
		part, err := w.CreatePart(p.header)
		if err != nil {
			panic(err) // A buffer takes everything.
		}
		_, _ = part.Write(p.body)
	}
	_ = w.Close()
	header := textproto.MIMEHeader{"Content-Type": {mime.FormatMediaType("multipart/"+subtype, map[string]string{"boundary": w.Boundary()})}}
	if g.IntN(3) == 0 {
		return entity{header, append([]byte("A preamble.\r\n"), b.Bytes()...)}
	}
	return entity{header, b.Bytes()}
}

func (g generator) file() (generatedFile, entity) {
	f := generatedFile{
		// A name without what no file name may have.
		name:        strings.Trim(strings.NewReplacer("/", "", `\`, "").Replace(g.words(1+g.IntN(60))), ". ") + ".bin",
		contentType: []string{"application/pdf", "image/png", "application/octet-stream", "audio/mpeg"}[g.IntN(4)],
		content:     g.bytes(),
	}
	body := base64.StdEncoding.EncodeToString(f.content)
	var lines strings.Builder
	for len(body) > 76 {
		lines.WriteString(body[:76] + "\r\n")
		body = body[76:]
	}
	lines.WriteString(body)
	return f, entity{textproto.MIMEHeader{
		"Content-Type":              {f.contentType},
		"Content-Disposition":       {mime.FormatMediaType("attachment", map[string]string{"filename": f.name})},
		"Content-Transfer-Encoding": {"base64"},
	}, []byte(lines.String())}
}

func (g generator) message() generated {
	// The writers leave ASCII as it is, also where it looks like an encoded word.
	word := strings.NewReplacer("=?", "=")
	m := generated{subject: word.Replace(g.words(1 + g.IntN(80))), fromName: word.Replace(g.words(1 + g.IntN(30)))}
	form := g.IntN(3)
	var root entity
	m.hasText, m.page = form != 1, form != 0
	if m.hasText {
		m.text = g.prose()
		root = g.textEntity("plain", m.text)
	}
	if m.page {
		m.html = "<p>" + g.prose() + "</p>\n"
		page := g.textEntity("html", m.html)
		if m.hasText {
			page = multi(g, "alternative", root, page)
		}
		root = page
	}
	if n := g.IntN(4); n > 0 {
		parts := []entity{root}
		for range n {
			f, part := g.file()
			m.attachments = append(m.attachments, f)
			parts = append(parts, part)
		}
		root = multi(g, "mixed", parts...)
	}
	m.headers = [][2]string{
		{"From", (&netmail.Address{Name: m.fromName, Address: "ann@example.com"}).String()},
		{"To", "bob@example.com"},
		{"Subject", []mime.WordEncoder{mime.QEncoding, mime.BEncoding}[g.IntN(2)].Encode("utf-8", m.subject)},
		{"X-Test", "one"}, {"X-Test", "two"}, {"MIME-Version", "1.0"},
	}
	var b bytes.Buffer
	for _, h := range m.headers {
		fmt.Fprintf(&b, "%s: %s\r\n", h[0], strings.ReplaceAll(h[1], "?= =?", "?=\r\n =?"))
	}
	for _, name := range []string{"Content-Type", "Content-Transfer-Encoding"} {
		if v := root.header.Get(name); v != "" {
			fmt.Fprintf(&b, "%s: %s\r\n", name, v)
		}
	}
	b.WriteString("\r\n")
	m.raw = append(b.Bytes(), root.body...)
	return m
}

// TestGeneratedMailRoundTrips appends messages that were made up to a mailbox of
// Dovecot, and reads all that was put into them out again.
func TestGeneratedMailRoundTrips(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	account, user, server := h.dovecot(t)
	for range 25 {
		seed := rand.Uint64()
		m := generator{rand.New(rand.NewPCG(seed, 0))}.message()
		server.Deliver(t, user, "INBOX", m.raw)
		got := h.get(t, "/v1/"+h.newest(t, account))
		m.check(t, h, got)
		if t.Failed() {
			t.Fatalf("seed %d:\n%s", seed, m.raw)
		}
	}
}

func (m *generated) check(t *testing.T, h *house, got object) {
	t.Helper()
	equal := func(what string, got any, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s:\ngot  %q\nwant %q", what, got, want)
		}
	}
	equal("subject", got["subject"], m.subject)
	equal("name", at(got, "from", "name"), m.fromName)
	if m.hasText {
		equal("text", at(got, "body", "text"), m.text)
	}
	if m.page {
		equal("html", strings.ReplaceAll(at(got, "body", "html").(string), "\r\n", "\n"), m.html)
	}
	if defects := got["defects"].([]any); len(defects) > 0 {
		t.Errorf("defects %v", defects)
	}
	var test []string
	for _, header := range list(got, "headers") {
		if header["name"] == "X-Test" {
			test = append(test, header["value"].(string))
		}
	}
	if !slices.Equal(test, []string{"one", "two"}) {
		t.Errorf("headers %v", got["headers"])
	}
	attachments := list(got, "attachments")
	if len(attachments) != len(m.attachments) {
		t.Fatalf("%d attachments of %d", len(attachments), len(m.attachments))
	}
	for i, f := range m.attachments {
		equal("filename", attachments[i]["filename"], f.name)
		equal("content type", attachments[i]["contentType"], f.contentType)
		a := h.do(t, http.MethodGet, "/v1/"+attachments[i]["name"].(string)+":download", nil)
		if !bytes.Equal(a.body, f.content) {
			t.Errorf("%s: %d bytes of %d", f.name, len(a.body), len(f.content))
		}
	}
}
