package dovecottest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// User gives a user that no other test has, with an empty INBOX and the folders
// Archive, Drafts, Junk, Sent and Trash of SPECIAL-USE.
func (s *Server) User(tb testing.TB) (username, password string) {
	tb.Helper()
	return strings.ToLower(rand.Text()) + "@example.org", s.config.Password
}

// Password is the password of every user.
func (s *Server) Password() string { return s.config.Password }

// Client gives a connection of go-imap's client that is logged in as the user:
// the other client that changes the mailbox while the one under test looks. It
// is closed with the test.
func (s *Server) Client(tb testing.TB, username string) *imapclient.Client {
	tb.Helper()
	c, err := s.login(username)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	return c
}

func (s *Server) login(username string) (*imapclient.Client, error) {
	c, err := imapclient.DialInsecure(s.Addr(), nil)
	if err != nil {
		return nil, fmt.Errorf("dial Dovecot: %w", err)
	}
	if err := c.Login(username, s.config.Password).Wait(); err != nil {
		c.Close()
		return nil, fmt.Errorf("log in as %s: %w", username, err)
	}
	return c, nil
}

// Deliver puts a message into a user's folder, which it creates if need be, and
// gives the message's UID. It does so by APPEND on a connection of its own.
func (s *Server) Deliver(tb testing.TB, username, folder string, raw []byte) imap.UID {
	tb.Helper()
	c, err := s.login(username)
	if err != nil {
		tb.Fatal(err)
	}
	defer c.Close()
	data, err := appendMessage(c, folder, raw)
	var refused *imap.Error
	if errors.As(err, &refused) && refused.Code == imap.ResponseCodeTryCreate {
		if err := c.Create(folder, nil).Wait(); err != nil {
			tb.Fatalf("create %q: %v", folder, err)
		}
		data, err = appendMessage(c, folder, raw)
	}
	if err != nil {
		tb.Fatalf("deliver into %q: %v", folder, err)
	}
	return data.UID
}

func appendMessage(c *imapclient.Client, folder string, raw []byte) (*imap.AppendData, error) {
	cmd := c.Append(folder, int64(len(raw)), nil)
	_, errWrite := cmd.Write(raw)
	errClose := cmd.Close()
	data, err := cmd.Wait()
	if err == nil {
		err = errors.Join(errWrite, errClose)
	}
	return data, err // the server's refusal says more than the broken write
}

// FreezeLists makes all connections that a user has now go on listing the folders
// as they are, whatever becomes of them: their index is damaged under them, which
// also happens by itself. Connections that are opened later repair it.
func (s *Server) FreezeLists(tb testing.TB, username string) {
	tb.Helper()
	log := filepath.Join(s.config.Dir, "mail", username, "mail", "dovecot.list.index.log")
	info, err := os.Stat(log)
	if err == nil {
		err = os.Truncate(log, info.Size()/2)
	}
	if err != nil {
		tb.Fatalf("damage the index of the folders: %v", err)
	}
}

// Kick ends all of a user's connections, as an administrator does. The clients
// see their connection closed, without BYE.
func (s *Server) Kick(tb testing.TB, username string) {
	tb.Helper()
	s.Doveadm(tb, "kick", username)
}

// Doveadm runs Dovecot's administration tool on this server and gives what it
// prints.
func (s *Server) Doveadm(tb testing.TB, args ...string) string {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	args = append([]string{"-c", filepath.Join(s.config.Dir, "dovecot.conf")}, args...)
	cmd := exec.CommandContext(ctx, s.install.doveadm, args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		tb.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return string(out)
}
