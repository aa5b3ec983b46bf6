package gateway_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/postern-mail/postern/internal/linktest"
)

// deadlyMail is a message whose ENVELOPE makes Dovecot 2.3 end the process.
func deadlyMail() []byte {
	const unit = "a@example.com, "
	return []byte("From: bob@example.com\r\nSubject: deadly\r\nMessage-ID: <deadly@example.com>\r\nTo: " +
		strings.Repeat(unit, (12<<20)/len(unit)) + "ann@example.com\r\nContent-Type: text/plain\r\n\r\nthe body\r\n")
}

// TestDeadlyMail reads a folder and a message that the server dies of.
func TestDeadlyMail(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	account, user, server := h.dovecot(t)
	for i := range 30 {
		raw := lines("From: bob@example.com\nSubject: plain\n\nhello\n")
		if i == 20 {
			raw = deadlyMail()
		}
		server.Deliver(t, user, "INBOX", raw)
	}
	inbox := h.folderNamed(t, account, "INBOX")["name"].(string)
	paths := []string{"/messages?pageSize=50", "/messages?folder=" + inbox + "&pageSize=50", "/messages?folder=" + inbox + "&filter=from:bob&pageSize=50"}
	var deadly object
	for round, path := range append(paths, paths...) {
		page := list(h.get(t, "/v1/"+account+path), "messages")
		if len(page) != 30 {
			t.Fatalf("%s lists %d messages, want 30", path, len(page))
		}
		i := slices.IndexFunc(page, func(m object) bool { return m["subject"] == "deadly" })
		if i < 0 {
			t.Fatalf("%s lists %v", path, page)
		}
		if deadly != nil && page[i]["emailId"] != deadly["emailId"] {
			t.Errorf("the email_id was %v and is %v", deadly["emailId"], page[i]["emailId"])
		}
		deadly = page[i]
		for _, m := range page {
			if m["subject"] != "deadly" && (m["subject"] != "plain" || len(texts(m["defects"])) > 0) {
				t.Errorf("%s: a message is %v", path, m)
			}
		}
		// It does not die each time that it parses the message for the first time.
		if round >= len(paths) && !slices.Contains(texts(deadly["defects"]), "UNREADABLE") {
			t.Errorf("%s: the defects are %v", path, deadly["defects"])
		}
	}
	name := deadly["name"].(string)
	for _, view := range []string{"METADATA", "FULL"} {
		m := h.get(t, "/v1/"+name+"?view="+view)
		if m["subject"] != "deadly" || m["emailId"] != deadly["emailId"] || !slices.Contains(texts(m["defects"]), "UNREADABLE") {
			t.Errorf("%s has the subject %v, the email_id %v and the defects %v", view, m["subject"], m["emailId"], m["defects"])
		}
		if view == "FULL" && !strings.Contains(at(m, "body", "text").(string), "the body") {
			t.Errorf("the body is %v", m["body"])
		}
	}
	resp := h.send(t, http.MethodGet, "/v1/"+name+":raw", nil)
	defer resp.Body.Close()
	if raw, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(raw, deadlyMail()) {
		t.Errorf("the download has %d bytes, error %v", len(raw), err)
	}
}

// texts are the strings of a JSON list.
func texts(v any) (out []string) {
	items, _ := v.([]any)
	for _, item := range items {
		out = append(out, item.(string))
	}
	return out
}

// TestDeadlyContents reads a message of which the server gives no contents at all.
func TestDeadlyContents(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	_, user, server := h.dovecot(t)
	var link *linktest.Link
	link = linktest.New(t, server.Addr(), func() linktest.Filter {
		return linktest.Filter{ToServer: func(line []byte) []byte {
			if bytes.Contains(line, []byte("UID FETCH 2 ")) && (bytes.Contains(line, []byte("ENVELOPE")) || bytes.Contains(line, []byte("BODY"))) ||
				bytes.Contains(line, []byte("FETCH 1:3 ")) && bytes.Contains(line, []byte("ENVELOPE")) {
				link.Cut()
				return nil
			}
			return line
		}}
	})
	for range 3 {
		server.Deliver(t, user, "INBOX", lines("From: bob@example.com\nSubject: plain\n\nhello\n"))
	}
	account := h.register(t, "127.0.0.1", link.Port(), user, server.Password())
	all := "/v1/" + account + "/messages?folder=" + h.folderNamed(t, account, "INBOX")["name"].(string)
	page := list(h.get(t, all), "messages")
	if len(page) != 3 || page[0]["subject"] != "plain" || page[2]["subject"] != "plain" {
		t.Fatalf("the list is %v", page)
	}
	if page[1]["subject"] != nil && page[1]["subject"] != "" || page[1]["size"] == nil || !slices.Contains(texts(page[1]["defects"]), "UNREADABLE") {
		t.Errorf("the message is %v", page[1])
	}
	full := h.get(t, "/v1/"+page[1]["name"].(string))
	if !slices.Contains(texts(full["defects"]), "UNREADABLE") || full["internalDate"] == nil {
		t.Errorf("the whole message is %v", full)
	}
	connections := link.Accepted()
	h.get(t, all)
	if now := link.Accepted(); now != connections {
		t.Errorf("the second list took %d connections", now-connections)
	}
}

// TestBreakingLinkSparesMessages lists a folder over a link that breaks now and then.
func TestBreakingLinkSparesMessages(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	h := sharedHouse(t)
	_, user, server := h.dovecot(t)
	var link *linktest.Link
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(seed, 0))
	link = linktest.New(t, server.Addr(), func() linktest.Filter {
		return linktest.Filter{ToServer: func(line []byte) []byte {
			mu.Lock()
			defer mu.Unlock()
			if random.IntN(10) == 0 {
				link.Cut()
				return nil
			}
			return line
		}}
	})
	for range 10 {
		server.Deliver(t, user, "INBOX", lines("From: bob@example.com\nSubject: plain\n\nhello\n"))
	}
	account := h.register(t, "127.0.0.1", link.Port(), user, server.Password())
	good := 0
	for range 100 {
		answer := h.do(t, http.MethodGet, "/v1/"+account+"/messages", nil)
		if answer.status != http.StatusOK {
			continue // a link that breaks in a login is an error
		}
		good++
		page := list(answer.json(t), "messages")
		if len(page) != 10 {
			t.Errorf("a list has %d messages of 10", len(page))
		}
		for _, m := range page {
			if m["defects"] != nil && len(texts(m["defects"])) > 0 || m["subject"] != "plain" {
				t.Errorf("the link makes a message %v", m)
			}
		}
	}
	t.Logf("%d of 100 lists were answered", good)
	if good == 0 {
		t.Error("no list was answered")
	}
}
