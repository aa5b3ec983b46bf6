package sandbox_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/postern-mail/postern/internal/sandbox"
)

// TestIdleHasNoGap delivers many messages while a client goes in and out of
// IDLE: each has to be pushed, whenever it comes.
func TestIdleHasNoGap(t *testing.T) {
	t.Parallel()
	s := start(t)
	exists := make(chan uint32, 256)
	c := client(t, s, &imapclient.Options{UnilateralDataHandler: &imapclient.UnilateralDataHandler{
		Mailbox: func(data *imapclient.UnilateralDataMailbox) {
			if data.NumMessages != nil {
				exists <- *data.NumMessages
			}
		},
	}})
	have := selectFolder(t, c, "INBOX").NumMessages
	raw, err := s.NewMail()
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		delivered := make(chan error, 1)
		go func() {
			_, err := s.Deliver(context.Background(), sandbox.Username, "INBOX", raw)
			delivered <- err
		}()
		idle, err := c.Idle()
		if err != nil {
			t.Fatal(err)
		}
		have++
		awaitExists(t, exists, have)
		if err := <-delivered; err != nil {
			t.Fatal(err)
		}
		if err := idle.Close(); err != nil {
			t.Fatal(err)
		}
		if err := idle.Wait(); err != nil {
			t.Fatal(err)
		}
	}
}

func awaitExists(t *testing.T, exists <-chan uint32, want uint32) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		select {
		case n := <-exists:
			if n == want {
				return
			}
		case <-deadline.C:
			t.Fatalf("IDLE never said %d EXISTS", want)
		}
	}
}

// TestFetchOfUnannounced has one connection fetch while mail comes in: no answer
// may have the number 0, which go-imap's client takes as the end.
func TestFetchOfUnannounced(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := client(t, s, nil)
	selectFolder(t, c, "Archive")
	raw, err := s.NewMail()
	if err != nil {
		t.Fatal(err)
	}
	delivered := make(chan error, 1)
	go func() {
		for range 200 {
			if _, err := s.Deliver(context.Background(), sandbox.Username, "Archive", raw); err != nil {
				delivered <- err
				return
			}
		}
		delivered <- nil
	}()
	var all imap.UIDSet
	all.AddRange(1, 0)
	for done := false; !done; {
		select {
		case err := <-delivered:
			if err != nil {
				t.Fatal(err)
			}
			done = true
		default:
		}
		messages, err := c.Fetch(all, &imap.FetchOptions{UID: true}).Collect()
		if err != nil {
			t.Fatal(err)
		}
		for _, message := range messages {
			if message.SeqNum == 0 {
				t.Fatalf("UID %d has the number 0", message.UID)
			}
		}
	}
}

func TestMoveExpungesOnce(t *testing.T) {
	t.Parallel()
	s := start(t)
	expunged := make(chan uint32, 16)
	c := client(t, s, &imapclient.Options{UnilateralDataHandler: &imapclient.UnilateralDataHandler{
		Expunge: func(seqNum uint32) { expunged <- seqNum },
	}})
	before := selectFolder(t, c, "INBOX").NumMessages
	data, err := c.Move(imap.UIDSetNum(2, 5), "Archive").Wait()
	if err != nil {
		t.Fatal(err)
	}
	if got := data.SourceUIDs.String(); got != "2,5" {
		t.Errorf("COPYUID's source is %s, want 2,5", got)
	}
	if err := c.Noop().Wait(); err != nil {
		t.Fatal(err)
	}
	close(expunged)
	var got []uint32
	for seqNum := range expunged {
		got = append(got, seqNum)
	}
	if !slices.Equal(got, []uint32{5, 2}) {
		t.Errorf("EXPUNGE of %v, want 5, then 2", got)
	}
	if after := c.Mailbox().NumMessages; after != before-2 {
		t.Errorf("%d messages, want %d", after, before-2)
	}
	if n := selectFolder(t, c, "Archive").NumMessages; n != 3 {
		t.Errorf("the target has %d messages, want 3", n)
	}
}

func TestCopyOfNothing(t *testing.T) {
	t.Parallel()
	c := client(t, start(t), nil)
	selectFolder(t, c, "INBOX")
	if _, err := c.Copy(imap.UIDSetNum(4000), "Archive").Wait(); err != nil {
		t.Error(err)
	}
	if _, err := c.Move(imap.UIDSetNum(4000), "Archive").Wait(); err != nil {
		t.Error(err)
	}
}

