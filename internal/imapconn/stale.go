package imapconn

import (
	"context"
	"fmt"
	"slices"
)

// StaleListError says that what the server lists on one connection is no longer
// what it has: Dovecot, for one, goes on listing what it last read of an index
// that was damaged under an open session. The connection is closed. Another one
// gets the right list.
type StaleListError struct {
	// Mailbox is listed and not there, or there and not listed.
	Mailbox string
	Listed  bool
}

// Error implements error.
func (e *StaleListError) Error() string {
	if e.Listed {
		return fmt.Sprintf("the server goes on listing %q on this connection, which is not there any more", e.Mailbox)
	}
	return fmt.Sprintf("the server does not list %q on this connection, which is there", e.Mailbox)
}

// oddities are mailboxes that a server does not list as they are, by what its
// first list on a connection was like. That is how the server is: another
// connection would get the same, while what turns odd later is a stale list.
type oddities map[string]bool

// doubtful takes note of the odd mailboxes of a first list, and returns those of
// a later one that were not odd then.
func (o *oddities) doubtful(odd []string) []string {
	if *o != nil {
		return slices.DeleteFunc(odd, func(name string) bool { return (*o)[name] })
	}
	*o = make(oddities, len(odd))
	for _, name := range odd {
		(*o)[name] = true
	}
	return nil
}

// StatusUnlisted is StatusAll for mailboxes that were known to be there and that
// the list just read lacks, of which there may be none. It is to follow each such
// list. It fails with a [*StaleListError] if one of them is there, unless the
// connection's first list lacked it as well.
func (c *Conn) StatusUnlisted(ctx context.Context, names []string, opts *StatusOptions) ([]StatusResult, error) {
	results, err := c.StatusAll(ctx, names, opts)
	if err != nil {
		return nil, err
	}
	var there []string
	for i, name := range names {
		if results[i].Err == nil {
			there = append(there, name)
		}
	}
	return results, c.suspect(ctx, c.unlisted.doubtful(there), false)
}

// checkPhantoms looks into the mailboxes of a list whose state the server did not
// tell: those that are not there any more make the list a stale one.
func (c *Conn) checkPhantoms(ctx context.Context, found []ListData, opts *StatusOptions) error {
	var names []string
	at := make(map[string]*ListData)
	for i := range found {
		if data := &found[i]; data.Status == nil && data.Selectable() && !c.selects(data) {
			names = append(names, data.Name())
			at[data.Name()] = data
		}
	}
	names = c.phantoms.doubtful(names)
	results, err := c.StatusAll(ctx, names, opts)
	if err != nil {
		return err
	}
	var gone []string
	for i, result := range results {
		at[names[i]].Status = result.Data
		if _, throttled := RetryAfter(result.Err); result.Err != nil && !throttled {
			gone = append(gone, names[i])
		}
	}
	return c.suspect(ctx, gone, true)
}

// suspect lists the mailboxes again, for some may just have come or gone, and
// closes the connection if one of the names still is listed, or is not.
func (c *Conn) suspect(ctx context.Context, names []string, listed bool) error {
	if len(names) == 0 {
		return nil
	}
	again, err := c.List(ctx, nil)
	if err != nil {
		return err
	}
	for _, name := range names {
		if slices.ContainsFunc(again, func(data ListData) bool { return sameMailbox(data.Name(), name) }) == listed {
			return c.fail(&StaleListError{Mailbox: name, Listed: listed})
		}
	}
	return nil
}

// selects reports whether a mailbox of a list is the one that is open.
func (c *Conn) selects(data *ListData) bool {
	return c.mailbox != nil && sameMailbox(c.mailbox.name, data.Name())
}
