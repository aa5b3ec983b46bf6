package folder

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"

	"github.com/emersion/go-imap/v2"
)

// Snapshot is what an owner remembers of a folder, as of a position in the
// event log. Events behind that position bring it up to date, so a snapshot may
// be old, but never wrong.
type Snapshot struct {
	// Sequence is the position in the event log: all events of the account up
	// to it are part of the snapshot.
	Sequence uint64
	// Number is the number of the account's event there.
	Number        uint64
	UIDValidity   uint32
	UIDNext       imap.UID
	HighestModSeq uint64
	// UIDs are the messages known to be there, as sorted, disjoint ranges.
	// UIDsUnknown says that they are not known.
	UIDs        imap.UIDSet
	UIDsUnknown bool
	// Excluded says that the folder was not watched, so that what is known of it
	// no longer holds.
	Excluded bool
	// Overflowing says that more had changed than is told at once, and that this
	// was announced.
	Overflowing bool
	// Backfill is above the messages that are yet to be told of as being there
	// before the account was registered; 0 when none are.
	Backfill imap.UID
	// Reused is above the UIDs that the server may give to other messages; 0
	// unless it was seen to.
	Reused imap.UID
	// Flags are those of the newest messages, by ascending UID.
	Flags []MessageFlags
	// Identities are the email ids of the newest messages, by ascending UID. By
	// them mail is known again where it was moved, and after a change of
	// UIDVALIDITY.
	Identities []Identity

	// Revision is that of the stored snapshot which this one is to replace, 0
	// when there is none. It is not part of what is stored.
	Revision uint64
	// Parts says that the stored snapshot is in parts. It goes with Revision.
	Parts bool
}

// Identity is what one message is, wherever it is; at most 255 bytes.
type Identity struct {
	UID     imap.UID
	EmailID string
}

// MessageFlags are the flags of one message, in a form of the owner's choice.
type MessageFlags struct {
	UID   imap.UID
	Flags string
}

// snapshotVersion is the first byte of an encoded snapshot; what follows is
// compressed by DEFLATE.
const snapshotVersion = 2

// encode writes a snapshot as varints, flags as indexes into a table of the
// values that occur.
func (s *Snapshot) encode() []byte {
	var b []byte
	b = binary.AppendUvarint(b, s.Sequence)
	b = binary.AppendUvarint(b, s.Number)
	b = binary.AppendUvarint(b, uint64(s.UIDValidity))
	b = binary.AppendUvarint(b, uint64(s.UIDNext))
	b = binary.AppendUvarint(b, s.HighestModSeq)
	bits := uint64(0)
	for i, set := range []bool{s.UIDsUnknown, s.Excluded, s.Overflowing} {
		if set {
			bits |= 1 << i
		}
	}
	b = binary.AppendUvarint(b, bits)
	b = binary.AppendUvarint(b, uint64(s.Backfill))
	b = binary.AppendUvarint(b, uint64(s.Reused))
	b = appendUIDs(b, s.UIDs)
	b = s.appendFlags(b)
	return compress(s.appendIdentities(b))
}

func (s *Snapshot) appendFlags(b []byte) []byte {
	table := map[string]uint64{}
	var values []string
	for _, m := range s.Flags {
		if _, ok := table[m.Flags]; !ok {
			table[m.Flags] = uint64(len(values))
			values = append(values, m.Flags)
		}
	}
	b = binary.AppendUvarint(b, uint64(len(values)))
	for _, value := range values {
		b = binary.AppendUvarint(b, uint64(len(value)))
		b = append(b, value...)
	}
	b = binary.AppendUvarint(b, uint64(len(s.Flags)))
	last := imap.UID(0)
	for _, m := range s.Flags {
		b = binary.AppendUvarint(b, uint64(m.UID-last))
		b = binary.AppendUvarint(b, table[m.Flags])
		last = m.UID
	}
	return b
}

