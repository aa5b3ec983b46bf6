package folder_test

import (
	"errors"
	"testing"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/folder"
)

func TestMessageID(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		id   folder.MessageID
		want string
	}{
		{"usual", folder.MessageID{Folder: folder.Key{1, 2, 3, 4, 5}, UIDValidity: 1700000000, UID: 42}, "04106105cl9v20000002k"},
		{"lowest", folder.MessageID{UID: 1}, "000000000000000000002"},
		{"highest", folder.MessageID{Folder: folder.Key{255, 255, 255, 255, 255}, UIDValidity: 1<<32 - 1, UID: 1<<32 - 1}, "vvvvvvvvvvvvvvvvvvvvu"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := tt.id.String(); got != tt.want {
				t.Errorf("String = %s, want %s", got, tt.want)
			}
			if got, err := folder.ParseMessageID(tt.want); err != nil || got != tt.id {
				t.Errorf("ParseMessageID = %v, %v, want %v", got, err, tt.id)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]string{
		"empty":         "",
		"short":         "00000000000000000002",
		"long":          "0000000000000000000020",
		"upper case":    "VVVVVVVVVVVVVVVVVVVVU",
		"stray bit":     "000000000000000000003",
		"UID zero":      "000000000000000000000",
		"line break":    "0000000000000000000\n02",
		"not base32":    "00000000000000000000z",
		"padding":       "000000000000000000002===",
		"a folder's id": "04106183",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := folder.ParseMessageID(s)
			if typed := (*folder.IDError)(nil); !errors.As(err, &typed) || typed.Kind != "message" {
				t.Errorf("ParseMessageID(%q) = %v, want *IDError", s, err)
			}
		})
	}
	for _, s := range []string{"", "0410618", "041061830", "0410618W", "0410618v\n", "v410618V"} {
		_, err := folder.ParseKey(s)
		if typed := (*folder.IDError)(nil); !errors.As(err, &typed) || typed.Kind != "folder" {
			t.Errorf("ParseKey(%q) = %v, want *IDError", s, err)
		}
	}
}

func FuzzParseMessageID(f *testing.F) {
	f.Add("000000000000000000002")
	f.Add("vvvvvvvvvvvvvvvvvvvvu")
	f.Add(folder.MessageID{Folder: folder.Key{1}, UIDValidity: 3, UID: imap.UID(9)}.String())
	f.Fuzz(func(t *testing.T, s string) {
		id, err := folder.ParseMessageID(s)
		if err != nil {
			return
		}
		if id.String() != s || id.UID == 0 {
			t.Fatalf("%q reads as %v", s, id)
		}
	})
}
