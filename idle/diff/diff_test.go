package diff

import (
	"math/rand/v2"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/google/go-cmp/cmp"
)

func flags(list ...imap.Flag) Flags { return MakeFlags(list) }

// mailbox has told of the UIDs 1 to 5, of which 3 is gone and 5 is seen.
func mailbox() *Mailbox {
	m := &Mailbox{UIDValidity: 7, UIDNext: 6, HighestModSeq: 10, UIDs: imap.UIDSet{{Start: 1, Stop: 2}, {Start: 4, Stop: 5}}}
	m.Flags.Set(4, "")
	m.Flags.Set(5, flags(imap.FlagSeen))
	return m
}

func TestCompare(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		look Look
		want []Change
	}{
		{name: "nothing seen is nothing changed"},
		{
			name: "new messages are told of by ascending UID",
			look: Look{Messages: []Message{{UID: 9}, {UID: 6, Flags: flags(imap.FlagFlagged)}, {UID: 7}}},
			want: []Change{
				{Kind: Created, UID: 6, After: flags(imap.FlagFlagged)},
				{Kind: Created, UID: 7},
				{Kind: Created, UID: 9},
			},
		},
		{
			name: "the last message answered to n:* is not new",
			look: Look{Messages: []Message{{UID: 5, Flags: flags(imap.FlagSeen)}}},
		},
		{
			name: "two reports of one message count once, the last one",
			look: Look{Messages: []Message{{UID: 6}, {UID: 6, Flags: flags(imap.FlagSeen)}}},
			want: []Change{{Kind: Created, UID: 6, After: flags(imap.FlagSeen)}},
		},
		{
			name: "an answer without UID is no message",
			look: Look{Messages: []Message{{UID: 0}}},
		},
		{
			name: "changed flags by ascending MODSEQ",
			look: Look{Messages: []Message{
				{UID: 4, Flags: flags(imap.FlagSeen), ModSeq: 22},
				{UID: 5, Flags: flags(imap.FlagSeen, imap.FlagAnswered), ModSeq: 21},
			}},
			want: []Change{
				{Kind: Updated, UID: 5, Before: flags(imap.FlagSeen), HasBefore: true, After: flags(imap.FlagAnswered, imap.FlagSeen), ModSeq: 21},
				{Kind: Updated, UID: 4, HasBefore: true, After: flags(imap.FlagSeen), ModSeq: 22},
			},
		},
		{
			name: "a change outside the window has no known before",
			look: Look{Messages: []Message{{UID: 1, Flags: flags(imap.FlagSeen), ModSeq: 20}}},
			want: []Change{{Kind: Updated, UID: 1, After: flags(imap.FlagSeen), ModSeq: 20}},
		},
		{
			name: "the same flags in another order and case are no change",
			look: Look{Messages: []Message{{UID: 5, Flags: flags(`\seen`, `\Recent`, `\SEEN`), ModSeq: 30}}},
		},
		{
			name: "a message that is late, and one that is given up",
			look: Look{
				Messages: []Message{{UID: 8}, {UID: 3, Flags: flags(imap.FlagSeen)}},
				Late:     imap.UIDSet{{Start: 3, Stop: 3}, {Start: 7, Stop: 7}}, Missing: imap.UIDSet{{Start: 7, Stop: 7}},
			},
			want: []Change{
				{Kind: Created, UID: 3, Late: true, After: flags(imap.FlagSeen)},
				{Kind: Created, UID: 8},
				{Kind: Missing, UID: 7},
			},
		},
		{
			name: "flags of a message that is gone are no change",
			look: Look{Messages: []Message{{UID: 3, Flags: flags(imap.FlagSeen), ModSeq: 30}}},
		},
		{
			name: "vanished UIDs that were never told of are left out",
			look: Look{Vanished: imap.UIDSet{{Start: 2, Stop: 4}, {Start: 100, Stop: 4294967295}}},
			want: []Change{{Kind: Deleted, UID: 2}, {Kind: Deleted, UID: 4}},
		},
		{
			name: "what is not listed is gone",
			look: Look{Present: imap.UIDSet{{Start: 1, Stop: 1}, {Start: 5, Stop: 5}}, HasPresent: true},
			want: []Change{{Kind: Deleted, UID: 2}, {Kind: Deleted, UID: 4}},
		},
		{
			name: "a folder listed as empty has lost all",
			look: Look{HasPresent: true},
			want: []Change{{Kind: Deleted, UID: 1}, {Kind: Deleted, UID: 2}, {Kind: Deleted, UID: 4}, {Kind: Deleted, UID: 5}},
		},
		{
			name: "vanished and unlisted is gone once",
			look: Look{Vanished: imap.UIDSet{{Start: 1, Stop: 1}}, Present: imap.UIDSet{{Start: 2, Stop: 5}}, HasPresent: true},
			want: []Change{{Kind: Deleted, UID: 1}},
		},
		{
			name: "what is held is not told of as gone",
			look: Look{
				Vanished: imap.UIDSet{{Start: 1, Stop: 2}}, Present: imap.UIDSet{{Start: 5, Stop: 5}}, HasPresent: true,
				Held: imap.UIDSet{{Start: 2, Stop: 2}, {Start: 9, Stop: 9}},
			},
			want: []Change{{Kind: Deleted, UID: 1}, {Kind: Deleted, UID: 4}},
		},
		{
			name: "new mail comes before flags, flags before deletions",
			look: Look{
				Messages: []Message{{UID: 4, Flags: flags(imap.FlagSeen), ModSeq: 11}, {UID: 6}},
				Vanished: imap.UIDSet{{Start: 1, Stop: 1}},
			},
			want: []Change{
				{Kind: Created, UID: 6},
				{Kind: Updated, UID: 4, HasBefore: true, After: flags(imap.FlagSeen), ModSeq: 11},
				{Kind: Deleted, UID: 1},
			},
		},
		{
			name: "the highest UID of all",
			look: Look{Messages: []Message{{UID: 4294967295}}},
			want: []Change{{Kind: Created, UID: 4294967295}},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			base := mailbox()
			got := Compare(base, &test.look)
			if difference := cmp.Diff(test.want, got, cmp.Transformer("nil", func(c []Change) []Change { return append([]Change{}, c...) })); difference != "" {
				t.Fatalf("changes (-want +got):\n%s", difference)
			}
			for _, change := range got {
				base.Apply(change)
			}
			base.Settle(&test.look)
			if again := Compare(base, &test.look); len(again) != 0 {
				t.Errorf("after telling of all, the same look still shows %+v", again)
			}
		})
	}
}

