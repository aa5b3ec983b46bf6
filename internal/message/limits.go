package message

// Limits bound what a message can cost. A zero field means its default.
type Limits struct {
	// Depth is how far multiparts and messages may nest.
	Depth int
	// Parts is how many parts a message may have, multiparts included.
	Parts int
	// HeaderBytes is how much is kept of one header, the message's or a
	// part's.
	HeaderBytes int
}

// DefaultLimits are generous to mail that people write, and bound what anyone
// can send: a megabyte per header, and some five megabytes for a tree of the
// most parts.
var DefaultLimits = Limits{
	Depth:       50,
	Parts:       10_000,
	HeaderBytes: 1 << 20,
}

func (l Limits) withDefaults() Limits {
	if l.Depth <= 0 {
		l.Depth = DefaultLimits.Depth
	}
	if l.Parts <= 0 {
		l.Parts = DefaultLimits.Parts
	}
	if l.HeaderBytes <= 0 {
		l.HeaderBytes = DefaultLimits.HeaderBytes
	}
	return l
}
