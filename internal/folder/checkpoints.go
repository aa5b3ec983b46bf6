package folder

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/emersion/go-imap/v2"
	"github.com/nats-io/nats.go/jetstream"
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
	// Flags are those of the newest messages, by ascending UID.
	Flags []MessageFlags
	// Identities are short hashes of the newest messages' email ids, by which
	// mail is known again after a change of UIDVALIDITY.
	Identities []uint64
}

// MessageFlags are the flags of one message, in a form of the owner's choice.
type MessageFlags struct {
	UID   imap.UID
	Flags string
}

// Checkpoints keeps the snapshots of all folders. Only the owner of an account
// writes there; what keeps two owners apart is the event log's
// compare-and-set.
type Checkpoints struct{ kv jetstream.KeyValue }

// NewCheckpoints returns the checkpoints that are kept in a bucket of
// [OpenBucket].
func NewCheckpoints(kv jetstream.KeyValue) *Checkpoints { return &Checkpoints{kv: kv} }

// Load returns the snapshots of an account's folders.
func (c *Checkpoints) Load(ctx context.Context, account string) (map[Key]*Snapshot, error) {
	keys, err := c.keys(ctx, account)
	if err != nil {
		return nil, err
	}
	snapshots := make(map[Key]*Snapshot, len(keys))
	for _, name := range keys {
		key, err := ParseKey(strings.TrimPrefix(name, snapshotKey(account, "")))
		if err != nil {
			return nil, fmt.Errorf("checkpoints of account %s: %w", account, err)
		}
		entry, err := c.kv.Get(ctx, name)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read checkpoint %s: %w", name, err)
		}
		if snapshots[key], err = decodeSnapshot(entry.Value()); err != nil {
			return nil, fmt.Errorf("read checkpoint %s: %w", name, err)
		}
	}
	return snapshots, nil
}

func (c *Checkpoints) keys(ctx context.Context, account string) ([]string, error) {
	lister, err := c.kv.ListKeysFiltered(ctx, snapshotKey(account, "*"))
	if err != nil {
		return nil, fmt.Errorf("list checkpoints of account %s: %w", account, err)
	}
	var keys []string
	for key := range lister.Keys() {
		keys = append(keys, key)
	}
	return keys, nil
}

// Save stores a folder's snapshot.
func (c *Checkpoints) Save(ctx context.Context, account string, key Key, s *Snapshot) error {
	value := s.encode()
	// A folder so full of holes that its UIDs do not fit goes without them:
	// they are listed anew when they are needed.
	if limit := c.maxValue(); len(value) > limit {
		without := *s
		without.UIDs, without.UIDsUnknown = nil, true
		value = without.encode()
	}
	if _, err := c.kv.Put(ctx, snapshotKey(account, key.String()), value); err != nil {
		return fmt.Errorf("save checkpoint of folder %s of account %s: %w", key, account, err)
	}
	return nil
}

// maxValue leaves room for a message's headers in what NATS servers take by
// default, one megabyte.
func (c *Checkpoints) maxValue() int { return 1<<20 - 4<<10 }

// Delete drops a folder's snapshot.
func (c *Checkpoints) Delete(ctx context.Context, account string, key Key) error {
	if err := c.kv.Purge(ctx, snapshotKey(account, key.String())); err != nil {
		return fmt.Errorf("delete checkpoint of folder %s of account %s: %w", key, account, err)
	}
	return nil
}

// First is what an owner found when it listed an account's folders for the
// first time.
type First struct {
	// Incarnation tells this registration of the account from an earlier one
	// under the same id.
	Incarnation string `json:"incarnation"`
	// Folders were there before the account was registered, so their mail is
	// old; a folder that is none of them is new, and all in it.
	Folders []Key `json:"folders"`
}

