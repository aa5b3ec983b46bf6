package gateway_test

import (
	"encoding/base64"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
)

// worstMail is what anyone may send who means harm, or whose program does: about
// size bytes of it.
func worstMail(size int) map[string]string {
	const mixed = "Subject: worst\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
	fill := func(unit string) string { return strings.Repeat(unit, max(size/len(unit), 1)) }
	// Dovecot 2.3 dies of a longer header.
	header := func(unit string) string { return strings.Repeat(unit, max(min(size, 10<<20)/len(unit), 1)) }
	part := func(header, unit string) string {
		return mixed + "--b\r\n" + header + "\r\n\r\n" + fill(unit) + "\r\n--b--\r\n"
	}
	lines := func(unit string) string {
		return strings.Repeat(strings.Repeat(unit, max(900/len(unit), 1))+"\r\n", max(size/900, 1))
	}
	encoded := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("<div style='color:red'>a", 3)))
	var nested strings.Builder
	for i := range min(size/60, 5000) {
		boundary := strings.Repeat("b", 1+i%60)
		nested.WriteString("Content-Type: multipart/mixed; boundary=" + boundary + "\r\n\r\n--" + boundary + "\r\n")
	}
	related := strings.ReplaceAll(nested.String(), "mixed", "related")
	return map[string]string{
		"deep and related":        "Subject: worst\r\n" + related + fill("--x\r\n"),
		"many parts":              mixed + fill("--b\r\n\r\nx\r\n"),
		"many attachments":        mixed + fill("--b\r\nContent-Type: image/png; name=\"aaaaaaaaaaaaaaaaaaaa.png\"\r\nContent-ID: <a@b>\r\n\r\nx\r\n"),
		"only delimiters":         mixed + fill("--b\r\n"),
		"deep":                    "Subject: worst\r\n" + nested.String() + fill("--x\r\n"),
		"messages in messages":    "Subject: worst\r\n" + fill("Content-Type: message/rfc822\r\n\r\n"),
		"header line":             "Subject: " + header("x") + "\r\n\r\nbody\r\n",
		"header of encoded words": "Subject:" + header(" =?utf-8?Q?=C3=BC?=") + "\r\n\r\nbody\r\n",
		"header of fields":        header("a:\r\n") + "\r\nbody\r\n",
		"recipients":              "Subject: worst\r\nTo: " + header("a@example.com, ") + "b@example.com\r\n\r\nbody\r\n",
		"brackets":                "Subject: worst\r\nTo: " + header("(<\"") + "\r\n\r\nbody\r\n",
		"references":              "Subject: worst\r\nReferences: " + header("<a@example.com> ") + "\r\n\r\nbody\r\n",
		"authentication":          header("Authentication-Results: a; spf=pass (x) a.b=c; dkim=fail d.e=f\r\n") + "Subject: worst\r\n\r\nbody\r\n",
		"parameters":              "Subject: worst\r\nContent-Type: text/plain" + header("; x*0=a") + "\r\n\r\nbody\r\n",
		"one line":                "Subject: worst\r\n\r\n" + fill("x"),
		"no delimiter":            mixed + lines("text "),
		"unterminated":            mixed + "--b\r\n\r\n" + lines("-"),
		"HTML of tags":            part("Content-Type: text/html", "<div>"),
		"HTML of attributes":      part("Content-Type: text/html", "<a title='"),
		"HTML of styles":          part("Content-Type: text/html", "<p style='color:red;width:1px'>"),
		"HTML in base64":          part("Content-Type: text/html\r\nContent-Transfer-Encoding: base64", encoded+"\r\n"),
		"quoted-printable":        part("Content-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable", "=41=\r\n"),
		"calendar":                part("Content-Type: text/calendar", "BEGIN:VEVENT\r\nATTENDEE;CN=\"a\":b\r\n c\r\n"),
		"delivery report":         part("Content-Type: message/delivery-status", "Final-Recipient: rfc822; a\r\n\r\n"),
		"complaint":               part("Content-Type: message/feedback-report", "Original-Rcpt-To: a\r\n"),
	}
}

// TestWorstMail gets the worst mail in every way, whole and in a list, and looks at
// the memory that is allocated in all: it bounds the work as well. It does not run
// in parallel, as it counts allocations.
func TestWorstMail(t *testing.T) { //nolint:paralleltest // what others allocate would count
	const size = 1 << 20
	h := sharedHouse(t)
	for name, raw := range worstMail(size) { //nolint:paralleltest // likewise
		t.Run(name, func(t *testing.T) {
			message := h.delivered(t, []byte(raw))
			account, _, _ := strings.Cut(message, "/messages/")
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for _, path := range []string{message + "?sanitizeHtml=true", account + "/messages"} {
				if status, n := h.skim(t, "/v1/"+path); status != http.StatusOK {
					t.Errorf("status %d of %s, %d bytes", status, path, n)
				}
			}
			runtime.ReadMemStats(&after)
			allocated := (after.TotalAlloc - before.TotalAlloc) >> 20
			t.Logf("allocated %d MiB", allocated)
			if allocated > 2*128 { // a request may be repeated on another connection
				t.Errorf("allocated %d MiB for a message of %d", allocated, size>>20)
			}
		})
	}
}

// skim reads an answer without keeping it.
func (h *house) skim(t testing.TB, path string) (status int, n int64) {
	t.Helper()
	resp := h.send(t, http.MethodGet, path, nil)
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, n
}

// BenchmarkWorstMail gets messages of 30 MB: how long the slowest took, and how
// far resident memory rose, the client and the JSON it reads included.
func BenchmarkWorstMail(b *testing.B) {
	h := sharedHouse(b)
	for name, raw := range worstMail(30 << 20) {
		b.Run(strings.ReplaceAll(name, " ", "-"), func(b *testing.B) {
			message := h.delivered(b, []byte(raw))
			h.do(b, http.MethodGet, "/v1/"+message+"?view=METADATA", nil) // Dovecot parses it once.
			var slowest time.Duration
			var peak int64
			for b.Loop() {
				peak = max(peak, peakDuring(func() {
					start := time.Now()
					drain(b, h.base+"/v1/"+message+"?sanitizeHtml=true")
					slowest = max(slowest, time.Since(start))
				}))
			}
			b.ReportMetric(float64(slowest.Milliseconds()), "slowest-ms")
			b.ReportMetric(float64(peak)/(1<<20), "peak-MiB")
		})
	}
}
