package charset

import (
	"strings"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/encoding/unicode/utf32"
)

const (
	nameUTF8  = "utf-8"
	nameASCII = "us-ascii"
)

// entry is a charset: its usual name, and how to read it (nil: as UTF-8).
type entry struct {
	name string
	enc  encoding.Encoding
}

// Known reports whether label names a charset that says something about the
// bytes; "unknown-8bit", "binary" and the like do not.
func Known(label string) bool {
	e, ok := lookup(label)
	return ok && e.name != ""
}

// Canonical is the usual name of a charset in lower case, or "" when label is
// unknown or says nothing.
func Canonical(label string) string {
	e, _ := lookup(label)
	return e.name
}

// lookup finds the charset that label means. A label that is empty or says
// nothing gives the zero entry and true; one that nobody has heard of, false.
func lookup(label string) (entry, bool) {
	if strings.EqualFold(label, nameUTF8) { // most mail, without further ado
		return entry{name: nameUTF8}, true
	}
	label = normalise(label)
	if sayNothing[label] {
		return entry{}, true
	}
	if e, ok := special[label]; ok {
		return e, true
	}
	if alias, ok := aliases[label]; ok {
		label = alias
	}
	if e, ok := index(label); ok {
		return e, true
	}
	return codePage(label)
}

// index asks golang.org/x/text. The HTML index comes first because it reads
// the names as browsers do (ISO-8859-1 as windows-1252), which is how they are
// meant in mail too; the IANA index adds DOS and EBCDIC code pages.
func index(label string) (entry, bool) {
	if enc, err := htmlindex.Get(label); err == nil && enc != encoding.Replacement {
		name, err := htmlindex.Name(enc)
		if err != nil || name == "replacement" {
			name = label
		}
		if name == nameUTF8 {
			enc = nil
		}
		return entry{name, enc}, true
	}
	enc, err := ianaindex.IANA.Encoding(label)
	if err != nil || enc == nil {
		return entry{}, false
	}
	return entry{label, enc}, true
}

// normalise undoes what mailers do to names: quotes, blanks, underscores,
// "charset=" inside the value, parameters behind it.
func normalise(label string) string {
	label = strings.ToLower(label)
	label, _, _ = strings.Cut(label, ";")
	// RFC 2231 section 5: a language may follow in an encoded word.
	label, _, _ = strings.Cut(label, "*")
	label = strings.Trim(label, " \t\r\n\"'<>,.\u00a0")
	label = strings.TrimPrefix(label, "charset=")
	label = strings.Trim(label, " \"'")
	if strings.HasPrefix(label, "iso_") || strings.HasPrefix(label, "iso8859_") ||
		strings.HasPrefix(label, "utf_") || strings.HasPrefix(label, "windows_") || strings.HasPrefix(label, "shift_jis_") {
		label = strings.ReplaceAll(label, "_", "-")
	}
	return label
}

// codePage reads names that are a number with something in front: "cp850",
// "win-1251", "x-cp-1252", "ibm-437", "ms1252", "8859-1".
func codePage(label string) (entry, bool) {
	digits := len(label)
	for digits > 0 && label[digits-1] >= '0' && label[digits-1] <= '9' {
		digits--
	}
	prefix := strings.Trim(label[:digits], "-_ ")
	number := label[digits:]
	if number == "" {
		return entry{}, false
	}
	switch strings.TrimPrefix(prefix, "x-") {
	case "iso8859", "iso-8859", "8859", "iso 8859", "isolatin":
		return index("iso-8859-" + number)
	case "cp", "win", "windows", "ms", "ansi", "ibm", "dos", "codepage", "code page", "":
		if e, ok := special["cp"+number]; ok {
			return e, true
		}
		for _, form := range []string{"windows-", "ibm", "cp"} {
			if e, ok := index(form + number); ok {
				return e, true
			}
		}
	}
	return entry{}, false
}

// sayNothing are labels that leave the bytes open.
var sayNothing = map[string]bool{
	"": true, "unknown": true, "unknown-8bit": true, "x-unknown": true, "binary": true,
	"7bit": true, "8bit": true, "7-bit": true, "8-bit": true, "none": true, "null": true, "default": true,
	"default_charset": true, "x-user-defined": true, "iso-10646": true, "ansi": true, "user-defined": true,
}

