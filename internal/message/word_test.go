package message

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDecodeUnstructured(t *testing.T) {
	t.Parallel()
	bad := []Defect{DefectEncodedWord}
	tests := []struct {
		name, raw, hint, want string
		defects               []Defect
	}{
		{"plain", "Hello", "", "Hello", nil},
		{"Q", "=?utf-8?Q?Gr=C3=BC=C3=9Fe_aus?= Bonn", "", "Grüße aus Bonn", nil},
		{"B", "=?UTF-8?b?R3LDvMOfZQ==?=", "", "Grüße", nil},
		{"words joined", "=?utf-8?Q?a?=  =?utf-8?Q?b?=", "", "ab", nil},
		{"text between", "=?utf-8?Q?a?= and =?utf-8?Q?b?=", "", "a and b", nil},
		{"character split between words", "=?utf-8?B?w7w=?= =?utf-8?B?ww==?= =?utf-8?B?vA==?=", "", "üü", nil},
		{"split between B and Q", "=?utf-8?B?ww==?= =?utf-8?Q?=BC?=", "", "ü", nil},
		{"not joined across charsets", "=?iso-8859-1?Q?=FC?= =?utf-8?Q?=C3=BC?=", "", "üü", nil},
		{"jis that does not return to ASCII", "=?iso-2022-jp?B?GyRCJCI=?= =?iso-2022-jp?B?GyRCJCQbKEI=?=", "", "あい", nil},
		{"language", "=?utf-8*en?Q?hi?=", "", "hi", nil},
		{"blanks in Q", "=?utf-8?Q?a b?=", "", "a b", bad},
		{"glued before", "Re:=?utf-8?Q?a?=", "", "Re:a", bad},
		{"glued after", "=?utf-8?Q?a?=b", "", "ab", nil},
		{"no padding", "=?utf-8?B?YQ?=", "", "a", bad},
		{"no end", "=?utf-8?B?YWJj", "", "abc", bad},
		{"no end before the next", "=?utf-8?B?YWJj =?utf-8?Q?d?=", "", "abcd", bad},
		{"half an end", "=?utf-8?Q?abc?", "", "abc", bad},
		{"bad escape", "=?utf-8?Q?50=%?=", "", "50=%", bad},
		{"question mark before an escape", "=?utf-8?Q?Why?=20so?=", "", "Why? so", nil},
		{"only looks like one", "a =? b", "", "a =? b", nil},
		{"unknown encoding", "=?utf-8?X?abc?=", "", "=?utf-8?X?abc?=", nil},
		{"raw UTF-8", "Grüße", "", "Grüße", nil},
		{"raw 8-bit", "Gr\xfc\xdfe", "", "Grüße", []Defect{DefectHeaderRaw8Bit}},
		{"raw 8-bit of the body's charset", "\xcf\xf0\xe8", "windows-1251", "При", []Defect{DefectHeaderRaw8Bit}},
		{"raw bytes in a word", "=?windows-1251?Q?\xcf\xf0\xe8?=", "", "При", nil},
		{"unknown charset", "=?x-klingon?Q?a=FC?=", "", "aü", []Defect{DefectCharsetUnknown}},
		{"wrong charset", "=?utf-8?Q?a=FC?=", "", "aü", []Defect{DefectCharsetGuessed}},
		{"line ends in a word", "=?utf-8?Q?a=0D=0AX-Evil:_1=00?=", "", "a  X-Evil: 1", nil},
		{"tab", "a\tb", "", "a b", nil},
		{"empty word", "=?utf-8?Q??=x", "", "x", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, found := decodeUnstructured(tt.raw, tt.hint)
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if diff := cmp.Diff(tt.defects, found); diff != "" {
				t.Errorf("defects (-want +got):\n%s", diff)
			}
		})
	}
}
