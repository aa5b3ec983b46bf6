package hostiletest

import (
	"context"
	"strings"
)

// smtp serves enough of SMTP for a client to log in and hand a message over.
func (c *session) smtp(ctx context.Context) {
	c.say("220 hello\r\n")
	for {
		line, err := c.lines.ReadString('\n')
		if err != nil {
			return
		}
		verb, arguments, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		switch strings.ToUpper(verb) {
		case "EHLO":
			c.say("250-hello\r\n")
			if !c.secured && !c.attack.Strip {
				c.say("250-STARTTLS\r\n")
			}
			c.say("250 AUTH PLAIN LOGIN\r\n")
		case "STARTTLS":
			if c.attack.Refuse != "" {
				c.say(c.attack.Refuse + "\r\n")
				continue
			}
			c.consent("220 go ahead\r\n")
			if !c.attack.Deaf && !c.secure(ctx) {
				return
			}
		case "AUTH":
			c.challenge("334 \r\n", arguments)
			c.say("235 2.7.0 welcome\r\n")
		case "DATA":
			c.say("354 go ahead\r\n")
			for line != ".\r\n" {
				if line, err = c.lines.ReadString('\n'); err != nil {
					return
				}
			}
			c.say("250 2.0.0 ok\r\n")
		case "QUIT":
			c.say("221 2.0.0 bye\r\n")
			return
		default:
			c.say("250 2.0.0 ok\r\n")
		}
	}
}
