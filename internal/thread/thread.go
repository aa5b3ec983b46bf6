package thread

import (
	"cmp"
	"slices"
	"time"

	"golang.org/x/text/cases"
)

// Message is what of a message decides where it belongs.
type Message struct {
	// ID is its Message-ID; empty if it has none. Copies of a message have the
	// same one and stay together.
	ID string
	// References are the Message-IDs of what came before, the oldest first.
	// Where there is no References header it is what the message answers.
	References []string
	// Subject is decoded.
	Subject string
	// Date is when it was sent, or else when it arrived.
	Date time.Time
}

// Thread is a conversation.
type Thread struct {
	// Root is the Message-ID at the beginning of the conversation, be the
	// message there or not. It is empty if no message of the conversation has a
	// Message-ID or references.
	Root string
	// Messages are indices of the messages: what is answered comes before its
	// answers, and of answers the older one.
	Messages []int
}

// Build groups messages into conversations, the one that began first at the
// front. The outcome does not depend on the order of the messages, unless they
// tell nothing apart.
func Build(messages []Message) []Thread {
	b := &builder{messages: messages, byID: make(map[string]*node, len(messages))}
	order := make([]int, len(messages))
	for i := range order {
		order[i] = i
	}
	// References of older messages go first where two disagree.
	slices.SortStableFunc(order, func(i, j int) int {
		return cmp.Or(messages[i].Date.Compare(messages[j].Date), cmp.Compare(messages[i].ID, messages[j].ID))
	})
	for _, i := range order {
		b.place(i)
	}
	b.findTops()
	roots := b.joinSubjects(b.prune())
	slices.SortFunc(roots, func(x, y *node) int { return b.compare(b.first(x), b.first(y)) })
	threads := make([]Thread, len(roots))
	for i, root := range roots {
		threads[i] = b.thread(root)
	}
	return threads
}

// node is a message, its copies included, or what is known of one that is not
// there.
type node struct {
	id       string
	messages []int // empty for a message that is not there
	parent   *node
	children []*node
	// top is the id at the beginning of the conversation before any is left
	// out or joined.
	top string
}

type builder struct {
	messages []Message
	byID     map[string]*node
	nodes    []*node
}

func (b *builder) add(id string) *node {
	n := &node{id: id}
	b.nodes = append(b.nodes, n)
	if id != "" {
		b.byID[id] = n
	}
	return n
}

func (b *builder) find(id string) *node {
	if n := b.byID[id]; n != nil {
		return n
	}
	return b.add(id)
}

// place is step 1 of RFC 5256 section 3, REFERENCES: links a message to what it
// refers to, and that among itself.
func (b *builder) place(i int) {
	m := b.messages[i]
	var n *node
	if m.ID == "" {
		n = b.add("")
	} else {
		n = b.find(m.ID)
	}
	n.messages = append(n.messages, i)
	if len(n.messages) > 1 {
		return // a copy
	}
	var before *node
	for _, id := range m.References {
		if id == "" || id == m.ID {
			continue
		}
		next := b.find(id)
		if before != nil && next.parent == nil && !before.below(next) {
			before.adopt(next)
		}
		before = next
	}
	// What the message says of itself counts more than what others say of it,
	// even if it says nothing.
	if n.parent != nil {
		n.parent.drop(n)
	}
	if before != nil && !before.below(n) {
		before.adopt(n)
	}
}

// below reports whether n is other or comes after it.
func (n *node) below(other *node) bool {
	for ; n != nil; n = n.parent {
		if n == other {
			return true
		}
	}
	return false
}

func (n *node) adopt(child *node) {
	if child.parent != nil {
		child.parent.drop(child)
	}
	child.parent = n
	n.children = append(n.children, child)
}

func (n *node) drop(child *node) {
	child.parent = nil
	n.children = slices.DeleteFunc(n.children, func(c *node) bool { return c == child })
}

// findTops notes where each conversation begins, be the message there or not.
func (b *builder) findTops() {
	for _, n := range slices.Backward(b.deepestFirst()) {
		n.top = n.id
		if n.parent != nil {
			n.top = n.parent.top
		}
	}
}

