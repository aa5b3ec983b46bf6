package main

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/dovecottest"
	"github.com/postern-mail/postern/internal/eximtest"
)

// exchange is a process whose accounts send through real mail servers: Exim takes
// their mail, as such or behind Dovecot's submission service, and delivers it into
// Dovecot, where the process sees it arrive.
type exchange struct {
	t    *testing.T
	node *process
	mail *dovecottest.Server
	exim *eximtest.Server
	// front is a Dovecot that passes mail on to Exim.
	front *dovecottest.Server
	// addresses are those of the accounts.
	addresses map[string]string
}

// newExchange starts all of it. Each mailbox holds 15 MB.
func newExchange(t *testing.T) *exchange {
	t.Helper()
	mail := dovecottest.Start(t, dovecottest.LMTP(), dovecottest.Quota("15M"))
	exim := eximtest.Start(t, eximtest.Config{LMTP: mail.LMTPPort()})
	front := dovecottest.Start(t, dovecottest.Submission(exim.Port(), "dovecot", eximtest.Password))
	dir := t.TempDir()
	trusted := filepath.Join(dir, "roots.pem")
	var roots []byte
	for _, certificate := range [][]byte{exim.Certificate(), front.Certificate()} {
		roots = append(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})...)
	}
	if err := os.WriteFile(trusted, roots, 0o600); err != nil {
		t.Fatal(err)
	}
	node := launch(t, []string{"SSL_CERT_FILE=" + trusted, "POSTERN_ADMIN_TOKEN=" + proofToken},
		append([]string{"serve", "--data-dir=" + filepath.Join(dir, "data"), toDovecot}, loopback...)...)
	node.token = proofToken
	return &exchange{t: t, node: node, mail: mail, exim: exim, front: front, addresses: map[string]string{}}
}

// call makes a call of the API and decodes its answer.
func (x *exchange) call(method, path, body string, into any) error {
	var in any
	if body != "" {
		in = json.RawMessage(body)
	}
	answer, err := x.node.client().call(x.t.Context(), method, path, in)
	if err == nil && into != nil {
		err = json.Unmarshal(answer, into)
	}
	return err
}

func (x *exchange) mustCall(method, path, body string, into any) {
	x.t.Helper()
	if err := x.call(method, path, body, into); err != nil {
		x.t.Fatalf("%s %s: %v", method, path, err)
	}
}

// The servers that accounts send through, as the API takes them.
func (x *exchange) byExim(password string) string {
	return fmt.Sprintf(`{"host":%q,"port":%d,"tlsMode":"STARTTLS","username":"someone","password":%q}`, x.exim.Host(), x.exim.Port(), password)
}

func (x *exchange) byDovecot() string {
	return fmt.Sprintf(`{"host":%q,"port":%d,"tlsMode":"TLS","username":"someone","password":%q}`,
		x.front.Host(), x.front.SubmissionTLSPort(), x.front.Password())
}

// register registers an account and waits until it is watched.
func (x *exchange) register(id, smtp string) {
	x.t.Helper()
	username, password := x.mail.User(x.t)
	x.addresses[id] = username
	x.mustCall(http.MethodPost, "/v1/accounts?accountId="+id, fmt.Sprintf(
		`{"email":%q,"imap":{"host":%q,"port":%d,"tlsMode":"PLAINTEXT","username":%q,"password":%q},"smtp":%s}`,
		username, x.mail.Host(), x.mail.Port(), username, password, smtp), nil)
	await(x.t, "account "+id+" to be watched", func() bool {
		var account struct{ State string }
		x.mustCall(http.MethodGet, "/v1/accounts/"+id, "", &account)
		return account.State == "CONNECTED"
	})
}

// sentMail is a submission as the API shows it.
type sentMail struct {
	Name, State, StateDetail, MessageID string
	Recipients                          []struct {
		Address, State, EnhancedCode, Text string
		SMTPCode                           int `json:"smtpCode"`
	}
}

// outcome lists what became of the recipients.
func (s *sentMail) outcome() string {
	var list []string
	for _, r := range s.Recipients {
		list = append(list, r.Address[:strings.IndexByte(r.Address, '@')]+" "+r.State)
	}
	return s.State + ": " + strings.Join(list, ", ")
}

