package charset

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

var samples = []struct {
	name, label, raw, want, charset string
}{
	{"latin1 is windows-1252", "ISO-8859-1", "\x93caf\xe9\x94 \x80", "“café” €", "windows-1252"},
	{"cp1252", "cp1252", "\x80", "€", "windows-1252"},
	{"win with a dash", "win-1251", "\xcf\xf0\xe8", "При", "windows-1251"},
	{"underscore", "ISO_8859-2", "\xb3", "ł", "iso-8859-2"},
	{"another underscore", "windows_1250", "\xb3", "ł", "windows-1250"},
	{"number alone", "1252", "\xe9", "é", "windows-1252"},
	{"quotes and parameter", `"utf-8"; format=flowed`, "é", "é", "utf-8"},
	{"language", "utf-8*de", "é", "é", "utf-8"},
	{"cp932 beyond JIS", "cp932", "\x87\x40\xfb\xfc", "①髙", "shift_jis"},
	{"x-sjis", "x-sjis", "\x82\xa0", "あ", "shift_jis"},
	{"iso-2022-jp", "ISO-2022-JP", "\x1b$B$\"\x1b(B", "あ", "iso-2022-jp"},
	{"cp50221", "cp50221", "\x1b$B$\"\x1b(B", "あ", "iso-2022-jp"},
	{"euc-jp", "x-euc-jp", "\xa4\xa2", "あ", "euc-jp"},
	{"cp949 beyond KS X 1001", "cp949", "\x8c\x63", "똠", "euc-kr"},
	{"ks_c_5601-1987", "ks_c_5601-1987", "\xb0\xa1", "가", "euc-kr"},
	{"iso-2022-kr", "iso-2022-kr", "\x1b$)C\x0e0!\x0f!", "가!", "iso-2022-kr"},
	{"gb2312 is gbk", "gb2312", "\xe9\x46", "镕", "gb18030"},
	{"gb18030 in four bytes", "gb18030", "\x94\x39\xda\x33", "💩", "gb18030"},
	{"hz", "hz-gb-2312", "~{VPND~}.", "中文.", "hz-gb-2312"},
	{"big5-hkscs", "big5-hkscs", "\xa7\xda", "我", "big5"},
	{"koi8-u", "KOI8-U", "\xa4", "є", "koi8-u"},
	{"iso-8859-8-i", "iso-8859-8-i", "\xf9\xec", "של", "iso-8859-8-i"},
	{"x-mac-cyrillic", "x-mac-cyrillic", "\x80", "А", "x-mac-cyrillic"},
	{"macintosh", "x-mac-roman", "\x8e", "é", "macintosh"},
	{"DOS", "ibm437", "\x82", "é", "ibm437"},
	{"DOS by number", "cp850", "\xe1", "ß", "cp850"},
	{"cp866", "cp866", "\x80", "А", "ibm866"},
	{"tis-620", "tis-620", "\xa1", "ก", "windows-874"},
	{"utf-7", "unicode-1-1-utf-7", "A+ImIDkQ-.+-", "A≢Α.+", "utf-7"},
	{"utf-7 pair", "utf-7", "+2D3cqQ-", "💩", "utf-7"},
	{"utf-7 without its end", "utf-7", "+AOk", "é", "utf-7"},
	{"utf-16 with mark", "utf-16", "\xfe\xff\x00a\x20\xac", "a€", "utf-16"},
	{"utf-16 as Windows writes it", "utf-16", "a\x00\xac\x20", "a€", "utf-16"},
	{"utf-32be", "utf-32be", "\x00\x00\x00a\x00\x01\xf4\xa9", "a💩", "utf-32be"},
	{"NULs go", "utf-8", "a\x00b\x00", "ab", "utf-8"},
	{"mark goes", "utf-8", "\xef\xbb\xbfa", "a", "utf-8"},
	{"plain", "", "plain", "plain", "us-ascii"},
}

func TestDecode(t *testing.T) {
	t.Parallel()
	for _, tt := range samples {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, o := Decode([]byte(tt.raw), tt.label, "")
			if got != tt.want || o != (Outcome{Charset: tt.charset}) {
				t.Errorf("Decode = %q, %+v; want %q in %s", got, o, tt.want, tt.charset)
			}
		})
	}
}

