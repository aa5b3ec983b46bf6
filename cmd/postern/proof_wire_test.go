package main

import (
	"bytes"
	"encoding/base64"
	"regexp"
	"sync"
	"time"

	"github.com/postern-mail/postern/internal/linktest"
)

// wire is a link between the process and the mail server that notes what the
// process does there, and can make a liar of the server.
type wire struct {
	*linktest.Link
	// lies has the server accept IDLE, and never push.
	lies bool

	mu     sync.Mutex
	logins []login
	idling int
}

// login is an attempt of the process to log in.
type login struct {
	at   time.Time
	user string
}

var userName = regexp.MustCompile(`[a-z0-9]+@example\.org`)

// loginOf is the login that a command attempts: the name stands in it, or in its
// initial response (RFC 4959), in base64.
func loginOf(command []byte) login {
	l := login{at: time.Now(), user: string(userName.Find(command))}
	if last := command[bytes.LastIndexByte(command, ' ')+1:]; l.user == "" {
		if response, err := base64.StdEncoding.DecodeString(string(last)); err == nil {
			l.user = string(userName.Find(response))
		}
	}
	return l
}

// wired leads the proof's accounts over a wire.
func (p *proof) wired(lies bool) *wire {
	w := &wire{lies: lies}
	w.Link = linktest.New(p.t, p.mail.Addr(), w.filter)
	p.port = w.Port()
	return w
}

// filter reads along with one connection.
func (w *wire) filter() linktest.Filter {
	idle := false
	setIdle := func(on bool) {
		if on != idle {
			w.mu.Lock()
			defer w.mu.Unlock()
			idle = on
			if on {
				w.idling++
			} else {
				w.idling--
			}
		}
	}
	var liar liar
	return linktest.Filter{
		ToServer: func(line []byte) []byte {
			tag, rest, _ := bytes.Cut(bytes.TrimSpace(line), []byte(" "))
			verb, _, _ := bytes.Cut(bytes.ToUpper(rest), []byte(" "))
			switch {
			case len(line) == 0 || bytes.EqualFold(tag, []byte("DONE")):
				setIdle(false)
			case string(verb) == "IDLE":
				setIdle(true)
			case string(verb) == "LOGIN" || string(verb) == "AUTHENTICATE":
				w.mu.Lock()
				w.logins = append(w.logins, loginOf(rest))
				w.mu.Unlock()
			}
			if w.lies {
				return liar.toServer(line, tag, string(verb))
			}
			return line
		},
		ToClient: func(line []byte) []byte {
			if w.lies {
				return liar.toClient(line)
			}
			return line
		},
	}
}

// liar makes a NOOP of IDLE, and another of DONE, so that the server tells what
// is new at once and then only when it is asked. The first NOOP's completion is
// what asks the client to go on.
type liar struct {
	mu     sync.Mutex
	idle   string          // tag of the IDLE that is on
	asking map[string]bool // tags whose completion becomes "+"
}

func (l *liar) toServer(line, tag []byte, verb string) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case verb == "IDLE":
		if l.asking == nil {
			l.asking = map[string]bool{}
		}
		l.idle = string(tag)
		l.asking[l.idle] = true
		return []byte(l.idle + " NOOP\r\n")
	case bytes.EqualFold(tag, []byte("DONE")):
		return []byte(l.idle + " NOOP\r\n")
	}
	return line
}

func (l *liar) toClient(line []byte) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	tag, _, _ := bytes.Cut(line, []byte(" "))
	if l.asking[string(tag)] {
		delete(l.asking, string(tag))
		return []byte("+ idling\r\n")
	}
	return line
}

// idles counts the connections on which IDLE is on.
func (w *wire) idles() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.idling
}

// loginsSince gives the time of each user's first login after a time.
func (w *wire) loginsSince(since time.Time) map[string]time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	first := map[string]time.Time{}
	for _, l := range w.logins {
		if _, there := first[l.user]; l.at.After(since) && !there {
			first[l.user] = l.at
		}
	}
	return first
}

// densest is the largest number of logins that there were in any second, of all.
func (w *wire) densest() (most, all int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	from := 0
	for i, l := range w.logins {
		for l.at.Sub(w.logins[from].at) >= time.Second {
			from++
		}
		most = max(most, i-from+1)
	}
	return most, len(w.logins)
}
