package submit

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestIDsSpreadOverTheShards(t *testing.T) {
	t.Parallel()
	now := time.Now()
	got := map[int]int{}
	for range 1000 {
		id := NewID(now)
		if len(id) != idLength || olderThan(id, now.Add(-time.Minute)) || !olderThan(id, now.Add(time.Minute)) {
			t.Fatalf("the id %q", id)
		}
		got[shardOf(id)]++
	}
	for shard := range shardCount {
		if got[shard] < 100 {
			t.Errorf("%d of 1000 ids are in shard %d", got[shard], shard)
		}
	}
	if plan := NewID(now); shardOf(MergedID(plan, 0)) == shardOf(MergedID(plan, 1)) || shardOf(MergedID(plan, 1)) != shardOf(MergedID(plan, 1+shardCount)) {
		t.Error("what is planned together is not spread evenly")
	}
	// What earlier versions have stored, and what is no id at all.
	for _, id := range []string{"06h1n7oou656crs5fqoeccg", "06h1n7oou656crs5fqoeccg-007", "", "x", "06h1n7oou656crs5fqoeccgz"} {
		if shard := shardOf(id); shard != 0 {
			t.Errorf("%q is in shard %d", id, shard)
		}
	}
}

func TestMessageIDsLeadToTheirSubmissions(t *testing.T) {
	t.Parallel()
	id := NewID(time.Now())
	messageID := NewMessageID(id, "example.org")
	if got, ok := idIn(messageID); !ok || got != id || !strings.HasSuffix(messageID, "@example.org") || messageID == NewMessageID(id, "example.org") {
		t.Errorf("%q leads to %q", messageID, got)
	}
	if keys := sentKeys(&Submission{ID: id, Account: "ann", MessageID: messageID}); len(keys) != 0 {
		t.Errorf("it is indexed as well: %q", keys)
	}
	merged := MergedID(id, 3)
	if messageID := NewMessageID(merged, "example.org"); strings.Contains(messageID, id) || strings.Contains(messageID, "003") {
		t.Errorf("%q tells of the others", messageID)
	} else if keys := sentKeys(&Submission{ID: merged, Account: "ann", MessageID: messageID}); len(keys) != 1 {
		t.Errorf("it is not indexed: %q", keys)
	}
	for _, foreign := range []string{"", "1@example.org", "a.b@example.org", strings.Repeat("x", 100)} {
		if got, ok := idIn(foreign); ok {
			t.Errorf("%q leads to %q", foreign, got)
		}
	}
}

func TestRecordsKeepSmallMessagesWhileTheyAreNeeded(t *testing.T) {
	t.Parallel()
	message := []byte("Subject: {\n}\r\n\r\n\"\\\x00\xff\n")
	for _, test := range []struct {
		state State
		saved bool
		kept  bool
	}{{Queued, false, true}, {Sending, false, true}, {Sent, false, true}, {Sent, true, false}, {Failed, true, true}, {Canceled, true, false}, {Uncertain, true, true}} {
		s := &Submission{ID: "x", State: test.state, Saved: test.saved, message: message}
		value, err := s.encode()
		if err != nil {
			t.Fatal(err)
		}
		got := &Submission{}
		if err := got.decode(value); err != nil {
			t.Fatal(err)
		}
		if got.State != test.state || (got.message != nil) != test.kept || test.kept && string(got.message) != string(message) {
			t.Errorf("%s, saved %v: %q became %+v", test.state, test.saved, value, got)
		}
	}
	// What earlier versions have stored has none.
	old := &Submission{}
	if err := old.decode([]byte(`{"id":"y","account":"ann","state":"QUEUED"}`)); err != nil || old.message != nil || old.bodyRef() != messageRef("ann", "y") {
		t.Errorf("%+v, %v", old, err)
	}
	for _, broken := range []string{"", "{", "null x", "[]"} {
		if err := (&Submission{}).decode([]byte(broken)); err == nil && broken != "null x" {
			t.Errorf("%q was read", broken)
		}
	}
}

func FuzzRecord(f *testing.F) {
	s := &Submission{ID: "x", Account: "ann", State: Queued, message: []byte("Subject: Hi\r\n\r\nHello\r\n")}
	value, err := s.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(value)
	f.Add([]byte(`{"id":"y","account":"ann","state":"SENT"}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		got := &Submission{}
		if got.decode(value) != nil {
			return
		}
		again, err := got.encode()
		if err != nil {
			return // a time that JSON reads and does not write
		}
		second := &Submission{}
		if err := second.decode(again); err != nil || !got.messageDone() && string(second.message) != string(got.message) || fmt.Sprint(second.Recipients) != fmt.Sprint(got.Recipients) {
			t.Errorf("%q became %q (%v)", value, again, err)
		}
	})
}