// send sends from an account.
func (x *exchange) send(account, subject, more string, to ...string) (s sentMail) {
	x.t.Helper()
	var recipients []map[string]string
	for _, address := range to {
		recipients = append(recipients, map[string]string{"address": address})
	}
	list, err := json.Marshal(recipients)
	if err != nil {
		x.t.Fatal(err)
	}
	x.mustCall(http.MethodPost, "/v1/accounts/"+account+"/submissions",
		fmt.Sprintf(`{"to":%s,"subject":%q,"text":"Hello.","wait":"30s"%s}`, list, subject, more), &s)
	return s
}

// awaitMail waits until mail with a subject was announced in an account.
func (x *exchange) awaitMail(account, subject string) {
	x.t.Helper()
	x.awaitEvent(account, "message.created", func(e *exchangeEvent) bool { return e.Data.Envelope.Subject == subject })
}

// exchangeEvent is what is looked at of an event.
type exchangeEvent struct {
	Data struct {
		Envelope          struct{ Subject string }
		Submission        string
		OriginalMessageID string
		Recipients        []struct{ Address, Action, Status, Diagnostic string }
	}
}

func (x *exchange) awaitEvent(account, kind string, wanted func(*exchangeEvent) bool) (found *exchangeEvent) {
	x.t.Helper()
	await(x.t, kind+" of "+account, func() bool {
		var list struct {
			Events []struct{ Event exchangeEvent }
		}
		x.mustCall(http.MethodGet, "/v1/accounts/"+account+"/events?pageSize=500&types="+kind, "", &list)
		i := slices.IndexFunc(list.Events, func(e struct{ Event exchangeEvent }) bool { return wanted(&e.Event) })
		if i >= 0 {
			found = &list.Events[i].Event
		}
		return i >= 0
	})
	return found
}

// awaitOutcome waits until a submission has come to something.
func (x *exchange) awaitOutcome(name, want string) {
	x.t.Helper()
	var s sentMail
	defer func() {
		if x.t.Failed() {
			x.t.Logf("%s is %+v", name, s)
		}
	}()
	await(x.t, name+" to be "+want, func() bool {
		x.mustCall(http.MethodGet, "/v1/"+name, "", &s)
		return s.outcome() == want
	})
}

// Mail that the API takes goes through servers that people run and arrives in other
// mailboxes, where it is announced.
func TestMailGoesAround(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	x.register("ann", x.byExim(eximtest.Password))
	x.register("bob", x.byDovecot())

	if s := x.send("ann", "One", "", x.addresses["bob"]); s.State != "SENT" {
		t.Fatalf("by Exim: %+v", s)
	}
	x.awaitMail("bob", "One")
	x.awaitMail("ann", "One") // in Sent
	if s := x.send("bob", "Zwei – 二", "", x.addresses["ann"]); s.State != "SENT" {
		t.Fatalf("by Dovecot: %+v", s)
	}
	x.awaitMail("ann", "Zwei – 二")

	// Refused at once, for good and for now; the others get the message.
	s := x.send("ann", "Some", "", "refused@example.com", x.addresses["bob"])
	if got := s.outcome(); got != "PARTIALLY_REJECTED: refused REJECTED, "+strings.ToLower(x.addresses["bob"][:26])+" SENT" ||
		s.Recipients[0].SMTPCode != 550 || s.Recipients[0].EnhancedCode != "5.1.1" {
		t.Errorf("%s, %+v", got, s)
	}
	x.awaitMail("bob", "Some")
	if s := x.send("bob", "Later", "", "later@example.com"); s.outcome() != "DEFERRED: later DEFERRED" || s.Recipients[0].SMTPCode != 451 {
		t.Errorf("%+v", s)
	}
}

