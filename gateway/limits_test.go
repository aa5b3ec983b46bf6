package gateway_test

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postern-mail/postern/gateway"
	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/dovecottest"
	"github.com/postern-mail/postern/internal/imapconn"
)

// A request that finds all connections in use is told so, and not left waiting
// for as long as its client does.
func TestTooManyRequestsAtOnce(t *testing.T) {
	t.Parallel()
	var connector *account.Connector
	h := newHouse(t, options{gateway: func(cfg *gateway.Config) {
		cfg.ConnectionWait = 50 * time.Millisecond
		connector, _ = cfg.Connector.(*account.Connector)
	}})
	server := dovecottest.Shared(t)
	user, password := server.User(t)
	name := h.register(t, server.Host(), server.Port(), user, password)
	release := hold(t, connector, strings.TrimPrefix(name, "accounts/"))
	a := h.do(t, http.MethodGet, "/v1/"+name+"/folders", nil)
	a.refused(t, http.StatusTooManyRequests, "RATE_LIMITED")
	if a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	release()
	h.until(t, "/v1/"+name+"/folders", func(a answer) bool { return a.status == http.StatusOK })
}

// HEAD answers what GET does, without the content.
func TestHead(t *testing.T) {
	t.Parallel()
	m := kinds[0].mailbox(t, "REST")
	large := append(mail("m1"), strings.Repeat("a line of the message\r\n", 20_000)...)
	m.put(t, "INBOX", nil, large)
	name := m.named(t, "INBOX", "m1").GetName()
	for _, path := range []string{"/v1/" + name, "/v1/" + name + ":raw", "/v1/" + m.account + "/folders", "/v1/" + name + "/attachments/1:download", "/healthz", "/openapi.json"} {
		head, get := m.do(t, http.MethodHead, path, nil), m.do(t, http.MethodGet, path, nil)
		if head.status != get.status || len(head.body) != 0 {
			t.Errorf("HEAD %s: %d with %d bytes, GET %d", path, head.status, len(head.body), get.status)
		}
		for _, field := range []string{"Content-Type", "Content-Length", "Content-Disposition"} {
			if head.header.Get(field) != get.header.Get(field) {
				t.Errorf("HEAD %s: %s %q, GET has %q", path, field, head.header.Get(field), get.header.Get(field))
			}
		}
	}
	if a := m.do(t, http.MethodHead, "/v1/"+withUID(t, name, 99), nil); a.status != http.StatusNotFound {
		t.Errorf("HEAD of what is gone: %d", a.status)
	}
	if a := m.do(t, http.MethodHead, "/v1/events:watch", nil); a.status != http.StatusMethodNotAllowed {
		t.Errorf("HEAD of a watch: %d", a.status)
	}
	resp := m.house.send(t, http.MethodHead, "/v1/"+name, nil, "Authorization", "Bearer wrong")
	_, _ = io.Copy(io.Discard, resp.Body)
	if resp.Body.Close(); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("HEAD without a token: %d", resp.StatusCode)
	}
}

// A message that is larger than what the server takes is refused by the limit
// that it tells, before it is sent.
func TestImportHeedsTheServersLimit(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	server := dovecottest.Start(t, dovecottest.Capability("IMAP4rev1", "UIDPLUS", "APPENDLIMIT=2000"))
	user, password := server.User(t)
	name := h.register(t, server.Host(), server.Port(), user, password)
	path := "/v1/" + name + "/messages:import" + values("folder", h.folderNamed(t, name, "INBOX")["name"].(string))
	info := h.do(t, http.MethodPost, path, "Subject: a\r\n\r\n"+strings.Repeat("x", 2000), "Content-Type", "message/rfc822").
		refused(t, http.StatusRequestEntityTooLarge, "MESSAGE_TOO_LARGE")
	if metadata := info["metadata"].(object); metadata["limit"] != "2000" || metadata["actual"] != "2014" {
		t.Errorf("told %v", metadata)
	}
	h.do(t, http.MethodPost, path, string(mail("small")), "Content-Type", "message/rfc822").ok(t)
}

// hold takes all connections that an account may have, until the returned
// function is called.
func hold(t *testing.T, connector *account.Connector, accountID string) (release func()) {
	t.Helper()
	held, done := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	for range imapconn.DefaultPoolSize {
		wg.Go(func() {
			err := connector.Do(t.Context(), accountID, "", nil, func(*imapconn.Conn) error {
				held <- struct{}{}
				<-done
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	for range imapconn.DefaultPoolSize {
		<-held
	}
	return func() {
		close(done)
		wg.Wait()
	}
}