// server is the truth that the property test below plays against.
type server struct {
	next   imap.UID
	modSeq uint64
	mail   map[imap.UID]Message
}

func (s *server) step(random *rand.Rand) {
	s.modSeq++
	pick := imap.UID(random.IntN(int(s.next)) + 1)
	switch random.IntN(3) {
	case 0:
		s.mail[s.next] = Message{UID: s.next, ModSeq: s.modSeq}
		s.next += imap.UID(1 + random.IntN(3))
	case 1:
		if message, ok := s.mail[pick]; ok {
			message.ModSeq = s.modSeq
			message.Flags = []Flags{"", `\Seen`, `\Flagged \Seen`}[random.IntN(3)]
			s.mail[pick] = message
		}
	case 2:
		delete(s.mail, pick)
	}
}

func (s *server) look(base *Mailbox) Look {
	look := Look{HasPresent: true, HighestModSeq: s.modSeq}
	for uid, message := range s.mail {
		look.Present.AddNum(uid)
		if uid >= base.UIDNext || message.ModSeq > base.HighestModSeq {
			look.Messages = append(look.Messages, message)
		}
	}
	return look
}

// Told and applied in order, with an end at any point and a new look after it,
// the changes lead to what the server holds, and none is told twice.
func TestChangesLeadToTheServersState(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		truth := &server{next: 1, mail: map[imap.UID]Message{}}
		base := &Mailbox{UIDNext: 1}
		told := map[imap.UID]int{}
		for range 40 {
			for range random.IntN(8) {
				truth.step(random)
			}
			look := truth.look(base)
			changes := Compare(base, &look)
			interrupted := random.IntN(3) == 0
			if interrupted {
				changes = changes[:random.IntN(len(changes)+1)]
			}
			for _, change := range changes {
				if change.Kind == Created {
					told[change.UID]++
				}
				base.Apply(change)
			}
			if !interrupted {
				base.Settle(&look)
			}
		}
		look := truth.look(base)
		for _, change := range Compare(base, &look) {
			base.Apply(change)
		}
		if difference := cmp.Diff(look.Present.String(), base.UIDs.String()); difference != "" {
			t.Fatalf("seed %d: UIDs (-server +told):\n%s", seed, difference)
		}
		for uid, message := range truth.mail {
			if got, ok := base.Flags.Get(uid); ok && got != message.Flags {
				t.Fatalf("seed %d: UID %d has flags %q, told %q", seed, uid, message.Flags, got)
			}
		}
		for uid, times := range told {
			if times > 1 {
				t.Fatalf("seed %d: UID %d was told of %d times", seed, uid, times)
			}
		}
	}
}

func TestWindowKeepsTheNewest(t *testing.T) {
	t.Parallel()
	var window Window
	for uid := imap.UID(1); uid <= WindowSize+50; uid++ {
		window.Set(uid, Flags(imap.FlagSeen))
	}
	window.Set(3, "") // older than all that is kept
	if window.Len() != WindowSize {
		t.Fatalf("the window holds %d messages, want %d", window.Len(), WindowSize)
	}
	if _, ok := window.Get(50); ok {
		t.Error("UID 50 is still in the window")
	}
	for uid := imap.UID(51); uid <= WindowSize+50; uid++ {
		if got, ok := window.Get(uid); !ok || got != Flags(imap.FlagSeen) {
			t.Fatalf("UID %d: flags %q, known %v", uid, got, ok)
		}
	}
	window.Delete(100)
	window.Set(60, "")
	if got, ok := window.Get(60); !ok || got != "" || window.Len() != WindowSize-1 {
		t.Errorf("after a deletion: flags %q, known %v, %d messages", got, ok, window.Len())
	}
}
