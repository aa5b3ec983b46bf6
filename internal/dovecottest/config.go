package dovecottest

import (
	"context"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"text/template"

	"github.com/postern-mail/postern/internal/daemontest"
)

//go:embed conf/*.tmpl
var templates embed.FS

var configTemplates = template.Must(template.ParseFS(templates, "conf/*.tmpl"))

// config is what a configuration template is filled with.
type config struct {
	settings
	Dir           string
	Root          bool
	Owner         owner
	Port, TLSPort int
	// The ports of services that are not asked for are 0.
	LMTPPort, SubmissionPort, SubmissionTLSPort int

	SpecialUse []specialUse
}

// choosePorts chooses ports for the services that are asked for.
func (c *config) choosePorts() {
	c.Port, c.TLSPort = daemontest.FreePort(), daemontest.FreePort()
	if c.LMTP {
		c.LMTPPort = daemontest.FreePort()
	}
	if c.Relay != nil {
		c.SubmissionPort, c.SubmissionTLSPort = daemontest.FreePort(), daemontest.FreePort()
	}
}

type specialUse struct{ Name, Attr string }

var specialUses = []specialUse{
	{"Archive", `\Archive`},
	{"Drafts", `\Drafts`},
	{"Junk", `\Junk`},
	{"Sent", `\Sent`},
	{"Trash", `\Trash`},
}

// write fills the template of the installed version into dovecot.conf.
func (c config) write(dialect string) error {
	f, err := os.OpenFile(filepath.Join(c.Dir, "dovecot.conf"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	if err := configTemplates.ExecuteTemplate(f, "dovecot-"+dialect+".conf.tmpl", c); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// An installation is a Dovecot found on this machine.
type installation struct {
	dovecot, doveadm string
	dialect          string // of the configuration, named after the version that began it
}

// findInstallation looks for Dovecot in PATH and where the systems put it: an
// ordinary user's PATH often lacks the sbin directories.
func findInstallation(ctx context.Context) (installation, error) {
	dovecot, err := daemontest.FindProgram("dovecot", howToInstall)
	if err != nil {
		return installation{}, err
	}
	doveadm, err := daemontest.FindProgram("doveadm", howToInstall)
	if err != nil {
		return installation{}, err
	}
	out, err := exec.CommandContext(ctx, dovecot, "--version").Output()
	if err != nil {
		return installation{}, fmt.Errorf("ask %s for its version: %w", dovecot, err)
	}
	version := strings.TrimSpace(string(out))
	for _, dialect := range []string{"2.3", "2.4"} {
		if strings.HasPrefix(version, dialect+".") {
			return installation{dovecot: dovecot, doveadm: doveadm, dialect: dialect}, nil
		}
	}
	return installation{}, fmt.Errorf("the tests can configure Dovecot 2.3 and 2.4; %s is version %s", dovecot, version)
}

// howToInstall says how to get the programs that these tests need.
const howToInstall = "the tests need Dovecot's IMAP, LMTP and submission servers (Debian, Ubuntu: apt-get install dovecot-imapd dovecot-lmtpd dovecot-submissiond; Fedora: dnf install dovecot; macOS: brew install dovecot)"

// An owner says as whom Dovecot's processes run. Empty names leave Dovecot's
// defaults.
type owner struct {
	Internal, InternalGroup, Login string
	MailUID, MailGID               string
}

// findOwner gives mail to nobody when run as root, because Dovecot refuses to
// serve mail as root, and everything to the present user otherwise.
func findOwner() (owner, error) {
	if os.Geteuid() != 0 {
		return ordinaryOwner()
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		return owner{}, err
	}
	o := owner{MailUID: nobody.Uid, MailGID: nobody.Gid}
	_, errInternal := user.Lookup("dovecot")
	_, errLogin := user.Lookup("dovenull")
	if errInternal == nil && errLogin == nil {
		return o, nil
	}
	group, err := user.LookupGroupId(nobody.Gid)
	if err != nil {
		return owner{}, err
	}
	o.Internal, o.InternalGroup, o.Login = nobody.Username, group.Name, nobody.Username
	return o, nil
}

func ordinaryOwner() (owner, error) {
	me, err := user.Current()
	if err != nil {
		return owner{}, err
	}
	group, err := user.LookupGroupId(me.Gid)
	if err != nil {
		return owner{}, err
	}
	return owner{
		Internal:      me.Username,
		InternalGroup: group.Name,
		Login:         me.Username,
		MailUID:       me.Uid,
		MailGID:       me.Gid,
	}, nil
}

// makeDir makes the server's directory. Its path is short because Dovecot puts
// Unix sockets into it, whose paths may not exceed some 100 bytes, and others
// may enter it because Dovecot's processes run as several users.
func makeDir(o owner) (dir string, err error) {
	parent := os.TempDir()
	if len(parent) > 40 {
		parent = "/tmp"
	}
	dir, err = os.MkdirTemp(parent, "dovecot")
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(dir)
		}
	}()
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", err
	}
	if err := writeTokenKey(dir); err != nil {
		return "", err
	}
	mail := filepath.Join(dir, "mail")
	if err := os.Mkdir(mail, 0o700); err != nil {
		return "", err
	}
	if os.Geteuid() != 0 {
		return dir, nil
	}
	uid, err := strconv.Atoi(o.MailUID)
	if err != nil {
		return "", err
	}
	gid, err := strconv.Atoi(o.MailGID)
	if err != nil {
		return "", err
	}
	return dir, os.Chown(mail, uid, gid)
}
