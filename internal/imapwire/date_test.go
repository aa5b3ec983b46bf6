package imapwire

import (
	"net/mail"
	"testing"
	"time"
)

// TestUsualDate compares the short cut with package time, whose answer counts.
func TestUsualDate(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, in string
		usual    bool
	}{
		{"as usual", "23 Nov 2026 10:00:00 +0100", true},
		{"one digit", "3 Feb 2024 01:02:03 -0730", true},
		{"padded", "03 Feb 2024 01:02:03 +0000", true},
		{"leap day", "29 Feb 2024 23:59:59 -0000", true},
		{"no leap day", "29 Feb 2023 23:59:59 +0000", false},
		{"31st of November", "31 Nov 2026 10:00:00 +0100", false},
		{"day 0", "0 Nov 2026 10:00:00 +0100", false},
		{"no month", "3 anF 2026 10:00:00 +0100", false},
		{"small letters", "3 feb 2026 10:00:00 +0100", false},
		{"hour 24", "3 Feb 2026 24:00:00 +0100", false},
		{"leap second", "3 Feb 2026 23:59:60 +0100", false},
		{"zone in letters", "3 Feb 2026 23:59:01 GMT", false},
		{"letters for digits", "3 Feb 20x6 23:59:01 +0000", false},
		{"a sign for a digit", "3 Feb 2026 23:59:01 +-100", false},
		{"more behind it", "3 Feb 2026 23:59:01 +0100x", false},
		{"empty", "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, ok := usualDate(tc.in, ' ')
			if ok != tc.usual {
				t.Fatalf("usualDate(%q) = %v, %v", tc.in, got, ok)
			}
			if !ok {
				return
			}
			want, err := time.Parse("2 Jan 2006 15:04:05 -0700", tc.in)
			_, offset := got.Zone()
			_, wantOffset := want.Zone()
			if err != nil || !got.Equal(want) || offset != wantOffset {
				t.Errorf("usualDate(%q) = %v, want %v, %v", tc.in, got, want, err)
			}
		})
	}
}

func TestParseDate(t *testing.T) {
	t.Parallel()
	want := time.Date(2026, 11, 3, 8, 8, 7, 0, time.UTC)
	for name, in := range map[string]string{
		"usual":              "Tue, 3 Nov 2026 09:08:07 +0100",
		"no weekday":         "3 Nov 2026 09:08:07 +0100",
		"a comment":          "Tue, 03 Nov 2026 09:08:07 +0100 (CET)",
		"a nested comment":   "Tue, 03 Nov 2026 09:08:07 +0100 (Central (European) Time)",
		"weekday of a local": "Di., 03 Nov 2026 09:08:07 +0100",
		"small letters":      "tue, 3 nov 2026 09:08:07 +0100",
		"zone in letters":    "Tue, 3 Nov 2026 08:08:07 GMT",
		"spaces":             "Tue,  3 Nov 2026  09:08:07 +0100",
		"asctime":            "Tue Nov 3 08:08:07 2026",
		"RFC 3339":           "2026-11-03T09:08:07+01:00",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := parseDate(in); !got.Equal(want) {
				t.Errorf("parseDate(%q) = %v", in, got)
			}
		})
	}
}

// FuzzUsualDate looks for what the short cut reads otherwise than net/mail does.
func FuzzUsualDate(f *testing.F) {
	for _, in := range []string{"23 Nov 2026 10:00:00 +0100", "3 Feb 0001 01:02:03 -0730", "30 Feb 2024 01:02:03 +2359"} {
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got, ok := usualDate(in, ' ')
		if !ok {
			return
		}
		if want, err := mail.ParseDate(in); err != nil || !got.Equal(want) {
			t.Errorf("usualDate(%q) = %v, net/mail has %v, %v", in, got, want, err)
		}
	})
}
