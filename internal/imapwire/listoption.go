package imapwire

import "github.com/emersion/go-imap/v2"

// ListOptions says which mailboxes LIST is to answer and what of them.
type ListOptions struct {
	imap.ListOptions
	// ReturnStatus takes the place of go-imap's field (LIST-STATUS, RFC 5819).
	ReturnStatus *StatusOptions
}

// status returns what STATUS items are asked for, in either field.
func (o *ListOptions) status() *StatusOptions {
	if o.ReturnStatus == nil && o.ListOptions.ReturnStatus != nil {
		return &StatusOptions{StatusOptions: *o.ListOptions.ReturnStatus}
	}
	return o.ReturnStatus
}

// selects reports whether there are selection options.
func (o *ListOptions) selects() bool {
	return o.SelectSubscribed || o.SelectRemote || o.SelectRecursiveMatch || o.SelectSpecialUse
}

// returns reports whether there are return options.
func (o *ListOptions) returns() bool {
	return o.ReturnSubscribed || o.ReturnChildren || o.ReturnSpecialUse || o.status() != nil
}

// ListArguments writes what follows LIST: selection options, reference, patterns, return
// options (RFC 9051 section 6.3.9). Without options it is the form that every
// server knows.
func (e *Encoder) ListArguments(o *ListOptions, reference string, patterns ...string) *Encoder {
	if o.selects() {
		e.selectionOptions(o)
	}
	e.Mailbox(reference).SP()
	switch len(patterns) {
	case 0:
		e.fail("a LIST without a pattern")
	case 1:
		e.Mailbox(patterns[0])
	default:
		e.List(len(patterns), func(i int) { e.Mailbox(patterns[i]) })
	}
	if o.returns() {
		e.returnOptions(o)
	}
	return e
}

func (e *Encoder) selectionOptions(o *ListOptions) {
	if o.SelectRecursiveMatch && !o.SelectSubscribed {
		// RFC 5258 section 3.1: it modifies another option.
		e.fail("RECURSIVEMATCH without SUBSCRIBED")
	}
	k := keyWriter{e: e.raw("(")}
	for _, option := range [...]struct {
		want bool
		name string
	}{
		{o.SelectSubscribed, "SUBSCRIBED"},
		{o.SelectRemote, "REMOTE"},
		{o.SelectRecursiveMatch, "RECURSIVEMATCH"},
		{o.SelectSpecialUse, "SPECIAL-USE"},
	} {
		if option.want {
			k.key(option.name)
		}
	}
	e.raw(") ")
}

func (e *Encoder) returnOptions(o *ListOptions) {
	k := keyWriter{e: e.raw(" RETURN (")}
	for _, option := range [...]struct {
		want bool
		name string
	}{
		{o.ReturnSubscribed, "SUBSCRIBED"},
		{o.ReturnChildren, "CHILDREN"},
		{o.ReturnSpecialUse, "SPECIAL-USE"},
	} {
		if option.want {
			k.key(option.name)
		}
	}
	if status := o.status(); status != nil {
		k.key("STATUS ").StatusItems(status)
	}
	e.raw(")")
}
