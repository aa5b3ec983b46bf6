package message

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime/quotedprintable"
	"strings"
	"testing"
	"testing/iotest"
	"unicode"
	"unicode/utf8"
)

// oneLine checks what every decoded header text promises.
func oneLine(t *testing.T, what, s string) {
	t.Helper()
	if !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		t.Errorf("%s %q is not one line of UTF-8", what, s)
	}
}

func checkAddresses(t *testing.T, list []Address) {
	t.Helper()
	for _, a := range list {
		oneLine(t, "name", a.Name)
		oneLine(t, "address", a.Address)
		oneLine(t, "group", a.Group)
	}
}

func FuzzHeader(f *testing.F) {
	for _, raw := range corpus(f) {
		head, _, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
		f.Add(head)
	}
	f.Fuzz(func(t *testing.T, block []byte) {
		h := ParseHeader(block)
		for _, field := range h.Fields {
			oneLine(t, field.Name, field.Value)
			if strings.ContainsAny(field.Raw, "\r\n") {
				t.Errorf("%q is not unfolded", field.Raw)
			}
		}
		e, _ := h.Envelope()
		for _, list := range [][]Address{e.From, e.Sender, e.ReplyTo, e.To, e.Cc, e.Bcc} {
			checkAddresses(t, list)
		}
		for _, id := range append(append(e.References, e.InReplyTo...), e.MessageID) {
			oneLine(t, "message id", id)
		}
	})
}

func FuzzAddressList(f *testing.F) {
	for _, raw := range corpus(f) {
		h := ParseHeader(raw)
		for _, name := range []string{"From", "To", "Cc", "Bcc", "Reply-To"} {
			f.Add(h.raw(name))
		}
	}
	f.Fuzz(func(t *testing.T, raw string) {
		list, _ := ParseAddressList(raw)
		checkAddresses(t, list)
		if len(list) > len(raw) {
			t.Errorf("%d addresses out of %q", len(list), raw)
		}
	})
}

func FuzzWalk(f *testing.F) {
	for _, raw := range corpus(f) {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		whole := walkAll(t, bytes.NewReader(raw))
		if pieces := walkAll(t, iotest.OneByteReader(bytes.NewReader(raw))); whole != pieces {
			t.Errorf("whole:\n%s\nbyte by byte:\n%s", whole, pieces)
		}
		if _, err := read(raw); err != nil {
			t.Error(err)
		}
	})
}

// walkAll gives all that a walk tells, and checks what holds for any message.
func walkAll(t *testing.T, r io.Reader) string {
	t.Helper()
	var b strings.Builder
	counted := &countingReader{r: r}
	paths := make(map[string]bool)
	m, err := Walk(counted, Limits{}, func(p *Part, body io.Reader) error {
		if paths[p.Path] {
			t.Errorf("part %s twice", p.Path)
		}
		paths[p.Path] = true
		b.WriteString(p.Path + " " + p.Type + "\n")
		for _, text := range []string{p.Type, p.Encoding, p.ContentID, p.Description, p.Filename} {
			oneLine(t, "part "+p.Path, text)
		}
		for name, text := range p.Params {
			oneLine(t, "parameter", name)
			oneLine(t, "parameter", text)
		}
		if body != nil && !p.IsMessage() {
			n, err := io.Copy(&b, body)
			if n > counted.n {
				t.Errorf("part %s has %d bytes of %d", p.Path, n, counted.n)
			}
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if m.Size != counted.n {
		t.Errorf("Size = %d of %d", m.Size, counted.n)
	}
	for path := range paths {
		if p := m.Root.Find(path); p == nil || p.Path != path {
			t.Errorf("Find(%q) = %v", path, p)
		}
	}
	for _, d := range m.Defects {
		b.WriteString(string(d) + "\n")
	}
	return b.String()
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

var fuzzEncodings = []string{"base64", "quoted-printable", "x-uuencode", "8bit", "nonsense"}

func FuzzDecodePart(f *testing.F) {
	for _, raw := range corpus(f) {
		for i := range fuzzEncodings {
			f.Add(raw, uint8(i))
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte, which uint8) {
		encoding := fuzzEncodings[int(which)%len(fuzzEncodings)]
		whole, err := io.ReadAll(DecodePart(bytes.NewReader(raw), encoding))
		if err != nil {
			t.Fatal(err)
		}
		pieces, err := io.ReadAll(iotest.OneByteReader(DecodePart(iotest.HalfReader(bytes.NewReader(raw)), encoding)))
		if err != nil || !bytes.Equal(whole, pieces) {
			t.Errorf("%s: whole %q, in pieces %q, %v", encoding, whole, pieces, err)
		}
		if len(whole) > len(raw) && encoding != "x-uuencode" {
			t.Errorf("%s: %d bytes out of %d", encoding, len(whole), len(raw))
		}
		checkRoundTrip(t, raw)
	})
}

// checkRoundTrip decodes what the standard library has encoded.
func checkRoundTrip(t *testing.T, content []byte) {
	t.Helper()
	text := base64.StdEncoding.EncodeToString(content)
	if got, err := io.ReadAll(DecodePart(strings.NewReader(text), "base64")); err != nil || !bytes.Equal(got, content) {
		t.Errorf("base64 of %q became %q, %v", content, got, err)
	}
	var b bytes.Buffer
	w := quotedprintable.NewWriter(&b)
	w.Binary = true
	_, errWrite := w.Write(content)
	if err := w.Close(); err != nil || errWrite != nil {
		t.Fatal(errWrite, err)
	}
	if got, err := io.ReadAll(DecodePart(&b, "quoted-printable")); err != nil || !bytes.Equal(got, content) {
		t.Errorf("quoted-printable of %q became %q, %v", content, got, err)
	}
}

func FuzzHTMLToText(f *testing.F) {
	for _, raw := range corpus(f) {
		f.Add(string(raw))
	}
	f.Fuzz(func(t *testing.T, raw string) {
		raw = strings.ToValidUTF8(raw, "")
		const limit = 1000
		text, _, err := HTMLToText(strings.NewReader(raw), limit)
		if err != nil || len(text) > limit || !utf8.ValidString(text) {
			t.Errorf("%d bytes, %v: %q", len(text), err, text)
		}
		if s := Snippet(text); strings.ContainsAny(s, "\n\r") || utf8.RuneCountInString(s) > snippetLength+1 || !utf8.ValidString(s) {
			t.Errorf("snippet %q", s)
		}
		unflow(raw, true)
	})
}
