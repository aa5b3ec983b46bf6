package message

import (
	"testing"
	"time"
)

func TestParseDate(t *testing.T) {
	t.Parallel()
	tests := []struct {
		raw, want string // want in RFC 3339; empty for none
		ok        bool
	}{
		{"Mon, 23 Nov 2026 10:15:30 +0100", "2026-11-23T10:15:30+01:00", true},
		{"23 Nov 2026 10:15 +0100", "2026-11-23T10:15:00+01:00", true},
		{"Mon, 23 Nov 2026 10:15:30 +0100 (CET)", "2026-11-23T10:15:30+01:00", true},
		{"Mon,23 Nov 2026 10:15:30 -0000", "2026-11-23T10:15:30Z", true},
		{"Mon, 23 Nov 98 10:15:30 EST", "1998-11-23T10:15:30-05:00", true},
		{"23 Nov 26 10:15:30 GMT", "2026-11-23T10:15:30Z", true},
		{"23 Nov 126 10:15:30 UT", "2026-11-23T10:15:30Z", true},
		{"Mon, 23 November 2026 10:15:30 +0100", "2026-11-23T10:15:30+01:00", true},
		{"Mon Nov 23 10:15:30 2026", "2026-11-23T10:15:30Z", false},
		{"Mon Nov 23 10:15:30 CET 2026", "2026-11-23T10:15:30+01:00", true},
		{"2026-11-23T10:15:30Z", "2026-11-23T10:15:30Z", false},
		{"2026-11-23 10:15:30 +0100", "2026-11-23T10:15:30+01:00", false},
		{"23-Nov-2026 10:15:30 +0100", "2026-11-23T10:15:30+01:00", false},
		{"23.11.2026 10:15:30", "2026-11-23T10:15:30Z", false},
		{"Monday, November 23, 2026 10:15 PM", "2026-11-23T22:15:00Z", false},
		{"Mon, 23 Nov 2026 12:15 AM +0100", "2026-11-23T00:15:00+01:00", false},
		{"Mon, 23 Nov 2026 10:15:30+0100", "2026-11-23T10:15:30+01:00", false},
		{"Mon, 23 Nov 2026 10:15:30 GMT+1", "2026-11-23T10:15:30+01:00", false},
		{"Mon, 23 Nov 2026 10:15:30 +01:00", "2026-11-23T10:15:30+01:00", false},
		{"Mon, 23 Nov 2026", "2026-11-23T00:00:00Z", false},
		{"Mon, 23 Nov 2026 10:15:30", "2026-11-23T10:15:30Z", false},
		{"Mon, 23 Nov 2026 10:15:60 +0000", "2026-11-23T10:16:00Z", true},
		{"Mon, 23 Foo 2026 10:15:30 +0100", "", false},
		{"Mon, 99 Nov 2026 10:15:30 +0100", "", false},
		{"Mon, 23 Nov 2026 99:15:30 +0100", "2026-11-23T00:00:00Z", false},
		{"yesterday", "", false},
		{"", "", false},
		{":::", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.raw, func(t *testing.T) {
			t.Parallel()
			got, ok := ParseDate(tt.raw)
			text := ""
			if !got.IsZero() {
				text = got.Format(time.RFC3339)
			}
			if text != tt.want || ok != tt.ok {
				t.Errorf("got %s, %t; want %s, %t", text, ok, tt.want, tt.ok)
			}
		})
	}
}
