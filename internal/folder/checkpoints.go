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
	// Identities are the email ids of the newest messages, by ascending UID. By
	// them mail is known again where it was moved, and after a change of
	// UIDVALIDITY.
	Identities []Identity

	// Revision is that of the stored snapshot which this one is to replace, 0
	// when there is none. It is not part of what is stored.
	Revision uint64
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

// Checkpoints keeps the snapshots of all folders. Only the owner of an account
// writes there. What keeps two owners apart is the event log's
// compare-and-set; a former owner that does not know yet that it is one cannot
// overwrite a snapshot of its successor, because a snapshot only replaces the
// one that its writer knows.
type Checkpoints struct{ kv jetstream.KeyValue }

// NewCheckpoints returns the checkpoints that are kept in a bucket of
// [OpenBucket].
func NewCheckpoints(kv jetstream.KeyValue) *Checkpoints { return &Checkpoints{kv: kv} }

// Load returns the snapshots of an account's folders.
func (c *Checkpoints) Load(ctx context.Context, account string) (map[Key]*Snapshot, error) {
	keys, err := c.keys(ctx, snapshotKey(account, "*"))
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
		s, err := decodeSnapshot(entry.Value())
		if err != nil {
			return nil, fmt.Errorf("read checkpoint %s: %w", name, err)
		}
		s.Revision = entry.Revision()
		snapshots[key] = s
	}
	return snapshots, nil
}

func (c *Checkpoints) keys(ctx context.Context, pattern string) ([]string, error) {
	lister, err := c.kv.ListKeysFiltered(ctx, pattern)
	if err != nil {
		return nil, fmt.Errorf("list checkpoints %s: %w", pattern, err)
	}
	var keys []string
	for key := range lister.Keys() {
		keys = append(keys, key)
	}
	return keys, nil
}

// Save stores a folder's snapshot in place of the one that s.Revision names, and
// sets s.Revision to its own. It fails when another one is stored there.
func (c *Checkpoints) Save(ctx context.Context, account string, key Key, s *Snapshot) error {
	value := s.encode()
	// A folder so full of holes that its UIDs do not fit goes without them:
	// they are listed anew when they are needed.
	if limit := c.maxValue(); len(value) > limit {
		without := *s
		without.UIDs, without.UIDsUnknown = nil, true
		value = without.encode()
	}
	revision, err := c.replace(ctx, snapshotKey(account, key.String()), value, s.Revision)
	if err != nil {
		return fmt.Errorf("save checkpoint of folder %s of account %s: %w", key, account, err)
	}
	s.Revision = revision
	return nil
}

func (c *Checkpoints) replace(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	if revision == 0 {
		return c.kv.Create(ctx, key, value) // also where there was one that was deleted
	}
	return c.kv.Update(ctx, key, value, revision)
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

// Position is a place in the event log up to which all snapshots of an account
// are good: a folder whose snapshot is older has not changed since.
type Position struct {
	Sequence uint64 `json:"sequence"`
	Number   uint64 `json:"number"`
}

// LoadPosition returns what SavePosition stored, or the zero Position.
func (c *Checkpoints) LoadPosition(ctx context.Context, account string) (Position, error) {
	var p Position
	err := c.load(ctx, positionKey(account), &p)
	return p, err
}

// SavePosition stores up to where the snapshots are good. They have to be saved
// before.
func (c *Checkpoints) SavePosition(ctx context.Context, account string, p Position) error {
	return c.save(ctx, positionKey(account), p)
}

func positionKey(account string) string { return "position." + account }

// First is what an owner found when it came to an account for the first time.
type First struct {
	// Incarnation tells this registration of the account from an earlier one
	// under the same id.
	Incarnation string `json:"incarnation"`
	// After is where the log was: what is behind it is of this registration.
	After Position `json:"after"`
	// Replaces says that events of an earlier registration were left without
	// an end there.
	Replaces bool `json:"replaces,omitempty"`
	// Folders were there before the account was registered, so their mail is
	// old; a folder that is none of them is new, and all in it. Nil means that
	// they have not been listed yet.
	Folders []Key `json:"folders"`
}

// LoadFirst returns what SaveFirst stored, or nil.
func (c *Checkpoints) LoadFirst(ctx context.Context, account string) (*First, error) {
	var first *First
	err := c.load(ctx, firstKey(account), &first)
	return first, err
}

// SaveFirst stores what was found first.
func (c *Checkpoints) SaveFirst(ctx context.Context, account string, first *First) error {
	return c.save(ctx, firstKey(account), first)
}

// Accounts lists the accounts that something is kept about.
func (c *Checkpoints) Accounts(ctx context.Context) ([]string, error) {
	keys, err := c.keys(ctx, firstKey("*"))
	if err != nil {
		return nil, err
	}
	for i := range keys {
		keys[i] = strings.TrimPrefix(keys[i], firstKey(""))
	}
	return keys, nil
}

// load reads a small record in JSON. One that is not there leaves to as it is.
func (c *Checkpoints) load(ctx context.Context, key string, to any) error {
	entry, err := c.kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(entry.Value(), to)
	}
	if err != nil {
		return fmt.Errorf("read checkpoint %s: %w", key, err)
	}
	return nil
}

func (c *Checkpoints) save(ctx context.Context, key string, from any) error {
	value, err := json.Marshal(from)
	if err == nil {
		_, err = c.kv.Put(ctx, key, value)
	}
	if err != nil {
		return fmt.Errorf("save checkpoint %s: %w", key, err)
	}
	return nil
}

func firstKey(account string) string { return "first." + account }

// Forget drops all that is kept about an account. What [Checkpoints.Accounts]
// goes by is dropped last, so that one that fails in between is known of.
func (c *Checkpoints) Forget(ctx context.Context, account string) error {
	keys, err := c.keys(ctx, snapshotKey(account, "*"))
	if err != nil {
		return err
	}
	for _, key := range append(keys, positionKey(account), firstKey(account)) {
		if err := c.kv.Purge(ctx, key); err != nil {
			return fmt.Errorf("forget checkpoint %s: %w", key, err)
		}
	}
	return nil
}

func snapshotKey(account, key string) string { return "state." + account + "." + key }

// snapshotVersion is the first byte of an encoded snapshot; what follows is
// compressed by DEFLATE.
const snapshotVersion = 2

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