// What a server takes and cannot deliver comes back to the submission.
func TestRealBouncesAreMatched(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	x.register("ann", x.byExim(eximtest.Password))
	x.register("bob", x.byDovecot())
	for _, account := range []string{"ann", "bob"} {
		s := x.send(account, "To some", `,"dsn":{"envelopeId":"e-`+account+`","return":"HEADERS","notify":["FAILURE"]}`, "gone@example.com", x.addresses["bob"])
		if s.State != "SENT" {
			t.Fatalf("%s: %+v", account, s)
		}
		bounced := x.awaitEvent(account, "message.bounced", func(e *exchangeEvent) bool { return e.Data.Submission == s.Name })
		if bounced.Data.OriginalMessageID != s.MessageID || len(bounced.Data.Recipients) != 1 ||
			bounced.Data.Recipients[0].Address != "gone@example.com" || bounced.Data.Recipients[0].Action != "failed" {
			t.Errorf("%s: told of %+v", account, bounced.Data)
		}
		x.awaitOutcome(s.Name, "SENT: gone BOUNCED, "+x.addresses["bob"][:26]+" SENT")
	}

	// A mailbox that is full. The first message has 10 MB and arrives, the second is
	// one too many.
	upload := func() string {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, x.node.base+"/v1/accounts/ann/uploads?filename=large.bin",
			strings.NewReader(strings.Repeat("0123456789abcdef", 7<<20/16)))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+x.node.token)
		request.Header.Set("Content-Type", "application/octet-stream")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		var made struct{ Name string }
		if err := json.NewDecoder(response.Body).Decode(&made); err != nil || made.Name == "" {
			t.Fatalf("upload: %s, %v", response.Status, err)
		}
		return fmt.Sprintf(`,"saveToSent":"NEVER","attachments":[{"upload":%q}]`, made.Name)
	}
	if s := x.send("ann", "Large", upload(), x.addresses["bob"]); s.State != "SENT" {
		t.Fatalf("%+v", s)
	}
	x.awaitMail("bob", "Large")
	s := x.send("ann", "Too much", upload(), x.addresses["bob"])
	bounced := x.awaitEvent("ann", "message.bounced", func(e *exchangeEvent) bool { return e.Data.Submission == s.Name })
	if len(bounced.Data.Recipients) != 1 || !strings.Contains(fmt.Sprint(bounced.Data.Recipients), "uota") {
		t.Errorf("told of %+v", bounced.Data)
	}
	x.awaitOutcome(s.Name, "SENT: "+x.addresses["bob"][:26]+" BOUNCED")
}

// Mail waits for servers that are away and for credentials that are wrong.
func TestMailWaitsForRealServers(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	x.register("ann", x.byExim("wrong"))
	x.register("bob", x.byExim(eximtest.Password))
	locked := x.send("ann", "Locked", "", x.addresses["bob"])
	if locked.State != "DEFERRED" || !strings.Contains(locked.StateDetail, "credentials") {
		t.Errorf("with a wrong password: %+v", locked)
	}
	var verified struct {
		Steps []struct{ Check, Outcome, Reason, Detail string }
	}
	x.mustCall(http.MethodPost, "/v1/accounts/ann:verify", "{}", &verified)
	if last := verified.Steps[len(verified.Steps)-1]; last.Check != "SMTP_AUTH" || last.Outcome != "FAILED" || last.Reason != "SMTP_AUTH_FAILED" {
		t.Errorf("verified: %+v", verified.Steps)
	}
	x.mustCall(http.MethodPatch, "/v1/accounts/ann", `{"smtp":`+x.byExim(eximtest.Password)+`}`, nil)
	x.retry(locked.Name)
	x.awaitOutcome(locked.Name, "SENT: "+x.addresses["bob"][:26]+" SENT")
	x.awaitMail("bob", "Locked")

	x.exim.Stop(t)
	away := x.send("ann", "Away", "", x.addresses["bob"])
	if away.State != "DEFERRED" {
		t.Errorf("with the server away: %+v", away)
	}
	x.exim.Restart(t)
	x.retry(away.Name)
	x.awaitOutcome(away.Name, "SENT: "+x.addresses["bob"][:26]+" SENT")
	x.awaitMail("bob", "Away")
}

// retry sends a submission now.
func (x *exchange) retry(name string) {
	x.t.Helper()
	x.mustCall(http.MethodPost, "/v1/"+name+":retry", "{}", nil)
}
