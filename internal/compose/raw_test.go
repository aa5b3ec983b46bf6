package compose_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/compose"
)

func newID(from string) string { return "new-" + from }

func TestRawMessagesAreSentAsTheyAre(t *testing.T) {
	t.Parallel()
	raw := "From: Ann <ann@example.org>\nTo: bob@example.com,\n eve@example.com\nBCC: secret@example.com,\n\tother@example.com\nReturn-Path: <x@y>\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\n\nHi\rthere\n.\nGrüße"
	r, wrong := compose.ReadRaw([]byte(raw), noon, newID)
	if len(wrong) > 0 {
		t.Fatalf("%+v", wrong)
	}
	if fmt.Sprint(r.Recipients) != "[bob@example.com eve@example.com secret@example.com other@example.com]" ||
		r.From.Address != "ann@example.org" || r.Subject != "Grüße" || r.MessageID != "new-ann@example.org" {
		t.Errorf("%+v", r)
	}
	var out bytes.Buffer
	info, err := r.Write(&out)
	if err != nil {
		t.Fatal(err)
	}
	want := "Message-ID: <new-ann@example.org>\r\nDate: Fri, 27 Nov 2026 12:00:00 +0100\r\nFrom: Ann <ann@example.org>\r\nTo: bob@example.com,\r\n eve@example.com\r\n" +
		"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\nHi\r\nthere\r\n.\r\nGrüße"
	if out.String() != want || info.Size != int64(len(want)) || !info.EightBit || info.UTF8 {
		t.Errorf("%+v %q", info, out.String())
	}
}

func TestRawMessagesKeepWhatTheyHave(t *testing.T) {
	t.Parallel()
	raw := "Message-ID: <1@x>\r\nDate: Fri, 27 Nov 2026 12:00:00 +0100\r\nFrom: a@x\r\n\r\nHi\r\n"
	r, wrong := compose.ReadRaw([]byte(raw), noon, newID)
	if len(wrong) > 0 {
		t.Fatalf("%+v", wrong)
	}
	var out bytes.Buffer
	if _, err := r.Write(&out); err != nil || out.String() != raw || r.MessageID != "1@x" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

func TestRawMessagesThatCannotBeSent(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 999)
	for _, raw := range []string{"", "Subject: x\r\n\r\nHi", "From: a@x\r\n\r\nH\x00i", "From: a@x\r\n\r\nHi\n" + long + "\n", "From: a@x\r\nX: " + long + "\r\n\r\nHi"} {
		if _, wrong := compose.ReadRaw([]byte(raw), noon, newID); len(wrong) != 1 || wrong[0].Field != "raw" {
			t.Errorf("%q: %+v", raw, wrong)
		}
	}
}

func TestRawMessagesHideWhoElseGotThem(t *testing.T) {
	t.Parallel()
	raw := "From: a@x\r\nDate: Fri, 27 Nov 2026 12:00:00 +0100\r\nMessage-ID: <1@x>\r\nBcc : b@x\r\nResent-Bcc: c@x,\r\n d@x\r\n\r\nHi\r\n"
	r, wrong := compose.ReadRaw([]byte(raw), noon, newID)
	if len(wrong) > 0 {
		t.Fatalf("%+v", wrong)
	}
	var out bytes.Buffer
	if _, err := r.Write(&out); err != nil || strings.Contains(strings.ToLower(out.String()), "bcc") {
		t.Errorf("%q, %v", out.String(), err)
	}
}

func FuzzReadRaw(f *testing.F) {
	for _, seed := range []string{"From: a@x\r\nBcc: b@x\r\n\r\nHi", "From: a@x\nBcc:\n b@x\n c@x\n\n", "Bcc\t: b@x\r\nFrom: a@x", " folded\r\nFrom: a@x\r\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, wrong := compose.ReadRaw(raw, noon, newID)
		if len(wrong) > 0 {
			return
		}
		var out bytes.Buffer
		info, err := r.Write(&out)
		if err != nil || info.Size != int64(out.Len()) {
			t.Fatalf("size %d of %d, %v", info.Size, out.Len(), err)
		}
		rest := strings.ReplaceAll(out.String(), "\r\n", "")
		if strings.ContainsAny(rest, "\r\n") {
			t.Errorf("a lone CR or LF in %q", out.String())
		}
		header, _, _ := strings.Cut(out.String(), "\r\n\r\n")
		for line := range strings.SplitSeq(header, "\r\n") {
			if name, _, ok := strings.Cut(line, ":"); ok && strings.EqualFold(strings.TrimSpace(name), "bcc") && line[0] != ' ' && line[0] != '\t' {
				t.Errorf("Bcc is still there: %q", out.String())
			}
		}
	})
}

// A header of a million lines, of whatever kind, costs no more than its length.
func TestLongHeadersAreReadInOnePass(t *testing.T) {
	t.Parallel()
	for name, line := range map[string]string{"folded": " x\r\n", "empty folds": " \r\n", "fields": "a:b\r\n", "Bcc": "Bcc: a@x,\r\n"} {
		raw := "From: a@x\r\n" + strings.Repeat(line, 1<<20) + "\r\nHi"
		if _, wrong := compose.ReadRaw([]byte(raw), noon, newID); len(wrong) > 0 {
			t.Errorf("%s: %+v", name, wrong)
		}
	}
}
