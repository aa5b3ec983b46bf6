package imapwire

// ThreadNode is a message in a thread.
type ThreadNode struct {
	// Num is the message's number, or 0 for a parent that is not there.
	Num uint32
	// Parent is the index of the parent in the list of nodes, which is lower
	// than the node's own, or -1 for the root of a thread.
	Parent int
}

// Thread reads the payload of a THREAD response (RFC 5256 section 4): all
// threads in one flat list, each after its root. It does not recurse, for a long
// discussion nests deeper than any other answer; the limit is Numbers.
func (d *Decoder) Thread() ([]ThreadNode, error) {
	var (
		nodes []ThreadNode
		stack []int // the parent outside of each open list
		opens int
	)
	parent := -1
	for {
		c, err := d.next()
		if err != nil {
			return nil, err
		}
		if len(nodes)+opens >= d.limits.Numbers {
			return nil, d.limitError("Numbers", int64(d.limits.Numbers))
		}
		switch {
		case c == '(':
			d.r++
			opens++
			if len(stack) > 0 && parent == -1 {
				// ((1)(2)): siblings whose parent is missing.
				nodes = append(nodes, ThreadNode{Parent: -1})
				parent = len(nodes) - 1
			}
			stack = append(stack, parent)
		case c == ')' && len(stack) > 0:
			d.r++
			parent = stack[len(stack)-1]
			stack = stack[:len(stack)-1]
		case isDigit(c) && len(stack) > 0:
			n, err := d.Number()
			if err != nil {
				return nil, err
			}
			nodes = append(nodes, ThreadNode{Num: n, Parent: parent})
			parent = len(nodes) - 1
		case (c == '\r' || c == '\n') && len(stack) == 0:
			return nodes, nil
		default:
			return nil, d.syntaxError("a thread")
		}
	}
}