// special are charsets that the indexes lack, or read differently from what
// mail means by the name.
var special = func() map[string]entry {
	var (
		ascii = entry{name: nameASCII}
		utf8  = entry{name: nameUTF8}
		// GB18030 contains GBK contains GB 2312, and senders name the smaller.
		gb      = entry{"gb18030", simplifiedchinese.GB18030}
		sjis    = entry{"shift_jis", japanese.ShiftJIS}
		jis     = entry{"iso-2022-jp", japanese.ISO2022JP}
		eucjp   = entry{"euc-jp", japanese.EUCJP}
		euckr   = entry{"euc-kr", korean.EUCKR}
		big5    = entry{"big5", traditionalchinese.Big5}
		utf7    = entry{"utf-7", utf7Encoding{}}
		utf16   = entry{"utf-16", unicode.UTF16(unicode.LittleEndian, unicode.UseBOM)}
		utf16be = entry{"utf-16be", unicode.UTF16(unicode.BigEndian, unicode.UseBOM)}
		utf16le = entry{"utf-16le", unicode.UTF16(unicode.LittleEndian, unicode.UseBOM)}
		mac     = entry{"macintosh", charmap.Macintosh}
	)
	m := map[string]entry{
		"hz-gb-2312":  {"hz-gb-2312", simplifiedchinese.HZGB2312},
		"hz":          {"hz-gb-2312", simplifiedchinese.HZGB2312},
		"iso-2022-kr": {"iso-2022-kr", iso2022KR{}},
		"utf-32":      {"utf-32", utf32.UTF32(utf32.BigEndian, utf32.UseBOM)},
		"utf-32be":    {"utf-32be", utf32.UTF32(utf32.BigEndian, utf32.IgnoreBOM)},
		"utf-32le":    {"utf-32le", utf32.UTF32(utf32.LittleEndian, utf32.IgnoreBOM)},
		"cp37":        {"ibm037", charmap.CodePage037},
		"cp10007":     {"x-mac-cyrillic", charmap.MacintoshCyrillic},
	}
	for e, names := range map[entry][]string{
		ascii: {"us-ascii", "ascii", "us", "ansi_x3.4-1968", "ansi_x3.4-1986", "iso646-us", "iso-646-us", "iso-646.irv:1991", "646",
			"cp367", "ibm367", "cp20127", "usascii", "us_ascii", "en_us", "x-ascii"},
		utf8: {"utf-8", "utf8", "utf 8", "utf-8n", "utf8mb4", "utf-8-sig", "cp65001", "unicode-1-1-utf-8", "utf-8-mac", "x-utf-8"},
		gb: {"gb18030", "gb18030-2000", "gb18030-2005", "gb18030-2022", "gbk", "gb2312", "gb_2312", "gb-2312", "gb_2312-80",
			"gb2312-80", "x-gbk", "cp936", "ms936",
			"windows-936", "x-mswin-936", "euc-cn", "euccn", "euc_cn", "x-euc-cn", "cn-gb", "chinese", "cp54936"},
		sjis: {"shift_jis", "shift-jis", "shiftjis", "sjis", "x-sjis", "cp932", "ms932", "ms_kanji", "windows-932", "windows-31j",
			"x-ms-cp932", "sjis-win", "shift-jis-2004",
			"shift_jis-2004", "shift_jisx0213", "shift-jisx0213", "mskanji", "cp943"},
		jis: {"iso-2022-jp", "iso2022jp", "iso-2022-jp-1", "iso-2022-jp-2", "iso-2022-jp-3", "iso-2022-jp-2004", "iso-2022-jp-ms",
			"csiso2022jp", "cp50220", "cp50221", "cp50222", "jis",
			"_iso-2022-jp$esc"},
		eucjp: {"euc-jp", "eucjp", "euc_jp", "x-euc-jp", "x-euc", "eucjp-ms", "euc-jp-ms", "eucjp-win", "cp51932", "ujis", "cp20932"},
		euckr: {"euc-kr", "euckr", "euc_kr", "cp949", "ms949", "windows-949", "x-windows-949", "uhc", "ks_c_5601", "ks_c_5601-1987",
			"ks_c_5601-1989", "ks-c-5601-1987", "ksc5601", "ksc_5601", "ks_c-5601-1987", "ksc5601-1987", "ks_c_5601_1987", "cp51949",
			"korean"},
		big5:    {"big5", "big-5", "big5-hkscs", "big5hkscs", "big5-eten", "x-big5", "cn-big5", "cp950", "windows-950", "ms950", "x-windows-950"},
		utf7:    {"utf-7", "utf7", "unicode-1-1-utf-7", "unicode-2-0-utf-7", "x-unicode-2-0-utf-7", "csunicode11utf7", "cp65000"},
		utf16:   {"utf-16", "utf16", "ucs-2", "iso-10646-ucs-2", "unicode", "csunicode", "cp1200"},
		utf16be: {"utf-16be", "utf16be", "unicodefffe", "cp1201"},
		utf16le: {"utf-16le", "utf16le"},
		mac:     {"macintosh", "mac", "macroman", "mac-roman", "x-mac-roman", "x-macroman", "apple-roman", "x-mac-icelandic", "cp10000"},
	} {
		for _, name := range names {
			m[name] = e
		}
	}
	return m
}()

// aliases lead to names that the indexes know.
var aliases = map[string]string{
	"latin-1": "latin1", "latin_1": "latin1", "iso-latin-1": "latin1", "x-iso-8859-1": "latin1", "8859_1": "latin1",
	"iso-8859-1-windows-3.1-latin-1": "latin1",
	"iso-8859-1:1987":                "latin1", "iso-8859-8-e": "iso-8859-8", "visual": "iso-8859-8", "latin-2": "latin2",
	"latin-9": "iso-8859-15", "latin9": "iso-8859-15",
	"latin-0": "iso-8859-15", "latin0": "iso-8859-15", "iso-8859-15:1998": "iso-8859-15", "iso-8859-9e": "iso-8859-9",
	"ansi-1251": "windows-1251", "koi8": "koi8-r", "koi8r": "koi8-r",
	"koi-8": "koi8-r", "koi8u": "koi8-u", "koi": "koi8-r", "tis620": "windows-874", "tis620.2533": "windows-874",
	"cp874": "windows-874", "x-windows-874": "windows-874",
	"cp858": "ibm00858", "x-mac-ukrainian": "x-mac-cyrillic", "mac-cyrillic": "x-mac-cyrillic", "maccyrillic": "x-mac-cyrillic",
	"greek": "iso-8859-7", "hebrew": "iso-8859-8", "logical": "iso-8859-8-i", "arabic": "iso-8859-6", "cyrillic": "iso-8859-5",
	"turkish": "windows-1254",
	"western": "windows-1252", "windows-1252http-equivcontent-type": "windows-1252",
}
