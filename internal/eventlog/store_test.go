package eventlog

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/natsdtest"
)

// TestPartOfABatchIsStored: a server that died while it committed a batch may
// have part of it. The writer finds how much, and stores the rest.
func TestPartOfABatchIsStored(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	js := natsdtest.JetStream(t, natsdtest.Start(t, natsd.Config{}))
	l, err := Open(ctx, js, Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	w, err := l.Writer(ctx, "ann", 0)
	if err != nil {
		t.Fatal(err)
	}
	var events []event.Event
	for i := range 5 {
		events = append(events, event.New("ann", uint64(i), time.Time{}, &event.AccountPaused{AccountRef: event.AccountAt("ann")}))
	}
	records, err := w.records(events)
	if err != nil {
		t.Fatal(err)
	}
	// The attempt's outcome is kept from the writer.
	if _, result, err := w.attempt(ctx, records[:2]); result != outcomeStored {
		t.Fatal(err)
	}
	if err := w.store(ctx, records); err != nil {
		t.Fatal(err)
	}
	var numbers []uint64
	if _, err := l.Replay(ctx, "ann", Head{}, func(e *Entry) error {
		numbers = append(numbers, e.Number)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(numbers, []uint64{1, 2, 3, 4, 5}) || w.head != (Head{Sequence: 5, Number: 5}) {
		t.Errorf("numbers %v, head %+v", numbers, w.head)
	}
}

// TestSubjects: what is asked of the server covers the filter and never
// overlaps, which the server would refuse.
func TestSubjects(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		filter Filter
		want   []string
	}{
		{"all", Filter{}, []string{"postern.events.>"}},
		{"account", Filter{Accounts: []string{"b", "a", "b"}}, []string{"postern.events.a.>", "postern.events.b.>"}},
		{"type", Filter{Types: []event.Type{event.TypeFolderReset}}, []string{"postern.events.*.folder.reset"}},
		{"both", Filter{Accounts: []string{"a"}, Types: []event.Type{event.TypeFolderReset}}, []string{"postern.events.a.folder.reset"}},
		{"bad account", Filter{Accounts: []string{">"}}, nil},
		{"unknown type", Filter{Types: []event.Type{"message.*"}}, nil},
		{"good and bad", Filter{Accounts: []string{"a", "x.y"}}, []string{"postern.events.a.>"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := tt.filter.subjects(); !slices.Equal(got, tt.want) {
				t.Errorf("subjects = %v, want %v", got, tt.want)
			}
		})
	}
}
