package moves

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/kvbucket"
)

// SuccessorsBucket is the key-value bucket of successors.
const SuccessorsBucket = "postern_successors"

const (
	// keepSuccessors is for how long a folder's moves are remembered after the
	// last of them.
	keepSuccessors = 7 * 24 * time.Hour
	// maxSuccessors bounds the ranges that are remembered of one folder. A range
	// is any number of messages that were moved together.
	maxSuccessors = 4000
	// maxHops bounds the moves that are followed from one message.
	maxHops = 16
)

// Place is a folder under one UIDVALIDITY.
type Place struct {
	Folder      folder.Key
	UIDValidity uint32
}

// PlaceOf is where a message is.
func PlaceOf(id folder.MessageID) Place {
	return Place{Folder: id.Folder, UIDValidity: id.UIDValidity}
}

// Successors remembers for some days what messages became that were moved, by
// Postern or by others, so that who has an old name can be told the new one. It
// is for readers of names, as the [Ledger] is for the owner of the mailbox.
type Successors struct{ kv jetstream.KeyValue }

// OpenSuccessors makes or opens the bucket of successors. replicas is the number of NATS
// servers that keep a copy.
func OpenSuccessors(ctx context.Context, js jetstream.JetStream, replicas int) (*Successors, error) {
	kv, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket:      SuccessorsBucket,
		Description: "What messages became that were moved",
		TTL:         keepSuccessors,
		Storage:     jetstream.FileStorage,
		Replicas:    max(replicas, 1),
	})
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", SuccessorsBucket, err)
	}
	return &Successors{kv: kv}, nil
}

// succession is a range of messages that went to consecutive UIDs elsewhere.
type succession struct {
	from imap.UIDRange
	to   Place
	uid  imap.UID // of the first
}

// Record remembers that messages of a folder were moved. copied says which
// became which, as COPYUID does.
func (s *Successors) Record(ctx context.Context, account string, from, to Place, copied *imap.CopyData) error {
	more := pairRanges(copied, to)
	if len(more) == 0 {
		return nil
	}
	key := successorsKey(account, from)
	act := "record successors of account " + account
	return kvbucket.Change(ctx, act, func() error {
		known, revision, err := s.load(ctx, key)
		if err != nil {
			return err
		}
		more = slices.DeleteFunc(more, func(m succession) bool { return slices.Contains(known, m) })
		if len(more) == 0 {
			return nil
		}
		known = append(known, more...)
		known = known[max(0, len(known)-maxSuccessors):]
		if _, err := s.kv.Update(ctx, key, encodeSuccessors(known), revision); err != nil {
			return fmt.Errorf("%s: %w", act, err)
		}
		return nil
	})
}

// Find gives what a message has become by the last of its moves, and false if
// it is not known to have been moved.
func (s *Successors) Find(ctx context.Context, account string, id folder.MessageID) (folder.MessageID, bool, error) {
	found := false
	for range maxHops {
		known, _, err := s.load(ctx, successorsKey(account, PlaceOf(id)))
		if err != nil {
			return id, false, err
		}
		next, ok := lookUp(known, id.UID)
		if !ok {
			break
		}
		id, found = next, true
	}
	return id, found, nil
}

func lookUp(known []succession, uid imap.UID) (folder.MessageID, bool) {
	for i := len(known) - 1; i >= 0; i-- {
		if k := known[i]; k.from.Start <= uid && uid <= k.from.Stop {
			return folder.MessageID{Folder: k.to.Folder, UIDValidity: k.to.UIDValidity, UID: k.uid + uid - k.from.Start}, true
		}
	}
	return folder.MessageID{}, false
}

// pairRanges pairs the ranges of the two sets of COPYUID, each in its own order.
func pairRanges(copied *imap.CopyData, to Place) []succession {
	var pairs []succession
	source, dest := copied.SourceUIDs, copied.DestUIDs
	var s, d imap.UIDRange
	for {
		if s.Start == 0 {
			if len(source) == 0 {
				return pairs
			}
			s, source = source[0], source[1:]
		}
		if d.Start == 0 {
			if len(dest) == 0 {
				return pairs
			}
			d, dest = dest[0], dest[1:]
		}
		n := min(s.Stop-s.Start, d.Stop-d.Start) // one less than they have in common
		pairs = append(pairs, succession{from: imap.UIDRange{Start: s.Start, Stop: s.Start + n}, to: to, uid: d.Start})
		s, d = behind(s, n), behind(d, n)
	}
}

// behind is what is left of a range after its first n+1, the zero range if
// nothing is.
func behind(r imap.UIDRange, n imap.UID) imap.UIDRange {
	if r.Stop-r.Start == n {
		return imap.UIDRange{}
	}
	return imap.UIDRange{Start: r.Start + n + 1, Stop: r.Stop}
}

func (s *Successors) load(ctx context.Context, key string) ([]succession, uint64, error) {
	got, err := s.kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read successors: %w", err)
	}
	known, err := decodeSuccessors(got.Value())
	if err != nil {
		return nil, 0, fmt.Errorf("read successors of %s: %w", key, err)
	}
	return known, got.Revision(), nil
}

func successorsKey(account string, from Place) string {
	return fmt.Sprintf("%s.%s.%d", account, from.Folder, from.UIDValidity)
}

func encodeSuccessors(list []succession) []byte {
	var b []byte
	for _, m := range list {
		b = binary.AppendUvarint(b, uint64(m.from.Start))
		b = binary.AppendUvarint(b, uint64(m.from.Stop-m.from.Start))
		b = append(b, m.to.Folder[:]...)
		b = binary.AppendUvarint(b, uint64(m.to.UIDValidity))
		b = binary.AppendUvarint(b, uint64(m.uid))
	}
	return b
}

var errSuccessors = errors.New("successors have an unknown form")

func decodeSuccessors(b []byte) ([]succession, error) {
	var list []succession
	number := func() uint32 {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > 1<<32-1 {
			b = nil
			return 0
		}
		b = b[size:]
		return uint32(n)
	}
	for len(b) > 0 {
		var m succession
		m.from.Start = imap.UID(number())
		m.from.Stop = m.from.Start + imap.UID(number())
		if len(b) < len(m.to.Folder) {
			return nil, errSuccessors
		}
		m.to.Folder, b = folder.Key(b[:len(m.to.Folder)]), b[len(m.to.Folder):]
		m.to.UIDValidity = number()
		m.uid = imap.UID(number())
		if m.from.Start == 0 || m.from.Stop < m.from.Start || m.uid == 0 {
			return nil, errSuccessors
		}
		list = append(list, m)
	}
	return list, nil
}
