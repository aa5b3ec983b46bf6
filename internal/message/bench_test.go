package message

import (
	"bytes"
	"encoding/base64"
	"io"
	"math/rand/v2"
	"mime/quotedprintable"
	"testing"
	"time"
)

// wrapped is a body of n bytes in base64, in lines of 76 characters.
func wrapped(n int) []byte {
	rng := rand.NewChaCha8([32]byte{1})
	content := make([]byte, n)
	_, _ = rng.Read(content) // Never fails.
	text := make([]byte, base64.StdEncoding.EncodedLen(n))
	base64.StdEncoding.Encode(text, content)
	var b bytes.Buffer
	for len(text) > 0 {
		line := text[:min(76, len(text))]
		text = text[len(line):]
		b.Write(line)
		b.WriteString("\r\n")
	}
	return b.Bytes()
}

// drain reads in the pieces that a download is sent in.
func drain(b *testing.B, r io.Reader, buf []byte) {
	for {
		if _, err := r.Read(buf); err == io.EOF {
			return
		} else if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRatioBase64 reports our speed as a share of encoding/base64's on
// the same body: above 1 is faster.
func BenchmarkRatioBase64(b *testing.B) {
	body, buf := wrapped(10<<20), make([]byte, 64<<10)
	b.SetBytes(int64(len(body)))
	var ours, theirs time.Duration
	for b.Loop() {
		start := time.Now()
		drain(b, DecodePart(bytes.NewReader(body), "base64"), buf)
		ours += time.Since(start)
		start = time.Now()
		drain(b, base64.NewDecoder(base64.StdEncoding, bytes.NewReader(body)), buf)
		theirs += time.Since(start)
	}
	b.ReportMetric(theirs.Seconds()/ours.Seconds(), "x-stdlib")
}

// BenchmarkRatioQuotedPrintable does so with mime/quotedprintable.
func BenchmarkRatioQuotedPrintable(b *testing.B) {
	line := []byte("Gr=C3=BC=C3=9Fe aus K=C3=B6ln, und noch etwas Text bis die Zeile voll ist =\r\n")
	body, buf := bytes.Repeat(line, 10<<20/len(line)), make([]byte, 64<<10)
	b.SetBytes(int64(len(body)))
	var ours, theirs time.Duration
	for b.Loop() {
		start := time.Now()
		drain(b, DecodePart(bytes.NewReader(body), "quoted-printable"), buf)
		ours += time.Since(start)
		start = time.Now()
		drain(b, quotedprintable.NewReader(bytes.NewReader(body)), buf)
		theirs += time.Since(start)
	}
	b.ReportMetric(theirs.Seconds()/ours.Seconds(), "x-stdlib")
}

func BenchmarkParseHeader(b *testing.B) {
	raw := corpus(b)["outlook-related-inline"]
	head, _, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	b.SetBytes(int64(len(head)))
	b.ReportAllocs()
	for b.Loop() {
		h := ParseHeader(head)
		if e, _ := h.Envelope(); e.Subject == "" {
			b.Fatal("no subject")
		}
	}
}

func BenchmarkWalk(b *testing.B) {
	raw := []byte("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	raw = append(raw, wrapped(10<<20)...)
	raw = append(raw, "--b--\r\n"...)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Walk(bytes.NewReader(raw), Limits{}, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHTMLToText(b *testing.B) {
	body := bytes.Repeat([]byte("<tr><td class=\"x\">Some <b>text</b> &amp; more</td><td><a href=\"https://example.com/\">link</a></td></tr>\n"), 10_000)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := HTMLToText(bytes.NewReader(body), 10<<20); err != nil {
			b.Fatal(err)
		}
	}
}
