package imapconn

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/imapwire"
)

// ListOptions says which mailboxes to list and what to tell of them. What the
// server cannot do is left out of the command.
type ListOptions struct {
	imap.ListOptions
	// Reference is put before the pattern by the server; usually it is empty.
	Reference string
	// Pattern selects by name: "*" stands for anything, "%" for anything but
	// the hierarchy delimiter. Empty means "*".
	Pattern string
	// Status asks for the state of each mailbox (LIST-STATUS, RFC 5819). Without
	// the capability Status is nil in the answers: ask by [Conn.ListStatus].
	Status *StatusOptions
	// Prefixes tells of each mailbox what part of its name is the personal
	// namespace's (RFC 2342). It costs no round trip of its own.
	Prefixes bool
}

// ListData is what the server tells of a mailbox. Names are decoded, INBOX in
// capitals; RawName has what the server wrote.
type ListData struct {
	imapwire.ListData
	// Status is the mailbox's state, if it was asked for and is known.
	Status *StatusData
	// Prefix is what the name begins with only because the user's mailboxes are
	// in a namespace of that prefix, such as "INBOX.". It is empty unless it was
	// asked for.
	Prefix string
	// utf8 says that the server writes names in UTF-8, not in modified UTF-7.
	utf8 bool
}

// Selectable reports whether the mailbox can be opened. One that cannot is there
// for those below it.
func (d *ListData) Selectable() bool {
	// RFC 9051 section 7.3.1: \NonExistent implies \Noselect.
	return !slices.ContainsFunc(d.Attrs, func(attr imap.MailboxAttr) bool {
		return strings.EqualFold(string(attr), string(imap.MailboxAttrNoSelect)) ||
			strings.EqualFold(string(attr), string(imap.MailboxAttrNonExistent))
	})
}

// Name returns the name that the methods of [Conn] take for the mailbox: the
// decoded one, unless encoding that leads elsewhere.
func (d *ListData) Name() string { return nameOf(d.Mailbox, d.RawName, d.utf8) }

func nameOf(decoded, raw string, utf8 bool) string {
	encoded := decoded
	if !utf8 {
		encoded = imapwire.EncodeUTF7(encoded)
	}
	if decoded == "INBOX" || encoded == raw {
		return decoded
	}
	return RawName(raw)
}

// capXList is Gmail's forerunner of SPECIAL-USE.
const capXList imap.Cap = "XLIST"

// List lists mailboxes (RFC 9051 section 6.3.9), with special uses by XLIST and
// subscriptions by LSUB where the server is that old; in one round trip. Patterns are patterns: a
// mailbox whose name contains "*" or "%" can only be told by comparing names.
//
// An empty answer is no proof that there are no mailboxes; servers in trouble
// have been seen to give one.
func (c *Conn) List(ctx context.Context, opts *ListOptions) ([]ListData, error) {
	if opts == nil {
		opts = &ListOptions{}
	}
	l := &listing{c: c}
	l.byName = make(map[string]int)
	list := l.command(c.listVerb(opts), c.listOptions(opts), opts)
	cmds := []*command{list}
	if opts.Prefixes && c.personal == nil && c.Has(imap.CapNamespace) {
		cmds = []*command{c.personalCommand(), list}
	}
	if opts.ReturnSubscribed && !opts.SelectSubscribed && !c.hasListExtended() {
		cmds = append(cmds, l.subscriptions(opts))
	}
	if err := c.run(ctx, cmds...); err != nil {
		return nil, err
	}
	if err := list.err(); err != nil {
		return nil, err
	}
	if len(l.found) == 0 && l.malformed {
		return nil, &ProtocolError{Command: "LIST", Err: errNoData}
	}
	if opts.Prefixes {
		for i := range l.found {
			l.found[i].Prefix = c.prefixOf(&l.found[i])
		}
	}
	return l.found, nil
}

// ListStatus lists mailboxes with the state of each that can be opened: in the
// same round trip where the server has LIST-STATUS, else by STATUS. Without
// LIST-STATUS nothing is told of the mailbox that is selected, since to ask for
// its state is not portable (RFC 9051 section 6.3.11). Status stays nil where the
// server refuses to tell. It fails with a [*StaleListError] if a mailbox is listed
// that is not there any more.
func (c *Conn) ListStatus(ctx context.Context, opts *ListOptions) ([]ListData, error) {
	found, err := c.List(ctx, opts)
	if err != nil {
		return nil, err
	}
	var missing []*ListData
	var names []string
	for i := range found {
		data := &found[i]
		if data.Status != nil || !data.Selectable() || c.selects(data) || c.Has(imap.CapListStatus) {
			continue
		}
		missing = append(missing, data)
		names = append(names, data.Name())
	}
	results, err := c.StatusAll(ctx, names, opts.Status)
	if err != nil {
		return nil, err
	}
	for i := range results {
		missing[i].Status = results[i].Data
	}
	if err := c.checkPhantoms(ctx, found, opts.Status); err != nil {
		return nil, err
	}
	return found, nil
}

// listVerb chooses the command: LIST unless only an older one can do it.
func (c *Conn) listVerb(opts *ListOptions) string {
	switch {
	case opts.SelectSubscribed && !c.hasListExtended():
		return "LSUB"
	case opts.ReturnSpecialUse && !c.Has(imap.CapSpecialUse) && c.Has(capXList):
		return "XLIST"
	}
	return "LIST"
}