// TestCopyInOppositeDirections deadlocks on the in-memory server as it is.
func TestCopyInOppositeDirections(t *testing.T) {
	t.Parallel()
	s := start(t)
	copying := func(from, to string) chan error {
		c := client(t, s, nil)
		selectFolder(t, c, from)
		done := make(chan error, 1)
		go func() {
			for range 200 {
				if _, err := c.Copy(imap.UIDSetNum(1), to).Wait(); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
		return done
	}
	there, back := copying("INBOX", "Sent"), copying("Sent", "INBOX")
	deadline := time.After(patience)
	for _, done := range []chan error{there, back} {
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-deadline:
			t.Fatal("the copies wait for each other")
		}
	}
}

func TestExamineChangesNothing(t *testing.T) {
	t.Parallel()
	c := client(t, start(t), nil)
	data, err := c.Select("INBOX", &imap.SelectOptions{ReadOnly: true}).Wait()
	if err != nil {
		t.Fatal(err)
	}
	if len(data.PermanentFlags) != 0 {
		t.Errorf("permanent flags %v in a mailbox that is open for reading", data.PermanentFlags)
	}
	const unread = 2
	body := &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{{}}}
	if _, err := c.Fetch(imap.UIDSetNum(unread), body).Collect(); err != nil {
		t.Fatal(err)
	}
	flags, err := c.Fetch(imap.UIDSetNum(unread), &imap.FetchOptions{Flags: true}).Collect()
	if err != nil || len(flags) != 1 || len(flags[0].Flags) != 0 {
		t.Errorf("flags after reading: %v, %v", flags, err)
	}
	if err := c.Store(imap.UIDSetNum(unread), &imap.StoreFlags{Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close(); err == nil {
		t.Error("STORE was accepted")
	}
	if _, err := c.Move(imap.UIDSetNum(unread), "Trash").Wait(); err == nil {
		t.Error("MOVE was accepted")
	}
}

func TestCreateRenameDelete(t *testing.T) {
	t.Parallel()
	c := client(t, start(t), nil)
	for _, step := range []struct {
		name    string
		do      func() error
		refused bool
	}{
		{"create with its parents", func() error { return c.Create("A/B/C", nil).Wait() }, false},
		{"create again", func() error { return c.Create("A/B", nil).Wait() }, true},
		{"create with an empty name", func() error { return c.Create("A//D", nil).Wait() }, true},
		{"delete with children", func() error { return c.Delete("A/B").Wait() }, true},
		{"rename with children", func() error { return c.Rename("A", "Z", nil).Wait() }, false},
		{"rename below itself", func() error { return c.Rename("Z", "Z/Y", nil).Wait() }, true},
		{"rename over another", func() error { return c.Rename("Z", "Sent", nil).Wait() }, true},
		{"select the renamed child", func() error { _, err := c.Select("Z/B/C", nil).Wait(); return err }, false},
		{"select the old name", func() error { _, err := c.Select("A/B/C", nil).Wait(); return err }, true},
		{"delete", func() error { return c.Delete("Z/B/C").Wait() }, false},
		{"delete INBOX", func() error { return c.Delete("INBOX").Wait() }, true},
	} {
		if err := step.do(); (err != nil) != step.refused {
			t.Errorf("%s: %v, want a refusal: %v", step.name, err, step.refused)
		}
	}
	listed, err := c.List("", "Z*", nil).Collect()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, data := range listed {
		names = append(names, data.Mailbox)
	}
	if want := []string{"Z", "Z/B"}; !slices.Equal(names, want) {
		t.Errorf("LIST gave %v, want %v", names, want)
	}
}

func TestAppend(t *testing.T) {
	t.Parallel()
	c := client(t, start(t), nil)
	const raw = "Subject: draft\r\n\r\nhello\r\n"
	send := func(folder string) (*imap.AppendData, error) {
		cmd := c.Append(folder, int64(len(raw)), &imap.AppendOptions{Flags: []imap.Flag{imap.FlagDraft}})
		if _, err := cmd.Write([]byte(raw)); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Close(); err != nil {
			t.Fatal(err)
		}
		return cmd.Wait()
	}
	if _, err := send("Nowhere"); err == nil {
		t.Error("APPEND to a folder that there is not was accepted")
	}
	data, err := send("Drafts")
	if err != nil {
		t.Fatal(err)
	}
	selectFolder(t, c, "Drafts")
	section := &imap.FetchItemBodySection{Peek: true}
	got, err := c.Fetch(imap.UIDSetNum(data.UID), &imap.FetchOptions{Flags: true, BodySection: []*imap.FetchItemBodySection{section}}).Collect()
	if err != nil || len(got) != 1 {
		t.Fatalf("%d messages, %v", len(got), err)
	}
	if string(got[0].FindBodySection(section)) != raw || !slices.Contains(got[0].Flags, imap.FlagDraft) {
		t.Errorf("got %q with %v", got[0].FindBodySection(section), got[0].Flags)
	}
}

func TestSubscribe(t *testing.T) {
	t.Parallel()
	c := client(t, start(t), nil)
	subscribed := func() bool {
		listed, err := c.List("", "Junk", &imap.ListOptions{ReturnSubscribed: true}).Collect()
		if err != nil || len(listed) != 1 {
			t.Fatalf("LIST: %d folders, %v", len(listed), err)
		}
		return slices.Contains(listed[0].Attrs, imap.MailboxAttrSubscribed)
	}
	if !subscribed() {
		t.Fatal("the sample's Junk is not subscribed")
	}
	for _, step := range []struct {
		do   func(string) *imapclient.Command
		want bool
	}{{c.Unsubscribe, false}, {c.Subscribe, true}} {
		if err := step.do("Junk").Wait(); err != nil {
			t.Fatal(err)
		}
		if got := subscribed(); got != step.want {
			t.Errorf("subscribed: %v, want %v", got, step.want)
		}
	}
	if err := c.Subscribe("Nowhere").Wait(); err == nil {
		t.Error("SUBSCRIBE of a folder that there is not was accepted")
	}
}
