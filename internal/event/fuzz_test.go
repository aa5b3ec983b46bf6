package event_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postern-mail/postern/internal/event"
)

func FuzzParseCheckpoint(f *testing.F) {
	for _, seed := range []string{
		event.Checkpoint{Folder: inbox, UIDValidity: 1700000000, UID: 42, ModSeq: 998877}.String(),
		"1.04106183.0.0.0", "1.04106183.00.0.0", "2.04106183.1.1.1", "1.04106183.4294967296.1.1", "1....", "",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := event.ParseCheckpoint(s)
		if err != nil {
			if typed := (*event.CheckpointError)(nil); !errors.As(err, &typed) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		if c.String() != s {
			t.Fatalf("%q reads as %+v, which writes as %q", s, c, c)
		}
	})
}

func FuzzParseSubject(f *testing.F) {
	f.Add(event.Subject("ann", event.TypeMessageCreated))
	f.Add("postern.events.a.b")
	f.Fuzz(func(t *testing.T, s string) {
		account, typ, err := event.ParseSubject(s)
		if err == nil && event.Subject(account, typ) != s {
			t.Fatalf("%q reads as %q and %q", s, account, typ)
		}
	})
}

func FuzzDecode(f *testing.F) {
	for _, data := range []event.Data{created(), updated(0), &event.AccountGap{AccountRef: event.AccountAt("ann")}} {
		body, err := event.New("ann", 1, found, data).Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		e, err := event.Decode(body)
		if err != nil {
			return
		}
		again, err := e.Encode()
		if err != nil {
			return // its data is no JSON that Encode would have written
		}
		back, err := event.Decode(again)
		if err != nil {
			t.Fatalf("cannot read back %s: %v", again, err)
		}
		if back.ID != e.ID || back.Type != e.Type || back.Number != e.Number {
			t.Fatalf("%s", cmp.Diff(e, back))
		}
	})
}
