package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/postern-mail/postern/internal/dovecottest"
)

// folderEvents are the account's events about folders, as "type path".
func (p *process) folderEvents(t *testing.T) []string {
	t.Helper()
	answer, err := p.client().call(t.Context(), http.MethodGet,
		"/v1/accounts/ann/events?types=folder.created&types=folder.renamed&types=folder.deleted", nil)
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		Events []struct {
			Event struct {
				Type string `json:"type"`
				Data struct {
					Folder string   `json:"folder"`
					Path   []string `json:"path"`
				} `json:"data"`
			} `json:"event"`
		} `json:"events"`
	}
	if err := json.Unmarshal(answer, &list); err != nil {
		t.Fatal(err)
	}
	var events []string
	for _, e := range list.Events {
		events = append(events, fmt.Sprint(e.Event.Type, e.Event.Data.Path, e.Event.Data.Folder))
	}
	return events
}

// TestServeFolders: what the API does to folders is announced once, and soon,
// though the next poll is an hour away.
func TestServeFolders(t *testing.T) {
	t.Parallel()
	p := serveIn(t, t.TempDir(), toDovecot, "--poll-interval=1h")
	server := dovecottest.Shared(t)
	username, password := server.User(t)
	p.register(t, server, username, password)
	call := func(method, path, body string) (folder struct{ Name, LastSyncTime string }) {
		t.Helper()
		var in any
		if body != "" {
			in = json.RawMessage(body)
		}
		answer, err := p.client().call(t.Context(), method, path, in)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(answer, &folder); err != nil {
			t.Fatal(err)
		}
		return folder
	}
	var want []string
	expect := func(event string, f string) {
		t.Helper()
		want = append(want, event+f)
		await(t, "the event "+event, func() bool { return len(p.folderEvents(t)) >= len(want) })
	}
	trips := call(http.MethodPost, "/v1/accounts/ann/folders", `{"path":["Trips"]}`)
	expect("folder.created[Trips]", trips.Name)
	await(t, "the folder to have been compared", func() bool {
		return call(http.MethodGet, "/v1/"+trips.Name, "").LastSyncTime != ""
	})
	call(http.MethodPatch, "/v1/"+trips.Name, `{"path":["Travels"]}`)
	expect("folder.renamed[Travels]", trips.Name)
	call(http.MethodDelete, "/v1/"+trips.Name, "")
	expect("folder.deleted[Travels]", trips.Name)
	again := call(http.MethodPost, "/v1/accounts/ann/folders", `{"path":["Travels"]}`)
	expect("folder.created[Travels]", again.Name)
	if got := p.folderEvents(t); !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
}
