package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/postern-mail/postern/internal/sandbox"
)

// tour shows what a client of the API sees of a mailbox.
type tour struct {
	screen  *screen
	mailbox *sandbox.Server
	api     *apiClient
	stream  *eventStream

	// What was found on the way: the names of INBOX, of an attachment, and of
	// the message that came.
	inbox, picture, message string
}

// demoAccount is the mailbox's name in the API.
const demoAccount = "accounts/demo"

// indent is how far the tour's output stands below the numbers of its steps.
const indent = 3

// run shows everything, and then, unless it is to be done once, stays and shows
// the events that come until ctx ends.
func (t *tour) run(ctx context.Context, once bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	limit := time.AfterFunc(tourLimit, func() {
		cancel(fmt.Errorf("not done after %s", tourLimit))
	})
	defer limit.Stop()
	defer func() {
		if t.stream != nil {
			t.stream.close()
		}
	}()
	if err := t.show(ctx, once); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("the demo was interrupted: %w", context.Cause(ctx))
		}
		return err
	}
	limit.Stop()
	if once {
		return nil
	}
	err := t.follow()
	if ctx.Err() != nil {
		return nil // as it was asked to
	}
	return err
}

// show goes through the steps.
func (t *tour) show(ctx context.Context, once bool) error {
	s := t.screen
	s.line()
	s.line(s.styled(styleTitle, "Postern"), " turns a mailbox into an API. This process holds all of it: the gateway,")
	s.line("its event log, and a mailbox to play with.")
	steps := []struct {
		act string
		do  func(context.Context) error
	}{
		{"register the mailbox", t.register},
		{"read its folders", t.folders},
		{"read its messages", t.messages},
		{"see new mail", t.newMail},
	}
	for _, step := range steps {
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.act, err)
		}
	}
	if !once {
		t.suggest()
	}
	s.line()
	if s.err != nil {
		return fmt.Errorf("show it: %w", s.err)
	}
	return nil
}

// register registers the sandbox mailbox, and waits until it is watched.
func (t *tour) register(ctx context.Context) (err error) {
	if t.stream, err = t.api.watch(ctx, "/v1/events:watch"); err != nil {
		return err
	}
	path := "/v1/accounts?accountId=demo"
	began := time.Now()
	_, err = t.api.call(ctx, http.MethodPost, path, map[string]any{
		"email": sandbox.Username,
		"imap": map[string]any{
			"host": t.mailbox.Host(), "port": t.mailbox.TLSPort(), "tlsMode": "TLS",
			"username": sandbox.Username, "password": sandbox.Password,
		},
	})
	if err != nil {
		return err
	}
	if _, err := t.stream.await("account.sync_completed"); err != nil {
		return err
	}
	t.screen.step(1, "Register a mailbox", "POST "+path)
	t.say(sandbox.Username, ": logged in, read and watched ", elapsed(began), " later.")
	return nil
}

// folders shows the folders, and finds INBOX.
func (t *tour) folders(ctx context.Context) error {
	path := "/v1/" + demoAccount + "/folders"
	var list struct {
		Folders []struct {
			Name string `json:"name"`
			Role string `json:"role"`
		} `json:"folders"`
	}
	view, err := t.get(ctx, path, &list)
	if err != nil {
		return err
	}
	t.screen.step(2, "Read its folders", "GET "+path)
	t.screen.json(view.keep(wanted{"folders": {"name": nil, "path": nil, "total": nil, "unread": nil}}), indent)
	for _, folder := range list.Folders {
		if folder.Role == "INBOX" {
			t.inbox = folder.Name
			return nil
		}
	}
	return errors.New("there is no INBOX")
}

// messages shows the newest messages, and finds an attachment among them.
func (t *tour) messages(ctx context.Context) error {
	path := "/v1/" + demoAccount + "/messages?folder=" + t.inbox + "&pageSize=3"
	var page struct {
		Messages []struct {
			Attachments []struct {
				Name     string `json:"name"`
				Filename string `json:"filename"`
			} `json:"attachments"`
		} `json:"messages"`
	}
	view, err := t.get(ctx, path, &page)
	if err != nil {
		return err
	}
	t.screen.step(3, "Read a page of messages, the newest first", "GET "+path)
	t.screen.json(view.keep(wanted{
		"messages": {
			"name": nil, "flags": nil, "date": nil, "from": nil, "subject": nil,
			"attachments": {"filename": nil, "contentType": nil},
		},
		"nextPageToken": nil,
	}), indent)
	for _, message := range page.Messages {
		for _, attachment := range message.Attachments {
			if attachment.Filename != "" {
				t.picture = attachment.Name
				return nil
			}
		}
	}
	return errors.New("there is no message with an attachment")
}

