package imapwire

// Limits bounds what one response may cost. A field that is zero has the value
// of DefaultLimits.
type Limits struct {
	// Response is the number of bytes of one response, with the literals that
	// are kept in memory and without those that are streamed or skipped. It is
	// looked at when the read buffer is refilled, so it is exact to the size of
	// that buffer.
	Response int64
	// String is the number of bytes of one atom, quoted string, text or literal
	// that is kept in memory.
	String int64
	// Stream is the number of bytes of one literal that is streamed or skipped.
	// It costs no memory; a larger announcement is fatal because skipping it
	// would take the connection's lifetime.
	Stream int64
	// Depth is the number of lists within lists.
	Depth int
	// Elements is the number of members of all lists of one response together:
	// flags, addresses, body parts, parameters, quota resources.
	Elements int
	// Ranges is the number of ranges of a set, after neighbours have merged.
	Ranges int
	// Numbers is the number of numbers where their order matters, so that they
	// cannot be kept as ranges: SORT and THREAD.
	Numbers int
}

// DefaultLimits lets through what honest servers send: a plain SEARCH answer of
// a million scattered UIDs is eleven megabytes of digits.
var DefaultLimits = Limits{
	Response: 16 << 20,
	String:   1 << 20,
	Stream:   2 << 30,
	Depth:    100,
	Elements: 1 << 15,
	Ranges:   1 << 20,
	Numbers:  1 << 20,
}

// withDefaults fills in what was left zero.
func (l Limits) withDefaults() Limits {
	l.Response = orDefault(l.Response, DefaultLimits.Response)
	l.String = orDefault(l.String, DefaultLimits.String)
	l.Stream = orDefault(l.Stream, DefaultLimits.Stream)
	l.Depth = orDefault(l.Depth, DefaultLimits.Depth)
	l.Elements = orDefault(l.Elements, DefaultLimits.Elements)
	l.Ranges = orDefault(l.Ranges, DefaultLimits.Ranges)
	l.Numbers = orDefault(l.Numbers, DefaultLimits.Numbers)
	return l
}

func orDefault[T int | int64](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}
