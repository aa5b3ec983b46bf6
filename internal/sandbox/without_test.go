package sandbox_test

import (
	"errors"
	"testing"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/sandbox"
)

// TestWithout: a server that does without extensions neither announces them nor
// lets on that it could.
func TestWithout(t *testing.T) {
	t.Parallel()
	s, err := sandbox.Start(t.Context(), sandbox.Config{Without: []imap.Cap{imap.CapUIDPlus, imap.CapMove, imap.CapSpecialUse}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	c := client(t, s, nil)
	for _, without := range []imap.Cap{imap.CapUIDPlus, imap.CapMove, imap.CapSpecialUse} {
		if c.Caps().Has(without) {
			t.Errorf("%s is announced", without)
		}
	}
	appending := c.Append("INBOX", 2, nil)
	_, _ = appending.Write([]byte("\r\n"))
	_ = appending.Close()
	if data, err := appending.Wait(); err != nil || data.UID != 0 {
		t.Errorf("append told %+v, %v", data, err)
	}
	selectFolder(t, c, "INBOX")
	if data, err := c.Copy(imap.UIDSetNum(1), "Archive").Wait(); err != nil || data.UIDValidity != 0 {
		t.Errorf("copy told %+v, %v", data, err)
	}
	var refused *imap.Error
	if err := c.UIDExpunge(imap.UIDSetNum(1)).Close(); !errors.As(err, &refused) || refused.Type != imap.StatusResponseTypeBad {
		t.Errorf("UID EXPUNGE: %v", err)
	}
	list, err := c.List("", "*", nil).Collect()
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range list {
		for _, attr := range data.Attrs {
			if attr == imap.MailboxAttrTrash {
				t.Errorf("%s is told to be %s", data.Mailbox, attr)
			}
		}
	}
}
