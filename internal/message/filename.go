package message

import (
	"mime"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxFilename is what common file systems take for one name, in bytes.
const maxFilename = 255

// cleanFilename makes the name that a sender gave safe to show and to save:
// only its last element (RFC 2183 section 2.3), no control characters, and none
// that change the direction of text, with which "exe.pdf" hides what it is.
func cleanFilename(name string) string {
	if i := strings.LastIndexAny(name, `/\`); i >= 0 {
		name = name[i+1:]
	}
	name = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsControl(r), r == utf8.RuneError:
			return -1
		case r >= 0x202A && r <= 0x202E, r >= 0x2066 && r <= 0x2069, r == 0x200E, r == 0x200F, r == 0x2028, r == 0x2029, r == 0xFEFF:
			return -1
		}
		return r
	}, name)
	name = strings.TrimSpace(name)
	if strings.Trim(name, ".") == "" {
		return ""
	}
	return shortenFilename(name)
}

// shortenFilename keeps the extension, by which systems know the type.
func shortenFilename(name string) string {
	if len(name) <= maxFilename {
		return name
	}
	ext := ""
	if i := strings.LastIndexByte(name, '.'); i > 0 && len(name)-i <= 16 {
		ext = name[i:]
	}
	return truncate(name[:len(name)-len(ext)], maxFilename-len(ext)) + ext
}

// DownloadName is the file name to offer for the part: the sender's, or one
// made of its path and type.
func (p *Part) DownloadName() string {
	if p.Filename != "" {
		return p.Filename
	}
	return "part-" + strings.ToLower(p.Path) + extension(p.Type)
}

// extension is a small table rather than the system's, which differs from
// machine to machine.
func extension(mediaType string) string {
	switch mediaType {
	case "text/plain":
		return ".txt"
	case "text/html":
		return ".html"
	case "text/calendar", "application/ics":
		return ".ics"
	case "text/csv":
		return ".csv"
	case "text/vcard", "text/x-vcard":
		return ".vcf"
	case "message/rfc822", "message/global":
		return ".eml"
	case "image/jpeg":
		return ".jpg"
	case "image/png", "image/gif", "image/webp", "application/pdf", "application/zip":
		return "." + mediaType[strings.IndexByte(mediaType, '/')+1:]
	case "image/svg+xml":
		return ".svg"
	case "application/ms-tnef", "application/vnd.ms-tnef":
		return ".dat"
	}
	return ".bin"
}

// ContentDisposition gives the value of a Content-Disposition header for a
// download of that name (RFC 6266): always attachment, so that no browser
// shows a stranger's HTML under our origin; a plain name for old clients and
// the RFC 8187 form (once RFC 5987) where the name is more than ASCII. Nothing
// in the name can leave the value or the header.
func ContentDisposition(filename string) string {
	filename = cleanFilename(strings.ToValidUTF8(filename, ""))
	if filename == "" {
		filename = "download"
	}
	plain := strings.Map(func(r rune) rune {
		switch {
		case r >= utf8.RuneSelf, r < ' ', r == 0x7F, r == '"', r == '\\', r == '%':
			// RFC 6266 appendix D: browsers differ about escapes in here.
			return '_'
		}
		return r
	}, filename)
	value := `attachment; filename="` + plain + `"`
	if plain != filename {
		value += "; filename*=UTF-8''" + percentEncode(filename)
	}
	return value
}

// percentEncode leaves the attr-char of RFC 8187 section 3.2.1.
func percentEncode(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$&+-.^_`|~", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(hex[c>>4])
		b.WriteByte(hex[c&15])
	}
	return b.String()
}

// DownloadType is the Content-Type to send with a download: the part's own
// type and charset if they are well formed, and no other parameter of a
// stranger's.
func (p *Part) DownloadType() string {
	var params map[string]string
	if c := p.Charset(); c != "" && strings.HasPrefix(p.Type, "text/") {
		params = map[string]string{"charset": c}
	}
	if v := mime.FormatMediaType(p.Type, params); v != "" {
		return v
	}
	return "application/octet-stream"
}

// truncate cuts s to at most n bytes at the end of a rune.
func truncate(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
