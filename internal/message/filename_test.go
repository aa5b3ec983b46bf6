package message

import (
	"mime"
	"strings"
	"testing"
)

func TestContentDisposition(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, filename, want string }{
		{"plain", "report.pdf", `attachment; filename="report.pdf"`},
		{"blanks", "my report.pdf", `attachment; filename="my report.pdf"`},
		{"beyond ASCII", "Größe €.pdf", `attachment; filename="Gr__e _.pdf"; filename*=UTF-8''Gr%C3%B6%C3%9Fe%20%E2%82%AC.pdf`},
		{"quotes", `a"b\c.pdf`, `attachment; filename="c.pdf"`},
		{"quote", `a"b.pdf`, `attachment; filename="a_b.pdf"; filename*=UTF-8''a%22b.pdf`},
		{"percent", "100%.pdf", `attachment; filename="100_.pdf"; filename*=UTF-8''100%25.pdf`},
		{"attr-char", "x';(*)=.é", `attachment; filename="x';(*)=._"; filename*=UTF-8''x%27%3B%28%2A%29%3D.%C3%A9`},
		{"line ends", "a\r\nSet-Cookie: x=1", `attachment; filename="aSet-Cookie: x=1"`},
		{"path", "../../etc/passwd", `attachment; filename="passwd"`},
		{"Windows path", `C:\x\a.txt`, `attachment; filename="a.txt"`},
		{"dots", "..", `attachment; filename="download"`},
		{"empty", "", `attachment; filename="download"`},
		{"direction", "gpj.\u202eexe.pdf", `attachment; filename="gpj.exe.pdf"`},
		{"NUL", "a\x00.txt", `attachment; filename="a.txt"`},
		{"not UTF-8", "a\xff.txt", `attachment; filename="a.txt"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := ContentDisposition(tt.filename)
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if _, _, err := mime.ParseMediaType(got); err != nil {
				t.Errorf("%s: %v", got, err)
			}
		})
	}
}

func TestLongFilename(t *testing.T) {
	t.Parallel()
	got := cleanFilename(strings.Repeat("ä", 300) + ".pdf")
	if len(got) > maxFilename || !strings.HasSuffix(got, "ä.pdf") {
		t.Errorf("%d bytes: %q", len(got), got)
	}
}

func TestDownloadNameAndType(t *testing.T) {
	t.Parallel()
	tests := []struct {
		part           Part
		name, mimeType string
	}{
		{Part{Path: "2", Type: "application/pdf", Filename: "a.pdf"}, "a.pdf", "application/pdf"},
		{Part{Path: "1.2", Type: "image/jpeg"}, "part-1.2.jpg", "image/jpeg"},
		{Part{Path: "3", Type: "message/rfc822"}, "part-3.eml", "message/rfc822"},
		{Part{Path: "1", Type: "text/plain", Params: map[string]string{"charset": "utf-8", "x": "y"}}, "part-1.txt", "text/plain; charset=utf-8"},
		{Part{Path: "1", Type: "a b"}, "part-1.bin", "application/octet-stream"},
	}
	for _, tt := range tests {
		if got := tt.part.DownloadName(); got != tt.name {
			t.Errorf("DownloadName = %q, want %q", got, tt.name)
		}
		if got := tt.part.DownloadType(); got != tt.mimeType {
			t.Errorf("DownloadType = %q, want %q", got, tt.mimeType)
		}
	}
}
