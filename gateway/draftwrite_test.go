package gateway

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/message"
)

func newWrittenDraft(t *testing.T) *writtenDraft {
	t.Helper()
	spool, err := newSpools(t.TempDir(), &Limits{Imports: 1}, time.Minute).open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { spool.Close() })
	return &writtenDraft{spool: spool}
}

// FuzzRawDraft: whatever is given, the message has our id and no other, and ends its
// lines as mail does.
func FuzzRawDraft(f *testing.F) {
	for _, seed := range []string{
		"Subject: a\r\n\r\nbody\r\n", "Subject: a\nTo: b@example.com\n\nbody", "X-Postern-Draft-Id: forged\r\n folded\r\nA: b\r\n\r\nx",
		"x-postern-draft-id : a\nX-POSTERN-DRAFT-ID:b\n\n", "A: b", "A: b\r\r\n\r\nX-Postern-Draft-Id: in the body", "A:\r\n\tX-Postern-Draft-Id: folded",
		"A: b\rX-Postern-Draft-Id: after a lone CR",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		w := newWrittenDraft(t)
		if err := w.writeRaw("0123456789abcdef", raw); err != nil {
			var refused *failure
			if !errors.As(err, &refused) {
				t.Fatal(err)
			}
			return
		}
		r, err := w.reader()
		if err != nil {
			t.Fatal(err)
		}
		out, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if int64(len(out)) != w.size {
			t.Fatalf("the size is %d, and %d bytes were written", w.size, len(out))
		}
		if bytes.Contains(bytes.ReplaceAll(out, []byte("\r\n"), nil), []byte("\n")) {
			t.Fatalf("a line ends in LF alone: %q", out)
		}
		block, _, found := bytes.Cut(out, []byte("\r\n\r\n"))
		if !found && !bytes.HasSuffix(out, []byte("\r\n")) {
			t.Fatalf("the header has no end: %q", out)
		}
		ids := 0
		for _, h := range message.ParseHeader(block).Fields {
			if strings.EqualFold(h.Name, draftHeader) {
				ids++
			}
		}
		if ids != 1 {
			t.Fatalf("%d ids in %q", ids, out)
		}
	})
}

// TestDraftsAreBounded: before they take the disk.
func TestDraftsAreBounded(t *testing.T) {
	t.Parallel()
	w := newWrittenDraft(t)
	piece := bytes.Repeat([]byte("a line of text\r\n"), 1<<16)
	var err error
	for range maxDraft>>20 + 1 {
		if _, err = w.Write(piece); err != nil {
			break
		}
	}
	var refused *failure
	if !errors.As(err, &refused) || refused.reason != reasonMessageTooLarge {
		t.Errorf("%v, want MESSAGE_TOO_LARGE", err)
	}
	if w.memory.Len() > inMemory+len(piece) {
		t.Errorf("%d bytes are in memory", w.memory.Len())
	}
}