func (c *Conn) hasListExtended() bool { return c.Has(imap.CapListExtended) }

// listOptions returns the options that the server understands.
func (c *Conn) listOptions(opts *ListOptions) *imapwire.ListOptions {
	o := &imapwire.ListOptions{ListOptions: opts.ListOptions}
	o.ListOptions.ReturnStatus = nil
	if !c.hasListExtended() {
		// SPECIAL-USE and LIST-STATUS bring the syntax of options along
		// (RFC 6154 section 2, RFC 5819 section 2).
		o.SelectSubscribed, o.SelectRemote, o.SelectRecursiveMatch = false, false, false
		o.ReturnSubscribed, o.ReturnChildren = false, false
	}
	if !c.Has(imap.CapSpecialUse) {
		o.SelectSpecialUse, o.ReturnSpecialUse = false, false
	}
	if opts.Status != nil && c.Has(imap.CapListStatus) {
		o.ReturnStatus = c.statusOptions(opts.Status)
	}
	return o
}

// listing collects the answers of one LIST.
type listing struct {
	c         *Conn
	found     []ListData
	byName    map[string]int // by raw name
	malformed bool
}

func (l *listing) command(verb string, o *imapwire.ListOptions, opts *ListOptions) *command {
	pattern := opts.Pattern
	if pattern == "" {
		pattern = "*"
	}
	return &command{name: verb, data: l.read, encode: func(e *imapwire.Encoder) {
		e.Atom(verb).SP()
		if verb == "LIST" {
			e.ListArguments(o, opts.Reference, pattern)
		} else {
			e.ListArguments(&imapwire.ListOptions{}, opts.Reference, pattern)
		}
	}}
}

// subscriptions asks which of the mailboxes that were listed are subscribed, as a
// command behind the list. Should it be refused, none is known to be.
func (l *listing) subscriptions(opts *ListOptions) *command {
	cmd := l.command("LSUB", &imapwire.ListOptions{}, opts)
	cmd.data = exactly("LSUB", func(imapwire.Response) error {
		data, err := l.c.dec.List()
		if err != nil {
			return err
		}
		// RFC 3501 section 6.3.9: \Noselect is one above others that are.
		i, ok := l.byName[data.RawName]
		if ok && !slices.Contains(data.Attrs, imap.MailboxAttrNoSelect) {
			l.found[i].Attrs = append(l.found[i].Attrs, imap.MailboxAttrSubscribed)
		}
		return nil
	})
	return cmd
}

func (l *listing) read(r imapwire.Response) (claimed bool, err error) {
	switch strings.ToUpper(r.Name) {
	case "LIST", "LSUB", "XLIST":
		return true, l.mailbox(r.Name)
	case "STATUS":
		return true, l.status()
	}
	return false, nil
}

func (l *listing) mailbox(verb string) error {
	data, err := l.c.dec.List()
	if err != nil {
		l.malformed = true
		return err
	}
	if strings.EqualFold(verb, "XLIST") {
		translateXList(data)
	}
	if strings.EqualFold(verb, "LSUB") {
		data.Attrs = append(data.Attrs, imap.MailboxAttrSubscribed)
	}
	if i, ok := l.byName[data.RawName]; ok {
		// Servers repeat a mailbox to add what they learned of it.
		status := l.found[i].Status
		l.found[i] = ListData{ListData: *data, Status: status, utf8: l.c.dec.UTF8}
		return nil
	}
	if len(l.found) >= maxMailboxes {
		return &callbackError{&ProtocolError{Command: "LIST", Err: errTooMany}}
	}
	l.byName[data.RawName] = len(l.found)
	l.found = append(l.found, ListData{ListData: *data, utf8: l.c.dec.UTF8})
	return nil
}

// maxMailboxes bounds a list; no account comes near it.
const maxMailboxes = 1 << 17

// errTooMany says that a server sends more than anyone can use.
var errTooMany = errors.New("too many mailboxes")

// status takes the state of a mailbox, which follows its LIST response, unless
// the mailbox is none of the list: then it is news by NOTIFY.
func (l *listing) status() error {
	data, err := l.c.dec.Status()
	if err != nil {
		return err
	}
	if i, ok := l.byName[data.RawName]; ok {
		l.take(i, data)
		return nil
	}
	// Some servers spell INBOX differently here and there.
	for i := range l.found {
		if sameMailbox(l.found[i].Mailbox, data.Mailbox) {
			l.take(i, data)
			return nil
		}
	}
	l.c.news(data)
	return nil
}

// take gives a mailbox its state. With NOTIFY on, what comes may be news of it,
// which has fewer items than were asked for.
func (l *listing) take(i int, data *StatusData) {
	if before := l.found[i].Status; before != nil && l.c.notifying {
		l.c.news(data)
		if data.UIDValidity == 0 {
			return
		}
	}
	l.found[i].Status = data
}

// translateXList gives XLIST's attributes their standard names, and INBOX its
// name: Gmail lists it under a localised one with the attribute \Inbox.
func translateXList(data *imapwire.ListData) {
	for i, attr := range data.Attrs {
		switch strings.ToLower(string(attr)) {
		case `\inbox`:
			data.Mailbox = "INBOX"
		case `\spam`:
			data.Attrs[i] = imap.MailboxAttrJunk
		case `\allmail`:
			data.Attrs[i] = imap.MailboxAttrAll
		case `\starred`:
			data.Attrs[i] = imap.MailboxAttrFlagged
		}
	}
}
