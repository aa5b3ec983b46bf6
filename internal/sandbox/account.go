package sandbox

import (
	"bytes"
	"slices"
	"strings"
	"sync"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"
)

const (
	inbox     = "INBOX"
	delimiter = "/"
)

type usualFolder struct {
	name string
	use  imap.MailboxAttr
}

// usualFolders are what each user has from the start.
var usualFolders = []usualFolder{
	{inbox, ""},
	{"Archive", imap.MailboxAttrArchive},
	{"Drafts", imap.MailboxAttrDrafts},
	{"Junk", imap.MailboxAttrJunk},
	{"Sent", imap.MailboxAttrSent},
	{"Trash", imap.MailboxAttrTrash},
}

// An account is one user's mail, and beside it what the in-memory server does
// not remember of folders or does not tell of changes.
type account struct {
	user *imapmemserver.User

	// transfer is held while messages go from one mailbox to another: the
	// in-memory server locks the source, then the target.
	transfer sync.Mutex

	mu       sync.Mutex
	folders  map[string]*folder
	watchers map[chan struct{}]struct{}
}

type folder struct {
	use        []imap.MailboxAttr
	subscribed bool
}

func newAccount(username, password string) (*account, error) {
	a := &account{
		user:     imapmemserver.NewUser(username, password),
		folders:  make(map[string]*folder),
		watchers: make(map[chan struct{}]struct{}),
	}
	for _, f := range usualFolders {
		options := &imap.CreateOptions{}
		if f.use != "" {
			options.SpecialUse = []imap.MailboxAttr{f.use}
		}
		if err := a.create(f.name, options); err != nil {
			return nil, err
		}
		if err := a.subscribe(f.name, true); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// watch gives a channel that gets a value after each change of the mail.
func (a *account) watch() chan struct{} {
	changed := make(chan struct{}, 1)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.watchers[changed] = struct{}{}
	return changed
}

func (a *account) unwatch(changed chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.watchers, changed)
}

// changed tells everyone who watches to look.
func (a *account) changed() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for watcher := range a.watchers {
		select {
		case watcher <- struct{}{}:
		default: // it has a look ahead of it anyway
		}
	}
}

func (a *account) append(name string, r imap.LiteralReader, options *imap.AppendOptions) (*imap.AppendData, error) {
	defer a.changed()
	return a.user.Append(name, r, options)
}

// create makes a folder and the folders above it (RFC 9051 section 6.3.4).
func (a *account) create(name string, options *imap.CreateOptions) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	name = strings.TrimSuffix(name, delimiter)
	segments := strings.Split(name, delimiter)
	if slices.Contains(segments, "") {
		return refusal(imap.ResponseCodeCannot, "A folder's name must not be empty")
	}
	for i := 1; i < len(segments); i++ {
		above := strings.Join(segments[:i], delimiter)
		if a.folders[above] != nil {
			continue
		}
		if err := a.createLocked(above, nil); err != nil {
			return err
		}
	}
	return a.createLocked(name, options.SpecialUse)
}

func (a *account) createLocked(name string, use []imap.MailboxAttr) error {
	if err := a.user.Create(name, &imap.CreateOptions{}); err != nil {
		return err
	}
	a.folders[name] = &folder{use: use}
	return nil
}

// delete removes a folder that has none below it.
func (a *account) delete(name string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	// RFC 9051 section 6.3.5: it is an error to delete INBOX.
	if name == inbox {
		return refusal(imap.ResponseCodeCannot, "INBOX cannot be deleted")
	}
	if a.hasChildrenLocked(name) {
		return refusal(imap.ResponseCodeHasChildren, "The folder has others below it")
	}
	if err := a.user.Delete(name); err != nil {
		return err
	}
	delete(a.folders, name)
	return nil
}

// rename renames a folder and all below it (RFC 9051 section 6.3.6). It does not
// know the special rules for renaming INBOX and refuses that.
func (a *account) rename(from, to string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	to = strings.TrimSuffix(to, delimiter)
	if from == inbox || to == inbox || to == "" || strings.HasPrefix(to, from+delimiter) {
		return refusal(imap.ResponseCodeCannot, "The folder cannot be renamed so")
	}
	if a.folders[from] == nil {
		return refusal(imap.ResponseCodeNonExistent, "No such folder")
	}
	moves := make(map[string]string)
	for name := range a.folders {
		if rest, ok := strings.CutPrefix(name, from); ok && (rest == "" || strings.HasPrefix(rest, delimiter)) {
			moves[name] = to + rest
		}
	}
	for _, target := range moves {
		if a.folders[target] != nil {
			return refusal(imap.ResponseCodeAlreadyExists, "There is a folder of that name")
		}
	}
	for name, target := range moves {
		if err := a.user.Rename(name, target, nil); err != nil {
			return err
		}
		a.folders[target] = a.folders[name]
		delete(a.folders, name)
	}
	return nil
}

func (a *account) subscribe(name string, subscribed bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	f := a.folders[name]
	if f == nil {
		return refusal(imap.ResponseCodeNonExistent, "No such folder")
	}
	f.subscribed = subscribed
	return nil
}

func (a *account) hasChildrenLocked(name string) bool {
	for other := range a.folders {
		if strings.HasPrefix(other, name+delimiter) {
			return true
		}
	}
	return false
}

func refusal(code imap.ResponseCode, text string) error {
	return &imap.Error{Type: imap.StatusResponseTypeNo, Code: code, Text: text}
}

// literal is a message in memory as APPEND takes it.
type literal struct{ *bytes.Reader }

func newLiteral(raw []byte) imap.LiteralReader { return literal{bytes.NewReader(raw)} }

func (l literal) Size() int64 { return l.Reader.Size() }