// LoadFirst returns what SaveFirst stored, or nil.
func (c *Checkpoints) LoadFirst(ctx context.Context, account string) (*First, error) {
	entry, err := c.kv.Get(ctx, firstKey(account))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the first folders of account %s: %w", account, err)
	}
	first := new(First)
	if err := json.Unmarshal(entry.Value(), first); err != nil {
		return nil, fmt.Errorf("decode the first folders of account %s: %w", account, err)
	}
	return first, nil
}

// SaveFirst stores what was found first.
func (c *Checkpoints) SaveFirst(ctx context.Context, account string, first *First) error {
	value, err := json.Marshal(first)
	if err != nil {
		return fmt.Errorf("encode the first folders of account %s: %w", account, err)
	}
	if _, err := c.kv.Put(ctx, firstKey(account), value); err != nil {
		return fmt.Errorf("save the first folders of account %s: %w", account, err)
	}
	return nil
}

func firstKey(account string) string { return "first." + account }

// Forget drops all that is kept about an account.
func (c *Checkpoints) Forget(ctx context.Context, account string) error {
	keys, err := c.keys(ctx, account)
	if err != nil {
		return err
	}
	for _, key := range append(keys, firstKey(account)) {
		if err := c.kv.Purge(ctx, key); err != nil {
			return fmt.Errorf("forget checkpoint %s: %w", key, err)
		}
	}
	return nil
}

func snapshotKey(account, key string) string { return "state." + account + "." + key }

// snapshotVersion is the first byte of an encoded snapshot; what follows is
// compressed by DEFLATE.
const snapshotVersion = 1

// encode writes a snapshot as varints: UIDs as alternating gaps and lengths,
// flags as indexes into a table of the values that occur.
func (s *Snapshot) encode() []byte {
	var b []byte
	b = binary.AppendUvarint(b, s.Sequence)
	b = binary.AppendUvarint(b, s.Number)
	b = binary.AppendUvarint(b, uint64(s.UIDValidity))
	b = binary.AppendUvarint(b, uint64(s.UIDNext))
	b = binary.AppendUvarint(b, s.HighestModSeq)
	unknown := uint64(0)
	if s.UIDsUnknown {
		unknown = 1
	}
	b = binary.AppendUvarint(b, unknown)
	b = binary.AppendUvarint(b, uint64(len(s.UIDs)))
	last := uint64(0)
	for _, r := range s.UIDs {
		b = binary.AppendUvarint(b, uint64(r.Start)-last)
		b = binary.AppendUvarint(b, uint64(r.Stop)-uint64(r.Start))
		last = uint64(r.Stop)
	}
	b = s.appendFlags(b)
	b = binary.AppendUvarint(b, uint64(len(s.Identities)))
	for _, id := range s.Identities {
		b = binary.BigEndian.AppendUint64(b, id)
	}
	return compress(b)
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

func compress(b []byte) []byte {
	var out bytes.Buffer
	out.WriteByte(snapshotVersion)
	w, _ := flate.NewWriter(&out, flate.BestSpeed) // fails only for an unknown level
	_, _ = w.Write(b)                              // into memory
	_ = w.Close()
	return out.Bytes()
}

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
		UIDsUnknown:   d.number(1) == 1,
	}
	s.UIDs = d.uids()
	s.Flags = d.flags()
	for range d.count(8) {
		s.Identities = append(s.Identities, binary.BigEndian.Uint64(d.bytes(8)))
	}
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

func (d *snapshotReader) uids() imap.UIDSet {
	var set imap.UIDSet
	last := uint64(0)
	for range d.count(2) {
		start := last + d.number(math.MaxUint32)
		stop := start + d.number(math.MaxUint32)
		// Ranges that touch would have been one.
		if start > last+1 || last == 0 && start == 1 {
			set = append(set, imap.UIDRange{Start: imap.UID(start), Stop: imap.UID(stop)})
		} else {
			d.fail()
		}
		if stop > math.MaxUint32 {
			d.fail()
		}
		if d.bad {
			return nil
		}
		last = stop
	}
	return set
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
