package event

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/folder"
)

// Header names of an event in the log. The event's id stands in Nats-Msg-Id.
const (
	// HeaderNumber counts the account's events without gaps, from 1.
	HeaderNumber = "Postern-Number"
	// HeaderCheckpoint holds the [Checkpoint], where the event has one.
	HeaderCheckpoint = "Postern-Checkpoint"
)

// Checkpoint is how far a folder has been announced once this event is in the
// log. Publishing is committing: whoever takes the account over reads the
// checkpoints behind its snapshot and knows what was announced.
type Checkpoint struct {
	Folder      folder.Key
	UIDValidity uint32
	// UID is the highest announced; all lower ones are announced too.
	UID imap.UID
	// ModSeq is the highest MODSEQ whose changes are announced, or 0.
	ModSeq uint64
}

// CheckpointError reports a header that is not a checkpoint.
type CheckpointError struct{ Value string }

// Error implements error.
func (e *CheckpointError) Error() string {
	return fmt.Sprintf("%q is not a checkpoint", e.Value)
}

// String gives the header's value: version, folder key, UIDVALIDITY, UID and
// MODSEQ, joined by dots. It is text so that an operator can read it.
func (c Checkpoint) String() string {
	b := make([]byte, 0, 64)
	b = append(b, "1."...)
	b = append(b, c.Folder.String()...)
	for _, n := range []uint64{uint64(c.UIDValidity), uint64(c.UID), c.ModSeq} {
		b = append(b, '.')
		b = strconv.AppendUint(b, n, 10)
	}
	return string(b)
}

// ParseCheckpoint reads what [Checkpoint.String] writes, and only that; the
// rest is a [*CheckpointError].
func ParseCheckpoint(s string) (Checkpoint, error) {
	fail := func() (Checkpoint, error) { return Checkpoint{}, &CheckpointError{Value: s} }
	parts := strings.Split(s, ".")
	if len(parts) != 5 || parts[0] != "1" {
		return fail()
	}
	key, err := folder.ParseKey(parts[1])
	if err != nil {
		return fail()
	}
	var numbers [3]uint64
	for i, bits := range []int{32, 32, 64} {
		if numbers[i], err = strconv.ParseUint(parts[2+i], 10, bits); err != nil {
			return fail()
		}
	}
	c := Checkpoint{
		Folder:      key,
		UIDValidity: uint32(numbers[0]),
		UID:         imap.UID(numbers[1]),
		ModSeq:      numbers[2],
	}
	if c.String() != s {
		return fail()
	}
	return c, nil
}
