package sandbox

import (
	"errors"
	"math"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"

	// Without it the server's envelopes lack whatever is in a charset other
	// than ASCII and UTF-8, senders included.
	_ "github.com/emersion/go-message/charset"
)

// A session is one connection's. It stands between the protocol, which
// imapserver speaks, and the mail, which imapmemserver keeps; what is not
// overridden here is good as it is there.
type session struct {
	*imapmemserver.UserSession // nil before the login

	server   *Server
	account  *account // nil before the login
	readOnly bool     // the mailbox was opened with EXAMINE
}

var (
	_ imapserver.SessionNamespace = (*session)(nil)
	_ imapserver.SessionMove      = (*session)(nil)
)

var errClosed = errors.New("the sandbox is closed")

// newSession begins the session of a new connection, unless the server has been
// closed: the connection was accepted just before then, too late for imapserver
// to know of it when it was closed.
func (s *Server) newSession(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, errClosed
	}
	s.sessions.Add(1)
	return &session{server: s}, nil, nil
}

// Close ends the session.
func (s *session) Close() error {
	defer s.server.sessions.Done()
	return s.UserSession.Close()
}

// Login checks the password.
func (s *session) Login(username, password string) error {
	a := s.server.account(username)
	if a == nil {
		return imapserver.ErrAuthFailed
	}
	if err := a.user.Login(username, password); err != nil {
		return err
	}
	s.account = a
	s.UserSession = imapmemserver.NewUserSession(a.user)
	return nil
}

// Create makes a folder.
func (s *session) Create(name string, options *imap.CreateOptions) error {
	return s.account.create(name, options)
}

// Delete removes a folder.
func (s *session) Delete(name string) error { return s.account.delete(name) }

// Rename renames a folder.
func (s *session) Rename(from, to string, _ *imap.RenameOptions) error {
	return s.account.rename(from, to)
}

// Subscribe marks a folder as subscribed.
func (s *session) Subscribe(name string) error { return s.account.subscribe(name, true) }

// Unsubscribe marks a folder as not subscribed.
func (s *session) Unsubscribe(name string) error { return s.account.subscribe(name, false) }

// Append adds a message.
func (s *session) Append(name string, r imap.LiteralReader, options *imap.AppendOptions) (*imap.AppendData, error) {
	data, err := s.account.append(name, r, options)
	if !s.has(imap.CapUIDPlus) {
		data = nil
	}
	return data, err
}

// has reports whether the server is one that has the extension.
func (s *session) has(extension imap.Cap) bool { return s.server.caps.Has(extension) }

// errUnknown answers a command of an extension that the server does without.
var errUnknown = &imap.Error{
	Type: imap.StatusResponseTypeBad, Code: imap.ResponseCodeClientBug, Text: "Unknown command",
}

// Select opens a mailbox. The in-memory server neither heeds EXAMINE nor offers
// flags that no message has yet.
func (s *session) Select(name string, options *imap.SelectOptions) (*imap.SelectData, error) {
	data, err := s.UserSession.Select(name, options)
	if err != nil {
		return nil, err
	}
	s.readOnly = options.ReadOnly
	data.Flags = withSystemFlags(data.Flags)
	data.PermanentFlags = nil
	if !s.readOnly {
		data.PermanentFlags = append(slices.Clone(data.Flags), imap.FlagWildcard)
	}
	return data, nil
}

var systemFlags = []imap.Flag{imap.FlagAnswered, imap.FlagFlagged, imap.FlagDeleted, imap.FlagSeen, imap.FlagDraft}

