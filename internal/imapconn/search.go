package imapconn

import (
	"context"
	"errors"
	"fmt"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/imapwire"
)

// capPartial is PARTIAL (RFC 9394).
const capPartial imap.Cap = "PARTIAL"

// SearchCriteria are go-imap's with the keys it lacks.
type SearchCriteria = imapwire.SearchCriteria

// SearchData is the result of a search. Its sets are ranges.
type SearchData = imapwire.SearchData

// SearchOptions says what to tell of the messages found. The zero value, and
// any value where the server lacks ESEARCH, gives All.
type SearchOptions struct {
	ReturnMin, ReturnMax, ReturnAll, ReturnCount bool
	// ReturnSave keeps the result on the server, for [imap.SearchRes] in the
	// next command (SEARCHRES, RFC 5182). It fails without the capability.
	ReturnSave bool
	// Partial is the part of the result that is wanted, such as "-1:-100" for
	// the last hundred (RFC 9394). It fails without the capability.
	Partial string
}

// BadCharsetError says that the server does not search for text beyond
// US-ASCII: see [Conn.Search].
type BadCharsetError struct {
	// Charsets are those that the server says it knows.
	Charsets []string
	Err      *Error
}

func (e *BadCharsetError) Error() string { return e.Err.Error() }

// Unwrap returns the server's refusal.
func (e *BadCharsetError) Unwrap() error { return e.Err }

// Search searches the selected mailbox by UID SEARCH (RFC 9051 section 6.4.4).
// The numbers of the result are UIDs.
//
// If the server refuses the criteria because of their charset the error is a
// [*BadCharsetError]. The caller may then search without the offending strings
// and look through the result itself.
func (c *Conn) Search(ctx context.Context, criteria *SearchCriteria, opts *SearchOptions) (*SearchData, error) {
	if c.usable() == nil && c.mailbox == nil {
		return nil, &StateError{Command: "SEARCH", Reason: "no mailbox is selected"}
	}
	if opts == nil {
		opts = &SearchOptions{}
	}
	switch {
	case opts.ReturnSave && !c.Has(imap.CapSearchRes):
		return nil, &CapabilityError{Command: "SEARCH", Cap: imap.CapSearchRes}
	case opts.Partial != "" && !c.Has(capPartial):
		return nil, &CapabilityError{Command: "SEARCH", Cap: capPartial}
	}
	return c.search(ctx, criteria, opts)
}

// search searches after other commands, in the same round trip.
func (c *Conn) search(ctx context.Context, criteria *SearchCriteria, opts *SearchOptions, before ...*command) (*SearchData, error) {
	s := &searching{c: c}
	search := s.command(criteria, opts)
	if err := c.run(ctx, append(before, search)...); err != nil {
		return nil, err
	}
	if err := search.err(); err != nil {
		return nil, badCharset(err, criteria)
	}
	data, err := s.result()
	if err != nil || *opts == (SearchOptions{}) || !s.unanswered(opts) {
		return data, err
	}
	return c.search(ctx, criteria, &SearchOptions{})
}

// unanswered reports whether the server took RETURN and then did not answer to
// it, as some do. RFC 4731 section 3.1 asks for an answer even to nothing found,
// unlike SEARCH.
func (s *searching) unanswered(opts *SearchOptions) bool {
	switch {
	case !s.c.extendedSearch() && opts.Partial == "" || opts.ReturnSave:
		return false
	case s.data == nil:
		return true
	case len(s.data.All) > 0:
		return false
	case opts.Partial != "":
		return s.data.Partial == nil
	}
	return opts.ReturnAll && s.data.Count != nil && *s.data.Count > 0
}

// capApple tells iCloud's server, whose ESEARCH cannot be relied on.
const capApple imap.Cap = "XAPPLEPUSHSERVICE"

// extendedSearch reports whether the server can be asked with RETURN.
func (c *Conn) extendedSearch() bool { return c.Has(imap.CapESearch) && !c.Has(capApple) }

// badCharset tells a refusal of the criteria's charset. Not all servers give the
// reason by its code: what they refuse without any is taken for the charset
// where one had to be named.
func badCharset(err error, criteria *SearchCriteria) error {
	var refused *Error
	if !errors.As(err, &refused) || refused.Code != imap.ResponseCodeBadCharset && (refused.Code != "" || criteria.IsASCII()) {
		return err
	}
	status := imapwire.Status{Code: refused.Code, Arg: refused.CodeArgs}
	charsets, _ := status.BadCharset()
	return &BadCharsetError{Charsets: charsets, Err: refused}
}

// searching is a UID SEARCH under way.
type searching struct {
	c    *Conn
	cmd  *command
	data *SearchData
	// found is called when the answer arrives, in the midst of the command.
	found func(*SearchData)
}

func (s *searching) command(criteria *SearchCriteria, opts *SearchOptions) *command {
	s.cmd = &command{name: "UID SEARCH", data: s.read, encode: func(e *imapwire.Encoder) {
		e.Atom("UID").SP().Atom("SEARCH").SP()
		s.c.encodeReturn(e, opts)
		e.SearchProgram(criteria)
	}}
	return s.cmd
}

// encodeReturn writes the RETURN options of SEARCH (RFC 4731 section 3.1).
func (c *Conn) encodeReturn(e *imapwire.Encoder, opts *SearchOptions) {
	extended := c.extendedSearch()
	items := []string{}
	for _, item := range []struct {
		name   string
		wanted bool
	}{
		{"MIN", opts.ReturnMin && extended},
		{"MAX", opts.ReturnMax && extended},
		{"COUNT", opts.ReturnCount && extended},
		{"ALL", opts.ReturnAll && extended},
		{"SAVE", opts.ReturnSave},
	} {
		if item.wanted {
			items = append(items, item.name)
		}
	}
	if opts.Partial != "" {
		items = append(items, "PARTIAL")
	}
	if len(items) == 0 {
		return
	}
	e.Atom("RETURN").SP().List(len(items), func(i int) {
		e.Atom(items[i])
		if items[i] == "PARTIAL" {
			e.SP().Atom(opts.Partial)
		}
	}).SP()
}

// read takes SEARCH and ESEARCH alike: a server that speaks IMAP4rev2 only
// answers the one with the other.
func (s *searching) read(r imapwire.Response) (claimed bool, err error) {
	var data *SearchData
	switch r.Name {
	case "SEARCH":
		data, err = s.c.dec.Search()
	case "ESEARCH":
		data, err = s.c.dec.ESearch()
	default:
		return false, nil
	}
	if err != nil {
		return true, err
	}
	if data.Tag != "" && data.Tag != s.cmd.tag {
		return true, nil // of another command
	}
	s.data = data
	if s.found != nil {
		s.found(data)
	}
	return true, nil
}

// result returns the answer. None at all is an empty result: some servers leave
// it out.
func (s *searching) result() (*SearchData, error) {
	if s.data == nil && s.cmd.malformed != nil {
		return nil, &ProtocolError{Command: "SEARCH", Err: s.cmd.malformed}
	}
	if s.data == nil {
		return &SearchData{UID: true}, nil
	}
	return s.data, nil
}

// count returns the number of messages found, whatever form the answer has.
func count(data *SearchData) uint32 {
	if data.Count != nil {
		return *data.Count
	}
	return uint32(imapwire.CountUIDs(data.All))
}

// partialLast names the last n of a result.
func partialLast(n int) string { return fmt.Sprintf("-1:-%d", n) }
