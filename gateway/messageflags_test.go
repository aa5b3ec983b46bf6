package gateway

import (
	"errors"
	"testing"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/imapconn"
)

// What a mailbox would take and forget is refused, by name.
func TestCheckKeepable(t *testing.T) {
	t.Parallel()
	known := []imap.Flag{imap.FlagSeen, "$Known"}
	for name, tt := range map[string]struct {
		box     imapconn.SelectData
		flags   []imap.Flag
		refused string
		reason  reason
	}{
		"kept":                 {imapconn.SelectData{PermanentFlags: known}, []imap.Flag{imap.FlagSeen, "$known"}, "", ""},
		"unknown keyword":      {imapconn.SelectData{PermanentFlags: known}, []imap.Flag{imap.FlagSeen, "$Unknown"}, "$Unknown", reasonIMAPCannot},
		"new keywords":         {imapconn.SelectData{PermanentFlags: append(known, imap.FlagWildcard)}, []imap.Flag{"$Unknown"}, "", ""},
		"wildcard is no flag":  {imapconn.SelectData{PermanentFlags: append(known, imap.FlagWildcard)}, []imap.Flag{imap.FlagFlagged}, `\Flagged`, reasonIMAPCannot},
		"not told":             {imapconn.SelectData{}, []imap.Flag{"$Unknown", imap.FlagFlagged}, "", ""},
		"none can be kept":     {imapconn.SelectData{PermanentFlags: []imap.Flag{}}, []imap.Flag{imap.FlagSeen}, `\Seen`, reasonIMAPCannot},
		"read-only":            {imapconn.SelectData{ReadOnly: true, PermanentFlags: known}, []imap.Flag{imap.FlagSeen}, "", reasonIMAPNoPerm},
		"read-only, no change": {imapconn.SelectData{ReadOnly: true}, nil, "", reasonIMAPNoPerm},
	} {
		err := checkKeepable(&tt.box, tt.flags)
		var f *failure
		if !errors.As(err, &f) {
			f = &failure{}
		}
		if f.reason != tt.reason || f.metadata["flag"] != tt.refused {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// The etag of flags does not depend on their case or order, nor on \Recent,
// which is another one in each session.
func TestFlagsEtag(t *testing.T) {
	t.Parallel()
	want := flagsEtag([]imap.Flag{imap.FlagSeen, "$Work"}, 0)
	if got := flagsEtag([]imap.Flag{"$work", `\Recent`, `\seen`}, 0); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := flagsEtag([]imap.Flag{imap.FlagSeen}, 0); got == want {
		t.Error("other flags have the same etag")
	}
}