// withSystemFlags gives the system flags and those of the flags that are not
// among them.
func withSystemFlags(flags []imap.Flag) []imap.Flag {
	all := slices.Clone(systemFlags)
	for _, flag := range flags {
		if !strings.HasPrefix(string(flag), `\`) {
			all = append(all, flag)
		}
	}
	return all
}

// Idle tells the client of changes as they come. It looks once after it has
// begun to watch: the in-memory server's own Idle does not, and so keeps silent
// about what happened between the client's last command and its IDLE.
func (s *session) Idle(w *imapserver.UpdateWriter, stop <-chan struct{}) error {
	changed := s.account.watch()
	defer s.account.unwatch(changed)
	for {
		if err := s.Poll(w, true); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-stop:
			return nil
		}
	}
}

// Fetch answers with messages' data.
func (s *session) Fetch(w *imapserver.FetchWriter, numSet imap.NumSet, options *imap.FetchOptions) error {
	numSet, err := s.announced(numSet)
	if err != nil {
		return err
	}
	for _, section := range options.BodySection {
		section.Peek = section.Peek || s.readOnly
		if !section.Peek { // RFC 9051 section 6.4.5: reading sets \Seen
			defer s.account.changed()
		}
	}
	return s.UserSession.Fetch(w, numSet, options)
}

// Store changes messages' flags.
func (s *session) Store(w *imapserver.FetchWriter, numSet imap.NumSet, flags *imap.StoreFlags, options *imap.StoreOptions) error {
	if s.readOnly {
		return errReadOnly
	}
	numSet, err := s.announced(numSet)
	if err != nil {
		return err
	}
	defer s.account.changed()
	return s.UserSession.Store(w, numSet, flags, options)
}

var errReadOnly = refusal("", "The mailbox is open for reading only")

// announced reduces a set of UIDs to messages whose EXISTS the client has been
// sent. The others have no sequence number yet, and the in-memory server would
// answer with number 0.
func (s *session) announced(numSet imap.NumSet) (imap.NumSet, error) {
	uids, ok := numSet.(imap.UIDSet)
	if !ok || imap.IsSearchRes(numSet) {
		return numSet, nil
	}
	var everyNumber imap.SeqSet
	// Not 1:*, which the in-memory server takes to end with its own count: while
	// EXPUNGEs are still to be told, the client's numbers go beyond that. A message
	// without a number, which is 0, is not in it.
	everyNumber.AddRange(1, math.MaxUint32)
	data, err := s.Search(imapserver.NumKindUID, &imap.SearchCriteria{
		UID:    []imap.UIDSet{uids},
		SeqNum: []imap.SeqSet{everyNumber},
	}, &imap.SearchOptions{})
	if err != nil {
		return nil, err
	}
	return data.All, nil
}

// Expunge removes messages that have the flag \Deleted. It removes nothing from
// a mailbox that was opened with EXAMINE, and keeps silent about that, because
// it is called for CLOSE, too, which then is no error (RFC 9051 section 6.4.1).
func (s *session) Expunge(w *imapserver.ExpungeWriter, uids *imap.UIDSet) error {
	if uids != nil && !s.has(imap.CapUIDPlus) {
		return errUnknown
	}
	if s.readOnly {
		return nil
	}
	defer s.account.changed()
	return s.UserSession.Expunge(w, uids)
}

// Copy copies messages to another mailbox.
func (s *session) Copy(numSet imap.NumSet, target string) (*imap.CopyData, error) {
	data, err := s.copy(numSet, target)
	if !s.has(imap.CapUIDPlus) {
		data = nil
	}
	return data, err
}

func (s *session) copy(numSet imap.NumSet, target string) (*imap.CopyData, error) {
	s.account.transfer.Lock()
	defer s.account.transfer.Unlock()
	defer s.account.changed()
	data, err := s.UserSession.Copy(numSet, target)
	if err != nil {
		return nil, err
	}
	// RFC 4315 section 3: there is no COPYUID of nothing.
	if len(data.SourceUIDs) == 0 {
		return nil, nil
	}
	return data, nil
}

// Move moves messages to another mailbox, as RFC 6851 section 3.3 describes it:
// a copy, a flag and an expunge. The expunges are sent when the session is
// polled after the command; the in-memory server's own Move sends them itself as
// well.
func (s *session) Move(w *imapserver.MoveWriter, numSet imap.NumSet, target string) error {
	switch {
	case !s.has(imap.CapMove):
		return errUnknown
	case s.readOnly:
		return errReadOnly
	}
	data, err := s.copy(numSet, target)
	if err != nil || data == nil {
		return err
	}
	if s.has(imap.CapUIDPlus) {
		if err := w.WriteCopyData(data); err != nil {
			return err
		}
	}
	deleted := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}
	if err := s.UserSession.Store(nil, data.SourceUIDs, deleted, &imap.StoreOptions{}); err != nil {
		return err
	}
	defer s.account.changed()
	return s.UserSession.Expunge(nil, &data.SourceUIDs)
}
