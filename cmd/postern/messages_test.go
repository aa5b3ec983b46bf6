package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/postern-mail/postern/internal/dovecottest"
)

// messageEvents are the account's events about messages, as "type message".
func (p *process) messageEvents(t *testing.T) []string {
	t.Helper()
	answer, err := p.client().call(t.Context(), http.MethodGet,
		"/v1/accounts/ann/events?types=message.created&types=message.updated&types=message.moved&types=message.deleted", nil)
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		Events []struct {
			Event struct {
				Type string `json:"type"`
				Data struct {
					Message         string `json:"message"`
					PreviousMessage string `json:"previousMessage"`
				} `json:"data"`
			} `json:"event"`
		} `json:"events"`
	}
	if err := json.Unmarshal(answer, &list); err != nil {
		t.Fatal(err)
	}
	var events []string
	for _, e := range list.Events {
		text := e.Event.Type + " " + e.Event.Data.Message
		if e.Event.Data.PreviousMessage != "" {
			text += " from " + e.Event.Data.PreviousMessage
		}
		events = append(events, text)
	}
	return events
}

// TestServeMessages: what the API does to messages is announced once, and soon,
// though the next poll is an hour away.
func TestServeMessages(t *testing.T) {
	t.Parallel()
	p := serveIn(t, t.TempDir(), toDovecot, "--poll-interval=1h")
	server := dovecottest.Shared(t)
	username, password := server.User(t)
	server.Deliver(t, username, "Archive", []byte("Subject: old\r\n\r\n"))
	p.register(t, server, username, password)
	call := func(method, path, body string) (m struct{ Name, Folder, ID string }) {
		t.Helper()
		var in any
		if body != "" {
			in = json.RawMessage(body)
		}
		answer, err := p.client().call(t.Context(), method, path, in)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(answer, &m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	var folders struct {
		Folders []struct {
			Name string
			Path []string
		}
	}
	named := make(map[string]string)
	await(t, "the folders to have been compared", func() bool {
		answer, err := p.client().call(t.Context(), http.MethodGet, "/v1/accounts/ann/folders", nil)
		if err != nil || json.Unmarshal(answer, &folders) != nil {
			return false
		}
		for _, f := range folders.Folders {
			named[f.Path[0]] = f.Name
		}
		var archive struct{ LastSyncTime string }
		answer, err = p.client().call(t.Context(), http.MethodGet, "/v1/"+named["Archive"], nil)
		return err == nil && json.Unmarshal(answer, &archive) == nil && archive.LastSyncTime != ""
	})
	var want []string
	expect := func(format string, args ...any) {
		t.Helper()
		want = append(want, fmt.Sprintf(format, args...))
		await(t, "the event "+want[len(want)-1], func() bool { return len(p.messageEvents(t)) >= len(want) })
	}
	arrived := server.Deliver(t, username, "INBOX", []byte("Subject: one\r\nMessage-ID: <one@example.com>\r\n\r\nText\r\n"))
	await(t, "the message to be announced", func() bool { return len(p.messageEvents(t)) > 0 })
	want = p.messageEvents(t)
	var list struct{ Messages []struct{ Name string } }
	answer, err := p.client().call(t.Context(), http.MethodGet, "/v1/accounts/ann/messages?folder="+named["INBOX"], nil)
	if err != nil || json.Unmarshal(answer, &list) != nil || len(list.Messages) != 1 {
		t.Fatalf("%s, %v; delivered %d", answer, err, arrived)
	}
	one := list.Messages[0].Name

	call(http.MethodPatch, "/v1/"+one+"?updateMask=flags", `{"flags":["\\Seen"]}`)
	expect("message.updated %s", one)
	moved := call(http.MethodPost, "/v1/"+one+":move", `{"folder":"`+named["Archive"]+`"}`)
	expect("message.moved %s from %s", moved.Name, one)
	copied := call(http.MethodPost, "/v1/"+moved.Name+":copy", `{"folder":"`+named["Junk"]+`"}`)
	expect("message.created %s", copied.Name)
	call(http.MethodPost, "/v1/accounts/ann/messages:batchModify", `{"names":["`+moved.Name+`"],"addFlags":["\\Flagged"]}`)
	expect("message.updated %s", moved.Name)
	trashed := call(http.MethodPost, "/v1/"+copied.Name+":trash", "{}")
	expect("message.moved %s from %s", trashed.Name, copied.Name)
	call(http.MethodDelete, "/v1/"+trashed.Name, "")
	expect("message.deleted %s", trashed.Name)
	if got := p.messageEvents(t); !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
}