// newMail delivers a message and shows the event of it.
func (t *tour) newMail(ctx context.Context) error {
	raw, err := t.mailbox.NewMail()
	if err != nil {
		return err
	}
	delivered := time.Now()
	if _, err := t.mailbox.Deliver(ctx, sandbox.Username, "INBOX", raw); err != nil {
		return err
	}
	frame, err := t.stream.await("message.created")
	if err != nil {
		return err
	}
	took := elapsed(delivered)
	var created struct {
		Subject string `json:"subject"`
	}
	if err := json.Unmarshal(frame.data, &created); err != nil {
		return fmt.Errorf("event %s: %w", frame.id, err)
	}
	t.message = created.Subject
	t.screen.step(4, "See new mail, "+took+" after it was delivered", "GET /v1/events:watch")
	return t.event(frame)
}

// event shows a server-sent event.
func (t *tour) event(frame sseFrame) error {
	view, err := parseJSON(frame.data)
	if err != nil {
		return fmt.Errorf("event %s: %w", frame.id, err)
	}
	t.say(t.screen.styled(styleNote, "id: "), frame.id)
	t.say(t.screen.styled(styleNote, "event: "), t.screen.styled(styleGood, frame.event))
	t.say(t.screen.styled(styleNote, "data:"))
	t.screen.json(view.keep(wanted{
		"id": nil, "type": nil, "time": nil, "sequence": nil,
		"data": {
			"message": nil, "folder": nil, "origin": nil, "flags": nil,
			"envelope": {"from": nil, "subject": nil},
		},
	}), indent)
	return nil
}

// suggest prints what to try.
func (t *tour) suggest() {
	s := t.screen
	s.step(5, "Try it, from another terminal", "")
	auth := `curl -H "Authorization: Bearer ` + t.api.token.Reveal() + `" `
	smtp := "smtp://" + net.JoinHostPort(t.mailbox.Host(), strconv.Itoa(t.mailbox.SMTPPort()))
	for _, suggestion := range []struct{ what, command string }{
		{"Read that message:", auth + t.api.base + "/v1/" + t.message},
		{"Download a picture:", auth + "-o picture.png " + t.api.base + "/v1/" + t.picture + ":download"},
		{"Send the mailbox a mail, and see the event below:",
			`printf 'From: You <you@example.com>\nSubject: Hello\n\nIs anybody there?\n' | curl ` + smtp + " --crlf -T - -u " +
				sandbox.Username + ":" + sandbox.Password + " --mail-from you@example.com --mail-rcpt " + sandbox.Username},
	} {
		t.say(suggestion.what)
		t.say(s.styled(styleMark, suggestion.command))
		s.line()
	}
	t.say("The whole API: ", s.styled(styleMark, t.api.base+"/docs"))
	t.say("Ctrl-C ends the demo.")
}

// follow shows events as they come.
func (t *tour) follow() error {
	for {
		frame, err := t.stream.next()
		if err != nil {
			return err
		}
		if frame.event == "heartbeat" || frame.event == "draining" {
			continue
		}
		if err := t.event(frame); err != nil {
			return err
		}
		t.screen.line()
		if t.screen.err != nil {
			return t.screen.err
		}
	}
}

// get reads a resource, both into what a program needs of it and for people.
func (t *tour) get(ctx context.Context, path string, into any) (jsonValue, error) {
	answer, err := t.api.call(ctx, http.MethodGet, path, nil)
	if err != nil {
		return jsonValue{}, err
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return jsonValue{}, fmt.Errorf("GET %s: %w", path, err)
	}
	return parseJSON(answer)
}

// say writes one line of a step.
func (t *tour) say(parts ...string) {
	t.screen.line(append([]string{"   "}, parts...)...)
}

// elapsed is the time since then, for people.
func elapsed(since time.Time) string {
	ms := float64(time.Since(since).Microseconds()) / 1000
	digits := 0
	if ms < 10 {
		digits = 1
	}
	return strconv.FormatFloat(ms, 'f', digits, 64) + " ms"
}
