package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
	"google.golang.org/grpc/codes"

	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/imapconn"
)

// folderChanges makes, moves and deletes folders on servers, and keeps what is
// known of them in step.
type folderChanges struct {
	lister   folderLister
	registry *folder.Registry
	reselect func(accountID string)
	watch    Watch
}

// folderChange is a change of an account's folders under way. Nobody else changes
// or compares them on this node meanwhile.
type folderChange struct {
	*folderChanges
	accountID string
	conn      *imapconn.Conn
	all       folderList
}

// run runs fn with a connection and the folders as they are. Whoever watches the
// account is told to look then: the change is announced by it alone.
func (s *folderChanges) run(ctx context.Context, accountID string, fn func(*folderChange) error) error {
	err := s.registry.Exclusive(ctx, accountID, func() error {
		return s.lister.with(ctx, accountID, func(c *imapconn.Conn, all folderList) error {
			return fn(&folderChange{folderChanges: s, accountID: accountID, conn: c, all: all})
		})
	})
	if s.watch != nil {
		s.watch.Look(accountID)
	}
	return err
}

// nameAt is the server's name for a path: below the folder that is there, or else
// in the user's namespace. It fails with [*folder.PathError].
func (c *folderChange) nameAt(ctx context.Context, path []string) (name string, clean []string, err error) {
	prefix, delimiter, err := c.conn.Prefix(ctx)
	if err != nil {
		return "", nil, err
	}
	if clean, err = folder.CleanPath(path, delimiter); err != nil {
		return "", nil, err
	}
	if len(clean) == 1 && clean[0] == inboxName {
		return inboxName, clean, nil
	}
	for n := len(clean) - 1; n > 0; n-- {
		above := c.all.at(clean[:n])
		if above == nil {
			continue
		}
		if above.Delimiter != 0 && above.Delimiter != delimiter {
			// Another namespace may have another one.
			if clean, err = folder.CleanPath(path, above.Delimiter); err != nil {
				return "", nil, err
			}
			delimiter = above.Delimiter
		}
		prefix = above.Name + string(delimiter)
		rest := strings.Join(clean[n:], string(delimiter))
		return imapconn.Below(prefix, rest, c.conn.Enabled(imap.CapUTF8Accept)), clean, nil
	}
	return prefix + strings.Join(clean, string(delimiter)), clean, nil
}

const inboxName = "INBOX"

// create makes a folder of that name. Servers make those above it as well (RFC
// 9051 section 6.3.4); for one that does not they are made first.
func (c *folderChange) create(ctx context.Context, name string, path []string, role folder.Role) error {
	return c.withParents(ctx, path, func() error {
		if attr := role.Attr(); attr != "" && c.conn.Has(imap.CapCreateSpecialUse) {
			_, err := c.conn.Create(ctx, name, attr)
			if !refusedWith(err, "USEATTR") { // RFC 6154 section 3: not for this use
				return err
			}
		}
		_, err := c.conn.Create(ctx, name)
		return err
	})
}

// withParents runs a command that makes a folder at a path. If it is refused, and
// there is none above the path yet, that one is made and it is tried again.
func (c *folderChange) withParents(ctx context.Context, path []string, command func() error) error {
	err := command()
	if !isRefused(err) || refusedWith(err, imap.ResponseCodeAlreadyExists) || len(path) < 2 {
		return err
	}
	above := path[:len(path)-1]
	if c.all.at(above) != nil {
		return err
	}
	name, _, nameErr := c.nameAt(ctx, above)
	if nameErr != nil {
		return nameErr
	}
	made := c.withParents(ctx, above, func() error {
		_, err := c.conn.Create(ctx, name)
		return err
	})
	switch {
	case isRefused(made) && !refusedWith(made, imap.ResponseCodeAlreadyExists):
		return err // the first refusal is about what was asked for
	case made != nil && !isRefused(made):
		return made
	}
	return command()
}

// subscribe puts a folder on the list of subscriptions, or takes it off. A refusal
// is no failure where it only goes along with something else.
func (c *folderChange) subscribe(ctx context.Context, name string, on bool) error {
	if on {
		return c.conn.Subscribe(ctx, name)
	}
	return c.conn.Unsubscribe(ctx, name)
}

// list reads the folders again, after a change.
func (c *folderChange) list(ctx context.Context) (err error) {
	c.all, err = c.lister.listOn(ctx, c.conn, c.accountID, nil)
	return err
}

// setRole records an override unless the folder has the role already, and reads
// the folders again.
func (c *folderChange) setRole(ctx context.Context, f *listedFolder, role folder.Role) (*listedFolder, error) {
	if err := c.registry.SetRole(ctx, c.accountID, f.Key, role); err != nil {
		return nil, err
	}
	if err := c.list(ctx); err != nil {
		return nil, err
	}
	return c.all.byKey(f.Key)
}

// leave closes the folder that is open on the connection, where it is one of those
// that are about to change: some servers do not rename or delete it otherwise.
func (c *folderChange) leave(ctx context.Context) error { return c.conn.Unselect(ctx) }

// checkEtag compares a folder with what the caller knows of it.
func checkEtag(f *listedFolder, etag string) error {
	if etag != "" && etag != f.etag() {
		return refuse(codes.Aborted, reasonEtagMismatch,
			"Somebody else has changed the folder meanwhile: get it again, and repeat the change with its new etag.")
	}
	return nil
}

// isRefused reports whether the server said NO, so that another way may be tried.
func isRefused(err error) bool {
	var refused *imapconn.Error
	if !errors.As(err, &refused) || refused.Type != imap.StatusResponseTypeNo {
		return false
	}
	_, throttled := imapconn.RetryAfter(err)
	return !throttled
}

func refusedWith(err error, codes ...imap.ResponseCode) bool {
	var refused *imapconn.Error
	return errors.As(err, &refused) && slices.Contains(codes, refused.Code)
}

func folderExists(path []string) error {
	return refuse(codes.AlreadyExists, reasonFolderExists, "There is a folder at %s already: choose another path.",
		said(strings.Join(path, " / ")))
}

// unlisted is the failure of a server that made a folder and does not list it.
func unlisted(name string) error {
	return &imapconn.ProtocolError{Command: "LIST", Err: fmt.Errorf("the folder %q was made and is not listed", said(name))}
}
