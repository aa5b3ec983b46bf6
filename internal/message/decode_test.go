package message

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func TestDecodePart(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, encoding, raw, want string
		defects                   []Defect
	}{
		{"base64", "BASE64", "SGVs\r\nbG8=\r\n", "Hello", nil},
		{"base64, one line end in a group", "base64", "SG\nVsbG8=", "Hello", nil},
		{"base64 of nothing", "base64", "\r\n", "", nil},
		{"base64 without padding", "base64", "SGVsbG8", "Hello", []Defect{DefectBase64}},
		{"base64 with too little padding", "base64", "SGVsbA=", "Hell", nil},
		{"base64 with too much padding", "base64", "SGVsbG8===", "Hello", nil},
		{"base64 with a lone character", "base64", "SGVsb", "Hel", []Defect{DefectBase64}},
		{"base64 with junk", "base64", "S*G!Vs>bG8=", "Hello", []Defect{DefectBase64}},
		{"base64 in two blocks", "base64", "SGVsbG8=\r\nSGVsbG8=", "HelloHello", []Defect{DefectBase64}},
		{"base64 with a footer", "base64", "SGVsbG8=\r\n___\r\nMailing list", "Hello", []Defect{DefectBase64}},
		{"base64 with parameters", "base64; x=1", "SGVsbG8=", "Hello", nil},
		{"quoted-printable", "Quoted-Printable", "a=3Db=\r\nc\r\n", "a=bc\r\n", nil},
		{"lower-case escape", "quoted-printable", "=c3=bc", "ü", nil},
		{"blanks at the end of a line", "quoted-printable", "a  \t\r\nb =20\r\nc", "a\r\nb  \r\nc", nil},
		{"blanks behind a soft break", "quoted-printable", "a= \t\r\nb", "ab", nil},
		{"soft break at the end", "quoted-printable", "a=", "a", nil},
		{"bad escape", "quoted-printable", "100=% =ZZ", "100=% =ZZ", []Defect{DefectQuotedPrintable}},
		{"lone LF", "quoted-printable", "a=\nb\nc", "ab\nc", nil},
		{"uuencode", "x-uuencode", "text before\r\nbegin 644 f\r\n%2&5L;&\\\r\n`\r\nend\r\nafter", "Hello", nil},
		{"uuencode, blanks lost", "uuencode", "begin 644 f\n#   \n#\nend\n", "\x00\x00\x00\x00\x00\x00", nil},
		{"uuencode without its end", "uuencode", "begin 644 f\n%2&5L;&\\\n", "Hello", []Defect{DefectUuencode}},
		{"uuencode without its begin", "uuencode", "just text", "just text", []Defect{DefectUuencode}},
		{"7bit", "7bit", "a=3D\r\n", "a=3D\r\n", nil},
		{"nothing said", "", "x", "x", nil},
		{"unknown", "x-rot13", "x", "x", []Defect{DefectTransferEncoding}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := DecodePart(strings.NewReader(tt.raw), tt.encoding)
			got, err := io.ReadAll(r)
			if err != nil || string(got) != tt.want {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
			if diff := cmp.Diff(tt.defects, r.Defects()); diff != "" {
				t.Errorf("defects (-want +got):\n%s", diff)
			}
		})
	}
}

// A body that was cut off must not look whole.
func TestDecodePartPassesErrorsOn(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, encoding := range []string{"base64", "quoted-printable", "7bit", "uuencode"} {
		t.Run(encoding, func(t *testing.T) {
			t.Parallel()
			r := io.MultiReader(strings.NewReader("begin 644 f\n"), iotest.ErrReader(broken))
			if _, err := io.ReadAll(DecodePart(r, encoding)); !errors.Is(err, broken) {
				t.Errorf("err = %v", err)
			}
		})
	}
}

func TestQuotedPrintableLongLine(t *testing.T) {
	t.Parallel()
	// Escapes and blanks meet the end of the buffer at every offset.
	for shift := range 4 {
		line := strings.Repeat("x", shift) + strings.Repeat("=41 ", decodeBuffer) + "x"
		want := strings.Repeat("x", shift) + strings.Repeat("A ", decodeBuffer) + "x"
		got, err := io.ReadAll(DecodePart(strings.NewReader(line), "quoted-printable"))
		if err != nil || string(got) != want {
			t.Errorf("shift %d: %d bytes, want %d, %v", shift, len(got), len(want), err)
		}
	}
}
