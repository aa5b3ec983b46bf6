package imapwire

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
)

// page is what a list page of 20 messages looks like on the wire.
func page() string {
	var b strings.Builder
	for i := range 20 {
		fmt.Fprintf(&b, `* %d FETCH (UID %d FLAGS (\Seen $Forwarded) MODSEQ (12345) INTERNALDATE " 3-Nov-2026 09:08:07 +0100" RFC822.SIZE 44827 `+
			`ENVELOPE ("Tue, 03 Nov 2026 09:08:07 +0100" "=?UTF-8?Q?Gr=C3=BC=C3=9Fe_aus_der_Ferne?=" (("Ann Lee" NIL "ann" "example.com")) (("Ann Lee" NIL "ann" "example.com")) `+
			`(("Ann Lee" NIL "ann" "example.com")) (("Bob" NIL "bob" "example.org")(NIL NIL "carol" "example.org")) NIL NIL "<1@example.com>" "<%d@example.com>") `+
			`BODYSTRUCTURE ((("text" "plain" ("charset" "utf-8") NIL NIL "quoted-printable" 2000 40 NIL NIL NIL NIL)("text" "html" ("charset" "utf-8") NIL NIL "quoted-printable" 9000 200 NIL NIL NIL NIL) "alternative" ("boundary" "b1") NIL NIL NIL)`+
			`("application" "pdf" ("name" "invoice.pdf") NIL NIL "base64" 30000 NIL ("attachment" ("filename" "invoice.pdf" "size" "22000")) NIL NIL) "mixed" ("boundary" "b2") NIL NIL NIL))`+"\r\n", i+1, 1000+i, i)
	}
	return b.String()
}

func BenchmarkPage(b *testing.B) {
	in := page()
	r := strings.NewReader(in)
	d := NewDecoder(r, Limits{})
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		r.Reset(in)
		d.Reset(r)
		for range 20 {
			resp, err := d.Next()
			if err != nil {
				b.Fatal(err)
			}
			if m, err := d.Fetch(resp, nil); err != nil || m.Broken != nil {
				b.Fatal(err, m.Broken)
			}
		}
	}
}

// BenchmarkSearch reads a million scattered numbers, the worst for ranges.
func BenchmarkSearch(b *testing.B) {
	var in bytes.Buffer
	in.WriteString("* SEARCH")
	for i := range 1_000_000 {
		fmt.Fprintf(&in, " %d", 2*i+1)
	}
	in.WriteString("\r\n")
	benchSearch(b, in.Bytes(), 1_000_000)
}

// BenchmarkSearchContiguous reads a million numbers in a row: one range.
func BenchmarkSearchContiguous(b *testing.B) {
	var in bytes.Buffer
	in.WriteString("* SEARCH")
	for i := range 1_000_000 {
		fmt.Fprintf(&in, " %d", i+1)
	}
	in.WriteString("\r\n")
	benchSearch(b, in.Bytes(), 1)
}

func benchSearch(b *testing.B, in []byte, ranges int) {
	r := bytes.NewReader(in)
	d := NewDecoder(r, Limits{})
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		r.Reset(in)
		d.Reset(r)
		if _, err := d.Next(); err != nil {
			b.Fatal(err)
		}
		if data, err := d.Search(); err != nil || len(data.All) != ranges {
			b.Fatal(err)
		}
	}
}

func BenchmarkLiteral(b *testing.B) {
	body := bytes.Repeat([]byte("0123456789abcdef"), 10<<20/16)
	in := append([]byte(fmt.Sprintf("* 1 FETCH (BODY[] {%d}\r\n", len(body))), body...)
	in = append(in, ")\r\n"...)
	r := bytes.NewReader(in)
	d := NewDecoder(r, Limits{})
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		r.Reset(in)
		d.Reset(r)
		resp, err := d.Next()
		if err != nil {
			b.Fatal(err)
		}
		_, err = d.Fetch(resp, func(_ *FetchData, s *BodySection) error {
			_, err := io.Copy(io.Discard, s.Literal)
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}
