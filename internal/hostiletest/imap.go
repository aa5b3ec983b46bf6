package hostiletest

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// imap serves enough of IMAP for a client to log in and look around.
func (c *session) imap(ctx context.Context) {
	greeting := "OK"
	if c.attack.Preauth {
		greeting = "PREAUTH"
	}
	c.say(fmt.Sprintf("* %s [CAPABILITY %s] hello\r\n", greeting, c.capabilities()))
	for {
		line, ok := c.command()
		if !ok {
			return
		}
		tag, rest, _ := strings.Cut(line, " ")
		verb, arguments, _ := strings.Cut(rest, " ")
		switch strings.ToUpper(verb) {
		case "CAPABILITY":
			c.say("* CAPABILITY " + c.capabilities() + "\r\n")
		case "STARTTLS":
			if !c.startTLS(ctx, tag) {
				return
			}
			continue
		case "AUTHENTICATE":
			c.challenge("+ \r\n", arguments)
		case "LIST", "LSUB":
			c.say("* LIST () \"/\" INBOX\r\n")
		case "STATUS":
			c.say("* STATUS INBOX (MESSAGES 0 UIDNEXT 1 UIDVALIDITY 1 UNSEEN 0)\r\n")
		case "SELECT", "EXAMINE":
			c.say("* 0 EXISTS\r\n* OK [UIDVALIDITY 1] ok\r\n* OK [UIDNEXT 1] ok\r\n")
		case "LOGOUT":
			c.say("* BYE\r\n" + tag + " OK bye\r\n")
			return
		}
		c.say(tag + " OK done\r\n")
	}
}

func (c *session) capabilities() string {
	caps := "IMAP4rev1"
	if !c.attack.LoginOnly {
		caps += " SASL-IR AUTH=PLAIN AUTH=LOGIN"
	}
	if !c.secured && !c.attack.Strip {
		caps += " STARTTLS"
	}
	if !c.secured && c.attack.LoginDisabled {
		caps += " LOGINDISABLED"
	}
	return caps
}

var literal = regexp.MustCompile(`\{(\d+)(\+?)\}$`)

// command reads a command with its literals.
func (c *session) command() (string, bool) {
	var command strings.Builder
	for {
		line, err := c.lines.ReadString('\n')
		if err != nil {
			return "", false
		}
		line = strings.TrimRight(line, "\r\n")
		command.WriteString(line)
		m := literal.FindStringSubmatch(line)
		if m == nil {
			return command.String(), true
		}
		if m[2] == "" {
			c.say("+ go on\r\n")
		}
		n, err := strconv.Atoi(m[1])
		if err != nil {
			return "", false
		}
		if _, err := io.CopyN(&command, c.lines, int64(n)); err != nil {
			return "", false
		}
	}
}

// startTLS answers STARTTLS, and reports whether the session goes on.
func (c *session) startTLS(ctx context.Context, tag string) bool {
	if c.attack.Refuse != "" {
		c.say(tag + " " + c.attack.Refuse + " not here\r\n")
		return true
	}
	c.consent(tag + " OK go ahead\r\n")
	return c.attack.Deaf || c.secure(ctx)
}
