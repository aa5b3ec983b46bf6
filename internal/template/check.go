package template

import (
	"text/template/parse"
)

const (
	// maxDepth bounds blocks within blocks. Ranges count apart, because the
	// escaper of html/template looks at the body of each twice, and so at the
	// innermost of n 2^n times.
	maxDepth  = 20
	maxRanges = 4
	// maxOperands bounds what is computed in one step.
	maxOperands = 50
)

// checker looks through a parsed template. On its way it puts an empty text behind
// each node: executing that is a write of nothing, by which the writer counts steps.
type checker struct{ part, source string }

func (c *checker) refuse(at parse.Pos, description string) error {
	line, column := place(c.source, int(at))
	return &SyntaxError{Part: c.part, Line: line, Column: column, Description: description}
}

func (c *checker) list(l *parse.ListNode, depth, ranges int) error {
	if l == nil {
		return nil
	}
	if depth > maxDepth || ranges > maxRanges {
		return c.refuse(l.Pos, "its blocks are nested too deep")
	}
	counted := make([]parse.Node, 0, 2*len(l.Nodes)+1)
	counted = append(counted, step(l.Pos))
	for _, node := range l.Nodes {
		if err := c.node(node, depth, ranges); err != nil {
			return err
		}
		counted = append(counted, node, step(node.Position()))
	}
	l.Nodes = counted
	return nil
}

func step(at parse.Pos) parse.Node { return &parse.TextNode{NodeType: parse.NodeText, Pos: at} }

func (c *checker) node(node parse.Node, depth, ranges int) error {
	switch n := node.(type) {
	case *parse.ActionNode:
		return c.pipe(n.Pipe)
	case *parse.IfNode:
		return c.branch(&n.BranchNode, depth, ranges)
	case *parse.WithNode:
		return c.branch(&n.BranchNode, depth, ranges)
	case *parse.RangeNode:
		return c.branch(&n.BranchNode, depth, ranges+1)
	case *parse.TextNode, *parse.CommentNode, *parse.BreakNode, *parse.ContinueNode:
		return nil
	default:
		return c.refuse(node.Position(), "it calls another template, which is not taken")
	}
}

func (c *checker) branch(b *parse.BranchNode, depth, ranges int) error {
	if err := c.pipe(b.Pipe); err != nil {
		return err
	}
	if err := c.list(b.List, depth+1, ranges); err != nil {
		return err
	}
	return c.list(b.ElseList, depth+1, ranges)
}

func (c *checker) pipe(p *parse.PipeNode) error {
	if operands(p, 0) > maxOperands {
		return c.refuse(p.Pos, "it computes too much at once")
	}
	return nil
}

// operands counts what is computed in a pipeline, as far as is of interest.
func operands(node parse.Node, sum int) int {
	if sum++; sum > maxOperands {
		return sum
	}
	switch n := node.(type) {
	case *parse.PipeNode:
		for _, command := range n.Cmds {
			sum = operands(command, sum)
		}
	case *parse.CommandNode:
		for _, arg := range n.Args {
			sum = operands(arg, sum)
		}
	case *parse.ChainNode:
		sum = operands(n.Node, sum+len(n.Field))
	case *parse.FieldNode:
		sum += len(n.Ident)
	case *parse.VariableNode:
		sum += len(n.Ident)
	}
	return sum
}