// prune is step 3: leaves out messages that are not there, except at the root,
// where one may hold several answers together. It gives the roots that are left.
func (b *builder) prune() []*node {
	for _, n := range b.deepestFirst() {
		switch {
		case len(n.messages) > 0:
		case n.parent != nil:
			p := n.parent
			p.drop(n)
			for _, c := range slices.Clone(n.children) {
				p.adopt(c)
			}
		case len(n.children) == 1:
			n.drop(n.children[0])
		}
	}
	var left []*node
	for _, n := range b.nodes {
		if n.parent == nil && (len(n.messages) > 0 || len(n.children) > 0) {
			left = append(left, n)
		}
	}
	return left
}

// deepestFirst gives all nodes, children before their parents. Conversations can
// be deep, so nothing here recurses over them.
func (b *builder) deepestFirst() []*node {
	var order []*node
	for _, n := range b.nodes {
		if n.parent == nil {
			order = append(order, n)
		}
	}
	for i := 0; i < len(order); i++ {
		order = append(order, order[i].children...)
	}
	slices.Reverse(order)
	return order
}

// first is the message that stands for a root: for one that is not there its
// oldest answer. Only a root may be one that is not there.
func (b *builder) first(root *node) int {
	if len(root.messages) > 0 {
		return root.messages[0]
	}
	return slices.MinFunc(root.children, func(x, y *node) int { return b.compare(b.first(x), b.first(y)) }).messages[0]
}

// compare puts the older message first.
func (b *builder) compare(i, j int) int {
	x, y := b.messages[i], b.messages[j]
	return cmp.Or(x.Date.Compare(y.Date), cmp.Compare(x.ID, y.ID), cmp.Compare(i, j))
}

// joinSubjects is step 5: conversations whose subjects are the same, but for
// what answers put before it, become one.
func (b *builder) joinSubjects(roots []*node) []*node {
	slices.SortFunc(roots, func(x, y *node) int { return b.compare(b.first(x), b.first(y)) })
	bySubject := make(map[string][]*node)
	var subjects []string
	var joined []*node
	for _, n := range roots {
		base, _ := b.subject(n)
		if base == "" {
			joined = append(joined, n)
			continue
		}
		if bySubject[base] == nil {
			subjects = append(subjects, base)
		}
		bySubject[base] = append(bySubject[base], n)
	}
	for _, base := range subjects {
		joined = append(joined, b.join(bySubject[base]))
	}
	return joined
}

func (b *builder) subject(root *node) (base string, reply bool) {
	base, reply = BaseSubject(b.messages[b.first(root)].Subject)
	return cases.Fold().String(base), reply
}

// join makes one conversation of several. What others are joined to is one that
// has no message at its root, or else one that is no answer.
func (b *builder) join(list []*node) *node {
	to := list[0]
	for _, n := range list[1:] {
		_, reply := b.subject(n)
		_, toReply := b.subject(to)
		if len(to.messages) > 0 && (len(n.messages) == 0 || toReply && !reply) {
			to = n
		}
	}
	for _, n := range list {
		if n == to {
			continue
		}
		_, reply := b.subject(n)
		_, toReply := b.subject(to)
		switch {
		case len(to.messages) == 0 && len(n.messages) == 0:
			for _, c := range slices.Clone(n.children) {
				to.adopt(c)
			}
		case len(to.messages) == 0, reply && !toReply:
			to.adopt(n)
		default:
			// Two of a kind are answers to something that nobody has.
			of := &node{}
			of.adopt(to)
			of.adopt(n)
			// What comes now joins them, and not one of them.
			to = of
		}
	}
	return to
}

// thread lists the messages of a conversation.
func (b *builder) thread(root *node) Thread {
	var t Thread
	var oldest *node
	for stack := []*node{root}; len(stack) > 0; {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		t.Messages = append(t.Messages, n.messages...)
		if len(n.messages) > 0 && (oldest == nil || b.compare(n.messages[0], oldest.messages[0]) < 0) {
			oldest = n
		}
		// All but the root have a message. The oldest answer goes on top.
		slices.SortFunc(n.children, func(x, y *node) int { return b.compare(y.messages[0], x.messages[0]) })
		stack = append(stack, n.children...)
	}
	t.Root = oldest.top
	return t
}
