package imapconn

import (
	"context"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/imapwire"
)

// StoreOptions says how to change flags.
type StoreOptions struct {
	// UnchangedSince, unless 0, leaves messages alone that have changed after
	// this mod-sequence (RFC 7162 section 3.1.3). It fails without CONDSTORE.
	UnchangedSince uint64
	// Result, unless nil, is called for what the server tells of the messages:
	// their flags, unless the change is silent, and their mod-sequences.
	Result func(*FetchMessage) error
}

// StoreData is the outcome of a STORE that was carried out.
type StoreData struct {
	// Modified has the messages that were left alone because of UnchangedSince,
	// as UIDs or sequence numbers as in the call.
	Modified imap.NumSet
}

// Store changes the flags of messages by UID or sequence number, depending on
// the type of set (RFC 9051 section 6.4.6). Messages that are gone are left out.
func (c *Conn) Store(ctx context.Context, set imap.NumSet, flags *imap.StoreFlags, opts *StoreOptions) (*StoreData, error) {
	return c.store(ctx, set, "FLAGS", flags.Op, flags.Silent, opts, func(e *imapwire.Encoder) { e.Flags(flags.Flags) })
}

// StoreLabels changes Gmail's labels of messages. It fails without X-GM-EXT-1.
func (c *Conn) StoreLabels(ctx context.Context, set imap.NumSet, op imap.StoreFlagsOp, labels []string) error {
	if !c.Has(capGmail) {
		return &CapabilityError{Command: "STORE", Cap: capGmail}
	}
	_, err := c.store(ctx, set, "X-GM-LABELS", op, true, nil, func(e *imapwire.Encoder) {
		e.List(len(labels), func(i int) { encodeName(e, labels[i]) })
	})
	return err
}

func (c *Conn) store(ctx context.Context, set imap.NumSet, item string, op imap.StoreFlagsOp, silent bool,
	opts *StoreOptions, value func(*imapwire.Encoder),
) (*StoreData, error) {
	if opts == nil {
		opts = &StoreOptions{}
	}
	switch {
	case c.usable() == nil && c.mailbox == nil:
		return nil, &StateError{Command: "STORE", Reason: "no mailbox is selected"}
	case opts.UnchangedSince > 0 && !c.Has(imap.CapCondStore):
		return nil, &CapabilityError{Command: "STORE", Cap: imap.CapCondStore}
	}
	switch op {
	case imap.StoreFlagsAdd:
		item = "+" + item
	case imap.StoreFlagsDel:
		item = "-" + item
	}
	if silent {
		item += ".SILENT"
	}
	var modified imap.UIDSet
	for _, part := range splitSet(set) {
		more, err := c.storePart(ctx, part, item, opts, value)
		if err != nil {
			return nil, err
		}
		modified.AddSet(more)
	}
	data := &StoreData{}
	if _, byUID := set.(imap.UIDSet); byUID && len(modified) > 0 {
		data.Modified = modified
	} else if len(modified) > 0 {
		data.Modified = imapwire.SeqSet(modified)
	}
	return data, nil
}

// storePart runs one STORE and returns the messages that were left alone.
func (c *Conn) storePart(ctx context.Context, set imap.NumSet, item string, opts *StoreOptions,
	value func(*imapwire.Encoder),
) (modified imap.UIDSet, err error) {
	result := opts.Result
	if result == nil {
		result = func(*FetchMessage) error { return nil }
	}
	f := &fetching{c: c, set: set, opts: &FetchOptions{}, fn: result}
	name := "STORE"
	if _, byUID := set.(imap.UIDSet); byUID {
		name = "UID STORE"
	}
	cmd := &command{name: name, data: f.read, encode: func(e *imapwire.Encoder) {
		if name != "STORE" {
			e.Atom("UID").SP()
		}
		e.Atom("STORE").SP().NumSet(set).SP()
		if opts.UnchangedSince > 0 {
			e.Special('(').Atom("UNCHANGEDSINCE").SP().ModSeq(opts.UnchangedSince).Special(')').SP()
		}
		e.Atom(item).SP()
		value(e)
	}}
	if err := c.run(ctx, cmd); err != nil {
		return nil, err
	}
	if f.stopped != nil {
		return nil, f.stopped
	}
	// RFC 7162 section 3.1.3: the code comes with OK, or with NO where nothing
	// was changed.
	if modified, ok := cmd.status.Modified(); ok {
		return modified, nil
	}
	return nil, fetchError(cmd)
}
