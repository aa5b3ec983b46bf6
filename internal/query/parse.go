package query

// Bounds of a filter. They keep the SEARCH that it becomes within what servers
// take: with these terms in these brackets it nests 50 deep at most.
const (
	maxTerms = 100
	maxDepth = 10
)

// Expr is a parsed filter: [And], [Or], [Not] or [Term].
type Expr interface{ expr() }

// And holds when all of its parts do. Without parts it holds for everything.
type And []Expr

// Or holds when one of its parts does.
type Or []Expr

// Not holds when its part does not.
type Not struct{ Expr Expr }

// Term compares a field with a value.
type Term struct {
	// Field is as it was written, or empty for a bare value.
	Field string
	// Op is one of ":", "=", "!=", "<", "<=", ">", ">=", or empty for a bare
	// value.
	Op    string
	Value string
	// Quoted says that the value stood in quotes.
	Quoted bool
	// Place is where the term begins.
	Place
}

func (And) expr()  {}
func (Or) expr()   {}
func (Not) expr()  {}
func (Term) expr() {}

// Parse reads a filter. The empty filter is an empty [And]. Errors are
// [*SyntaxError].
func Parse(text string) (Expr, error) {
	if err := checkText(text); err != nil {
		return nil, err
	}
	p := &parser{lexer: lexer{text: text}}
	if err := p.advance(); err != nil {
		return nil, err
	}
	if p.tok.kind == kindEnd {
		return And{}, nil
	}
	e, err := p.expression(nil, 0)
	if err != nil {
		return nil, err
	}
	if p.tok.kind != kindEnd {
		return nil, p.unexpected()
	}
	return e, nil
}

type parser struct {
	lexer lexer
	tok   token
	terms int
}

func (p *parser) advance() (err error) {
	p.tok, err = p.lexer.next()
	return err
}

func (p *parser) unexpected() error {
	return syntax(p.tok.Place, "%s is not expected here", p.tok)
}

func (p *parser) keyword(word string) bool { return p.tok.kind == kindText && p.tok.text == word }

// expression reads factors that all must hold, with or without AND between
// them. scope is the comparison that bare values inside brackets belong to.
func (p *parser) expression(scope *Term, depth int) (Expr, error) {
	if depth > maxDepth {
		return nil, syntax(p.tok.Place, "brackets are nested more than %d deep", maxDepth)
	}
	var all And
	for {
		e, err := p.factor(scope, depth)
		if err != nil {
			return nil, err
		}
		all = append(all, e)
		if p.keyword("AND") {
			if err := p.advance(); err != nil {
				return nil, err
			}
			continue // another factor must follow
		}
		if p.tok.kind == kindEnd || p.tok.kind == kindClose {
			break
		}
	}
	if len(all) == 1 {
		return all[0], nil
	}
	return all, nil
}

// factor reads terms of which one must hold.
func (p *parser) factor(scope *Term, depth int) (Expr, error) {
	var anyOf Or
	for {
		e, err := p.term(scope, depth)
		if err != nil {
			return nil, err
		}
		anyOf = append(anyOf, e)
		if !p.keyword("OR") {
			break
		}
		if err := p.advance(); err != nil {
			return nil, err
		}
	}
	if len(anyOf) == 1 {
		return anyOf[0], nil
	}
	return anyOf, nil
}

func (p *parser) term(scope *Term, depth int) (Expr, error) {
	if p.tok.kind == kindMinus || p.keyword("NOT") {
		if err := p.advance(); err != nil {
			return nil, err
		}
		e, err := p.simple(scope, depth)
		if err != nil {
			return nil, err
		}
		return Not{Expr: e}, nil
	}
	return p.simple(scope, depth)
}

func (p *parser) simple(scope *Term, depth int) (Expr, error) {
	switch {
	case p.tok.kind == kindOpen:
		return p.brackets(scope, depth)
	case p.tok.kind != kindText && p.tok.kind != kindString, p.keyword("AND"), p.keyword("OR"), p.keyword("NOT"):
		return nil, p.unexpected()
	}
	if p.terms++; p.terms > maxTerms {
		return nil, syntax(p.tok.Place, "the filter has more than %d terms", maxTerms)
	}
	first := p.tok
	if err := p.advance(); err != nil {
		return nil, err
	}
	if p.tok.kind != kindOp {
		bare := Term{Value: first.text, Quoted: first.kind == kindString, Place: first.Place}
		if scope != nil {
			bare.Field, bare.Op = scope.Field, scope.Op
		}
		return bare, nil
	}
	if first.kind == kindString || scope != nil {
		return nil, p.unexpected()
	}
	return p.comparison(first, depth)
}

// comparison reads what follows a field.
func (p *parser) comparison(field token, depth int) (Expr, error) {
	t := Term{Field: field.text, Op: p.tok.text, Place: field.Place}
	value, err := p.lexer.value()
	if err != nil {
		return nil, err
	}
	p.tok = value
	switch value.kind {
	case kindOpen:
		return p.brackets(&t, depth)
	case kindText, kindString:
		t.Value, t.Quoted = value.text, value.kind == kindString
		return t, p.advance()
	}
	return nil, syntax(value.Place, "a value is missing after %q", t.Field+t.Op)
}

func (p *parser) brackets(scope *Term, depth int) (Expr, error) {
	open := p.tok
	if err := p.advance(); err != nil {
		return nil, err
	}
	e, err := p.expression(scope, depth+1)
	if err != nil {
		return nil, err
	}
	if p.tok.kind != kindClose {
		return nil, syntax(open.Place, "the bracket is not closed")
	}
	return e, p.advance()
}