func TestGuess(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, label, hint, raw, want string
		outcome                      Outcome
	}{
		{"nothing said, UTF-8", "", "", "é", "é", Outcome{Charset: "utf-8", Guessed: true}},
		{"nothing said, with hint", "unknown-8bit", "koi8-r", "\xf0", "П", Outcome{Charset: "koi8-r", Guessed: true}},
		{"nothing said at all", "binary", "", "\xe9", "é", Outcome{Charset: "windows-1252", Guessed: true}},
		{"ASCII with more", "us-ascii", "", "é", "é", Outcome{Charset: "utf-8", Guessed: true}},
		{"ASCII by its old name", "ANSI_X3.4-1968", "", "\xe9", "é", Outcome{Charset: "windows-1252", Guessed: true}},
		{"unknown name", "x-klingon", "", "\xe9", "é", Outcome{Charset: "windows-1252", Unknown: true, Guessed: true}},
		{"unknown name of ASCII", "x-klingon", "", "e", "e", Outcome{Charset: "us-ascii", Unknown: true}},
		{"UTF-8 that is not", "utf-8", "", "caf\xe9", "café", Outcome{Charset: "windows-1252", Guessed: true}},
		{"UTF-8 with damage", "utf-8", "", "é\xff", "é\uFFFD", Outcome{Charset: "utf-8", Invalid: true}},
		{"hidden ISO-2022-JP", "", "", "\x1b$B$\"\x1b(B", "あ", Outcome{Charset: "iso-2022-jp", Guessed: true}},
		{"mark against the name", "iso-8859-1", "", "\xef\xbb\xbfé", "é", Outcome{Charset: "utf-8", Guessed: true}},
		{"UTF-16 mark", "", "", "\xff\xfea\x00\xac\x20", "a€", Outcome{Charset: "utf-16", Guessed: true}},
		{"bytes that are not there", "euc-jp", "", "a\xff", "a\uFFFD", Outcome{Charset: "euc-jp", Invalid: true}},
		{"utf-7 lone surrogate", "utf-7", "", "+2D0-a", "\uFFFDa", Outcome{Charset: "utf-7", Invalid: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, o := Decode([]byte(tt.raw), tt.label, tt.hint)
			if got != tt.want || o != tt.outcome {
				t.Errorf("Decode = %q, %+v; want %q, %+v", got, o, tt.want, tt.outcome)
			}
		})
	}
}

func TestReaderDecidesOnASplitRune(t *testing.T) {
	t.Parallel()
	// The sample ends within the only character above 127.
	text := strings.Repeat("a", sampleSize-1) + "é" + strings.Repeat("é", 10)
	got, err := io.ReadAll(NewReader(strings.NewReader("é"+text[2:]), "", ""))
	if err != nil || string(got) != "é"+text[2:] {
		t.Errorf("%d bytes of %d, %v", len(got), len(text), err)
	}
}

func TestReaderPassesErrorsOn(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	got, err := io.ReadAll(NewReader(io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(broken)), "latin1", ""))
	if string(got) != "abc" || !errors.Is(err, broken) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestKnown(t *testing.T) {
	t.Parallel()
	for label, want := range map[string]bool{"utf-8": true, "US-ASCII": true, "": false, "unknown-8bit": false, "x-klingon": false, "johab": false} {
		if Known(label) != want {
			t.Errorf("Known(%q) = %t", label, !want)
		}
	}
}

// Whatever the bytes, no charset fails: an error would lose the text.
func TestNoCharsetFails(t *testing.T) {
	t.Parallel()
	labels := map[string]bool{}
	for name := range special {
		labels[name] = true
	}
	for _, tt := range samples {
		labels[tt.label] = true
	}
	tails := []string{"", "\x00", "\xff", "\x1b", "\x1b$", "\x1b$)", "\x0e", "\xd8\x00", "\x81", "\x81\x30\x81", "~", "~{V", "+", "+2D0", "\xff\xff\xff\xff\xff"}
	for label := range labels {
		for _, tail := range tails {
			raw := "ab12" + tail
			text, _ := Decode([]byte(raw), label, "")
			if text == "" {
				t.Errorf("%q in %q became nothing", raw, label)
			}
			streamed, err := io.ReadAll(NewReader(iotest.OneByteReader(strings.NewReader(raw)), label, ""))
			if err != nil || string(streamed) != text {
				t.Errorf("%q in %q: whole %q, streamed %q, %v", raw, label, text, streamed, err)
			}
		}
	}
}
