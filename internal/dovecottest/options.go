package dovecottest

import (
	"fmt"
	"strings"
	"time"
)

// An Option changes how a server is configured.
type Option func(*settings)

// settings is what the options set; the zero value of a field is Dovecot's own
// default.
type settings struct {
	Password           string
	Names              []string
	Capability         string
	Separator          string
	Prefix             string
	Format             string
	Mechanisms         string
	Quota              string
	IdleNotifyInterval string
	CheckInterval      string
	LMTP               bool
	Relay              *relay
	Extra              []setting
}

// relay is where the submission service passes mail on to.
type relay struct {
	Port               int
	Username, Password string
}

type setting struct{ Name, Value string }

func defaultSettings() settings {
	return settings{
		Password:           "open-sesame",
		Separator:          "/",
		Format:             "sdbox",
		Mechanisms:         "plain login scram-sha-256 scram-sha-1 oauthbearer xoauth2",
		IdleNotifyInterval: seconds(2 * time.Minute),
		CheckInterval:      seconds(time.Second),
	}
}

// Capability replaces the list of capabilities that the server announces, for
// example "IMAP4rev1 IDLE UIDPLUS". Dovecot still understands everything else.
func Capability(names ...string) Option {
	return func(s *settings) { s.Capability = strings.Join(names, " ") }
}

// Password sets the password of every user: letters, digits and hyphens.
func Password(password string) Option {
	return func(s *settings) { s.Password = password }
}

// Names makes the server's certificate good for further names, besides localhost.
func Names(names ...string) Option {
	return func(s *settings) { s.Names = names }
}

// Separator sets the hierarchy delimiter, "/" by default.
func Separator(delimiter string) Option {
	return func(s *settings) { s.Separator = delimiter }
}

// Prefix puts all folders but INBOX into a namespace (RFC 2342), such as "INBOX.".
// It ends with the separator.
func Prefix(prefix string) Option {
	return func(s *settings) { s.Prefix = prefix }
}

// MailFormat sets how mail is stored: "sdbox" (the default), "maildir" or
// "mdbox".
func MailFormat(driver string) Option {
	return func(s *settings) { s.Format = driver }
}

// Mechanisms sets the SASL mechanisms. By default they are PLAIN, LOGIN,
// SCRAM-SHA-256, SCRAM-SHA-1, OAUTHBEARER and XOAUTH2.
func Mechanisms(names ...string) Option {
	return func(s *settings) { s.Mechanisms = strings.ToLower(strings.Join(names, " ")) }
}

// Quota turns the QUOTA extension on and limits each user's storage, for
// example to "1M".
func Quota(storage string) Option {
	return func(s *settings) { s.Quota = storage }
}

// IdleNotifyInterval sets how often an idling client is told "Still here".
// Dovecot counts in whole seconds; the default is its own, two minutes.
func IdleNotifyInterval(d time.Duration) Option {
	return func(s *settings) { s.IdleNotifyInterval = seconds(d) }
}

// CheckInterval sets how often Dovecot looks for changes in a mailbox that a
// client idles on when the kernel did not tell it of any. Dovecot counts in
// whole seconds; the default is one.
func CheckInterval(d time.Duration) Option {
	return func(s *settings) { s.CheckInterval = seconds(d) }
}

// LMTP makes the server take mail for its users, from a mail server on loopback; see
// [Server.LMTPPort].
func LMTP() Option {
	return func(s *settings) { s.LMTP = true }
}

// Submission turns the submission service on, which takes mail of users that log in
// and passes it on to a mail server on loopback, where it logs in itself after
// STARTTLS; see [Server.SubmissionPort].
func Submission(port int, username, password string) Option {
	return func(s *settings) { s.Relay = &relay{Port: port, Username: username, Password: password} }
}

// Setting adds one line to the configuration, in the dialect of the Dovecot
// that is installed.
func Setting(name, value string) Option {
	return func(s *settings) { s.Extra = append(s.Extra, setting{name, value}) }
}

// seconds writes a duration as Dovecot reads it, rounded up.
func seconds(d time.Duration) string {
	return fmt.Sprintf("%d secs", (d+time.Second-1)/time.Second)
}