func (s *Snapshot) appendIdentities(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(s.Identities)))
	last := imap.UID(0)
	for _, m := range s.Identities {
		b = binary.AppendUvarint(b, uint64(m.UID-last))
		b = binary.AppendUvarint(b, uint64(len(m.EmailID)))
		b = append(b, m.EmailID...)
		last = m.UID
	}
	return b
}

func compress(b []byte) []byte {
	var out bytes.Buffer
	out.WriteByte(snapshotVersion)
	w := writers.Get().(*flate.Writer)
	defer writers.Put(w)
	w.Reset(&out)
	_, _ = w.Write(b) // into memory
	_ = w.Close()
	return out.Bytes()
}

// writers are kept, because each takes more memory than most snapshots.
var writers = sync.Pool{New: func() any {
	w, _ := flate.NewWriter(nil, flate.BestSpeed) // fails only for an unknown level
	return w
}}

// errSnapshot reports bytes that are not a snapshot.
var errSnapshot = errors.New("not a folder snapshot")

// maxSnapshot bounds an encoded snapshot once it is decompressed.
const maxSnapshot = 64 << 20

func decodeSnapshot(value []byte) (*Snapshot, error) {
	if len(value) == 0 || value[0] != snapshotVersion {
		return nil, errSnapshot
	}
	b, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(value[1:])), maxSnapshot))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errSnapshot, err)
	}
	d := &snapshotReader{b: b}
	s := &Snapshot{
		Sequence:      d.number(math.MaxUint64),
		Number:        d.number(math.MaxUint64),
		UIDValidity:   uint32(d.number(math.MaxUint32)),
		UIDNext:       imap.UID(d.number(math.MaxUint32)),
		HighestModSeq: d.number(math.MaxUint64),
	}
	bits := d.number(7)
	s.UIDsUnknown, s.Excluded, s.Overflowing = bits&1 != 0, bits&2 != 0, bits&4 != 0
	s.Backfill = imap.UID(d.number(math.MaxUint32))
	s.Reused = imap.UID(d.number(math.MaxUint32))
	s.UIDs = d.uids()
	s.Flags = d.flags()
	s.Identities = d.identities()
	if d.bad || len(d.b) > 0 {
		return nil, errSnapshot
	}
	return s, nil
}

// snapshotReader reads what encode wrote. After a fault it is bad and reads
// zeros.
type snapshotReader struct {
	b   []byte
	bad bool
}

func (d *snapshotReader) number(limit uint64) uint64 {
	n, size := binary.Uvarint(d.b)
	if size <= 0 || n > limit {
		d.fail()
		return 0
	}
	d.b = d.b[size:]
	return n
}

// count reads how many items of at least the given size follow.
func (d *snapshotReader) count(size int) int {
	return int(d.number(uint64(len(d.b) / size)))
}

func (d *snapshotReader) bytes(n int) []byte {
	if n > len(d.b) {
		d.fail()
		return make([]byte, n)
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

func (d *snapshotReader) fail() { d.bad, d.b = true, nil }

func (d *snapshotReader) identities() []Identity {
	var list []Identity
	last := uint64(0)
	for range d.count(2) {
		uid := last + d.number(math.MaxUint32)
		emailID := string(d.bytes(d.count(1)))
		if uid == last || uid > math.MaxUint32 {
			d.fail()
			return nil
		}
		list = append(list, Identity{UID: imap.UID(uid), EmailID: emailID})
		last = uid
	}
	return list
}

func (d *snapshotReader) flags() []MessageFlags {
	values := make([]string, d.count(1))
	for i := range values {
		values[i] = string(d.bytes(d.count(1)))
	}
	var list []MessageFlags
	last := uint64(0)
	for range d.count(2) {
		uid := last + d.number(math.MaxUint32)
		index := d.number(math.MaxUint32)
		if uid == last || uid > math.MaxUint32 || index >= uint64(len(values)) {
			d.fail()
			return nil
		}
		list = append(list, MessageFlags{UID: imap.UID(uid), Flags: values[index]})
		last = uid
	}
	return list
}
