package message

import (
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// repeat reads s n times without holding it all.
func repeat(s string, n int) io.Reader {
	block := strings.Repeat(s, 1+min(n, 4096/len(s)))
	return io.LimitReader(&repeater{block: block}, int64(n*len(s)))
}

// repeater repeats a block without end.
type repeater struct {
	block string
	i     int
}

func (r *repeater) Read(p []byte) (int, error) {
	n := copy(p, r.block[r.i:])
	r.i = (r.i + n) % len(r.block)
	return n, nil
}

// nestedMultiparts opens depth multiparts, and closes none.
func nestedMultiparts(depth int) string {
	var b strings.Builder
	for i := range depth {
		boundary := strings.Repeat("b", 1+i%60)
		b.WriteString("Content-Type: multipart/mixed; boundary=" + boundary + "\r\n\r\n--" + boundary + "\r\n")
	}
	return b.String()
}

const mixed = "Content-Type: multipart/mixed; boundary=b\r\n\r\n"

// TestWorstMessages sends what anyone may send, and looks at the memory that
// is allocated in all, which bounds the work as well: the scanner goes over
// its input once. It does not run in parallel, as it counts allocations.
func TestWorstMessages(t *testing.T) { //nolint:paralleltest // what others allocate would count
	const mega = 1 << 20
	tests := []struct {
		name   string
		raw    io.Reader
		memory uint64
		defect Defect
	}{
		{"200,000 parts", io.MultiReader(strings.NewReader(mixed), repeat("--b\r\n\r\nx\r\n", 200_000)), 48 * mega, DefectTooManyParts},
		{"200,000 delimiters", io.MultiReader(strings.NewReader(mixed), repeat("--b\r\n", 200_000)), 48 * mega, DefectTooManyParts},
		{"multiparts that never close", io.MultiReader(strings.NewReader(nestedMultiparts(30)+"\r\n"), repeat("--x\r\n", 1_000_000)), mega, DefectMultipartUnterminated},
		{"1,000 levels", strings.NewReader(nestedMultiparts(1000)), 4 * mega, DefectTooDeep},
		{"messages in messages", repeat("Content-Type: message/rfc822\r\n\r\n", 100_000), 4 * mega, DefectTooDeep},
		{"header line of 10 MB", io.MultiReader(strings.NewReader("Subject: "), repeat("x", 10*mega)), 24 * mega, DefectHeaderTruncated},
		{"header of 10 MB of encoded words", io.MultiReader(strings.NewReader("Subject:"), repeat(" =?utf-8?Q?=C3=BC?=", mega/2)), 32 * mega, DefectHeaderTruncated},
		{"header of 2,000,000 fields", repeat("a:\r\n", 2_000_000), 96 * mega, DefectHeaderTruncated},
		{"brackets", io.MultiReader(strings.NewReader("To: "), repeat("(", 10*mega)), 24 * mega, DefectHeaderTruncated},
		{"brackets in a type", io.MultiReader(strings.NewReader("Content-Type: a/b;"), repeat("(", 10*mega)), 24 * mega, DefectHeaderTruncated},
		{"parameters", io.MultiReader(strings.NewReader("Content-Type: a/b"), repeat(";x*0=a", mega)), 180 * mega, DefectHeaderTruncated},
		{"colons behind an address", io.MultiReader(strings.NewReader("To: "+strings.Repeat("a", mega/2)+"@"), repeat(":", mega/4)), 24 * mega, ""},
		{"quotes in brackets", io.MultiReader(strings.NewReader("To: <"), repeat("\"", mega/2)), 24 * mega, DefectAddress},
		{"brackets in a list", io.MultiReader(strings.NewReader("To: @"), repeat("<", mega/2)), 48 * mega, DefectAddress},
		{"Q words without end", io.MultiReader(strings.NewReader("Subject:"), repeat(" =?u?Q?a", mega/10)), 48 * mega, DefectEncodedWord},
		{"B words without end", io.MultiReader(strings.NewReader("Subject:"), repeat(" =?u?B?YQ", mega/10)), 48 * mega, DefectEncodedWord},
		{"body of 10 MB on one line", io.MultiReader(strings.NewReader("\r\n"), repeat("x", 10*mega)), mega / 2, ""},
		{"line of 10 MB in a part", io.MultiReader(strings.NewReader(mixed+"--b\r\n\r\n"), repeat("-", 10*mega)), mega / 2, DefectMultipartUnterminated},
		{"empty lines", io.MultiReader(strings.NewReader(mixed+"--b\r\n\r\n"), repeat("\r\n", 2*mega)), mega / 2, DefectMultipartUnterminated},
	}
	for _, tt := range tests { //nolint:paralleltest // likewise
		t.Run(tt.name, func(t *testing.T) {
			src := &countingReader{r: tt.raw}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			m, err := Walk(src, Limits{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			summary := m.Summary()
			runtime.ReadMemStats(&after)
			if m.Size != src.n {
				t.Errorf("walked %d bytes of %d", m.Size, src.n)
			}
			if got := after.TotalAlloc - before.TotalAlloc; got > tt.memory {
				t.Errorf("allocated %d KiB, at most %d are expected", got>>10, tt.memory>>10)
			}
			if tt.defect != "" && !slices.Contains(summary.Defects, tt.defect) {
				t.Errorf("defects %v lack %s", summary.Defects, tt.defect)
			}
		})
	}
}

// TestDecodersAreConstant reads 5 MB through each decoder.
func TestDecodersAreConstant(t *testing.T) { //nolint:paralleltest // what others allocate would count
	const mega = 1 << 20
	tests := []struct{ name, encoding, unit string }{
		{"base64", "base64", strings.Repeat("QUJD", 19) + "\r\n"},
		{"base64, only junk", "base64", "!"},
		{"base64, only padding", "base64", "="},
		{"quoted-printable", "quoted-printable", "=41=42=43\r\n"},
		{"quoted-printable, only signs", "quoted-printable", "="},
		{"quoted-printable, only blanks", "quoted-printable", " "},
		{"uuencode without a line end", "uuencode", "begin 644 x"},
		{"8bit", "8bit", "x"},
	}
	for _, tt := range tests { //nolint:paralleltest // likewise
		t.Run(tt.name, func(t *testing.T) {
			src := &countingReader{r: repeat(tt.unit, 5*mega/len(tt.unit))}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, DecodePart(src, tt.encoding), make([]byte, 64<<10))
			runtime.ReadMemStats(&after)
			if err != nil || src.n != int64(5*mega/len(tt.unit)*len(tt.unit)) {
				t.Errorf("read %d bytes, %v", src.n, err)
			}
			if got := after.TotalAlloc - before.TotalAlloc; got > 512<<10 {
				t.Errorf("allocated %d KiB for 5 MiB", got>>10)
			}
		})
	}
}

// TestTreesAreWalkedOnce builds trees as deep and as wide as they may be. To look
// twice into each level of the deep ones would take years.
func TestTreesAreWalkedOnce(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"mixed", "related", "alternative", "signed", "report", "encrypted"} {
		leaf := &Part{Type: "image/png", ContentID: "x"}
		deep := leaf
		for range DefaultLimits.Depth {
			deep = &Part{Type: "multipart/" + kind, Children: []*Part{deep}}
		}
		wide := &Part{Type: "multipart/" + kind}
		for range DefaultLimits.Parts {
			wide.Children = append(wide.Children, leaf)
		}
		for root, n := range map[*Part]int{deep: 1, wide: DefaultLimits.Parts} {
			s := newSummary(Envelope{}, root)
			if len(s.Attachments) != n || s.Body() != nil {
				t.Errorf("%s: %d attachments of %d", kind, len(s.Attachments), n)
			}
			root.Security()
		}
	}
}
