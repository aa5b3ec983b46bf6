package folder

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// maxValue leaves room for a message's headers in what NATS servers take by
// default, one megabyte. A snapshot that is larger is stored in parts, each
// under a key of its own, and what is stored under the snapshot's key says which
// they are. They are written before it and removed after the next, so that a
// snapshot is whole whenever a process dies.
const maxValue = 1<<20 - 4<<10

// partsVersion is the first byte of what stands for the parts: a name that they
// have in common follows, and their number.
const partsVersion = 128

func partKey(account, key, name, number string) string {
	return strings.Join([]string{"part", account, key, name, number}, ".")
}

// partsOf lists the keys of the parts of a folder's snapshots; "*" stands for
// all folders.
func (c *Checkpoints) partsOf(ctx context.Context, account, key string) ([]string, error) {
	return c.keys(ctx, partKey(account, key, "*", "*"))
}

// savePartsOf stores a snapshot in parts and returns what stands for them.
func (c *Checkpoints) savePartsOf(ctx context.Context, account string, key Key, value []byte) (head []byte, err error) {
	name, count := rand.Text(), 0
	for ; len(value) > 0; count++ {
		part := value[:min(len(value), maxValue)]
		value = value[len(part):]
		if _, err := c.kv.Create(ctx, partKey(account, key.String(), name, strconv.Itoa(count)), part); err != nil {
			return nil, fmt.Errorf("save part %d of the checkpoint of folder %s of account %s: %w", count, key, account, err)
		}
	}
	head = append([]byte{partsVersion}, name...)
	return binary.AppendUvarint(head, uint64(count)), nil
}

// maxParts bounds what the parts of one snapshot make together.
const maxParts = maxSnapshot / maxValue

// errParts reports a snapshot whose parts cannot be read.
var errParts = errors.New("not the parts of a folder snapshot")

// decode reads a snapshot, and its parts where it has some.
func (c *Checkpoints) decode(ctx context.Context, account string, key Key, value []byte) (*Snapshot, error) {
	if len(value) == 0 || value[0] != partsVersion {
		return decodeSnapshot(value)
	}
	nameSize := len(rand.Text())
	if len(value) < 1+nameSize+1 {
		return nil, errParts
	}
	name := string(value[1 : 1+nameSize])
	count, n := binary.Uvarint(value[1+nameSize:])
	if n <= 0 || count > maxParts {
		return nil, errParts
	}
	var whole []byte
	for i := range int(count) {
		entry, err := c.kv.Get(ctx, partKey(account, key.String(), name, strconv.Itoa(i)))
		if err != nil {
			return nil, fmt.Errorf("%w: part %d: %w", errParts, i, err)
		}
		whole = append(whole, entry.Value()...)
	}
	s, err := decodeSnapshot(whole)
	if err != nil {
		return nil, err
	}
	s.Parts = true
	return s, nil
}
