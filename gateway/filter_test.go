package gateway_test

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"google.golang.org/grpc/codes"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/gmailtest"
	"github.com/postern-mail/postern/internal/linktest"
)

// sample is a message to search for.
type sample struct {
	subject, header, body string
	flags                 []imap.Flag
	arrived               time.Time
}

// attached makes a message with an attachment of a sample.
func (s sample) raw() []byte {
	return []byte(strings.ReplaceAll(fmt.Sprintf("Subject: %s\nMessage-ID: <%d@example.com>\nMIME-Version: 1.0\n%s\n%s\n",
		s.subject, s.arrived.Unix(), s.header, s.body), "\n", "\r\n"))
}

// samples is a mailbox for filters, the oldest first. Their names in the tests
// are their subjects.
var samples = []sample{
	{
		subject: "one", arrived: time.Date(2026, 11, 1, 23, 30, 0, 0, time.UTC), flags: []imap.Flag{imap.FlagSeen},
		header: "From: Ann Lee <ann@example.com>\nTo: bob@example.com\nDate: Sun, 1 Nov 2026 23:30:00 +0000\nList-Id: <go.example.com>\n", body: "the invoice of autumn",
	},
	{
		subject: "two", arrived: time.Date(2026, 11, 2, 0, 30, 0, 0, time.UTC), flags: []imap.Flag{imap.FlagFlagged, "$Forwarded"},
		header: "From: Joanna <joann@example.com>\nTo: Bob <bob@example.com>, Cy <cy@example.org>\nCc: dee@example.com\nDate: Mon, 2 Nov 2026 00:30:00 +0000\n",
		body:   strings.Repeat("long ", 1000),
	},
	{
		subject: "=?utf-8?q?Gr=C3=BC=C3=9Fe?=", arrived: time.Date(2026, 11, 2, 22, 0, 0, 0, time.UTC), flags: []imap.Flag{imap.FlagAnswered},
		header: "From: =?utf-8?q?J=C3=BCrgen?= <j@example.com>\nTo: bob@example.com\nDate: Mon, 2 Nov 2026 23:00:00 +0100\n" +
			"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n",
		body: "Viele Gr=C3=BC=C3=9Fe aus K=C3=B6ln",
	},
	{
		subject: "papers", arrived: time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC), flags: []imap.Flag{imap.FlagDraft},
		header: "From: ann@example.com\nTo: bob@example.com\nBcc: eve@example.com\nDate: Tue, 3 Nov 2026 12:00:00 +0000\nContent-Type: multipart/mixed; boundary=b\n",
		body: "--b\nContent-Type: text/plain\n\nsee below\n--b\nContent-Type: application/pdf; name=\"Report.pdf\"\n" +
			"Content-Disposition: attachment; filename=\"Report.pdf\"\nContent-Transfer-Encoding: base64\n\naGVsbG8=\n--b--\n",
	},
}

// filters is what each filter finds among the samples, the newest first.
var filters = map[string]string{
	"subject:one":                             "one",
	`subject="ONE"`:                           "one",
	"-subject=one":                            "papers Grüße two",
	"from:ann":                                "papers two one",
	"from=ann@example.com":                    "papers one",
	`from="Ann Lee"`:                          "one",
	"from.address:joann":                      "two",
	"from!=ann@example.com":                   "Grüße two",
	"to.address=cy@example.org":               "two",
	"to:(cy OR bob) cc:dee":                   "two",
	"bcc:eve":                                 "papers",
	"body:invoice":                            "one",
	"text:autumn OR text:papers":              "papers one",
	"header.List-Id:go.example":               "one",
	"header.List-Id:*":                        "one",
	"-header.List-Id:*":                       "papers Grüße two",
	"after:2026-11-02":                        "papers Grüße two",
	"before:2026-11-02":                       "one",
	"on:2026-11-02":                           "Grüße two",
	"after:2026-11-02T00:30:01Z":              "papers Grüße",
	"internalDate<=2026-11-01T19:30:00-05:00": "two one",
	"-after:2026-11-02":                       "one",
	"on:2026-11-01 OR on:2026-11-03":          "papers one",
	"date=2026-11-02":                         "Grüße two",
	"date>2026-11-02":                         "papers",
	"newer_than:1y":                           "papers Grüße two one",
	"older_than:50y":                          "",
	"size>4000":                               "two",
	"larger:4K OR subject:one":                "two one",
	"is:unread":                               "papers Grüße two",
	"is:read":                                 "one",
	"is:flagged":                              "two",
	"is:answered OR is:draft":                 "papers Grüße",
	"keyword:$Forwarded":                      "two",
	`flags:"\\Seen"`:                          "one",
	"has:attachment":                          "papers",
	"-has:attachment is:unread":               "Grüße two",
	"has:attachment OR is:read":               "papers one",
	"filename:report":                         "papers",
	"filename=Report.pdf from:ann":            "papers",
	"messageId:example.com size<200":          "",
	"uid:1,3:*":                               "papers Grüße one",
	"uid>=2 uid<4":                            "Grüße two",
	"(is:read OR is:flagged) AND NOT to:cy":   "one",
	"subject:grüße":                           "Grüße",
	"body:köln":                               "Grüße",
	"from:jürgen -subject:x":                  "Grüße",
	"subject:Grüße OR is:read":                "Grüße one",
	`-subject:"Grüße"`:                        "papers two one",
	// What looks like IMAP is only text.
	`subject:") ALL"`:                  "",
	`from:"x\" OR ALL (\""`:            "",
	`subject:"one) (UID 1:*" OR uid:3`: "Grüße",
}

// only are the filters that only some servers of the tests understand: go-imap's
// searches only the raw text of messages for words.
func skipsFilter(m *mailbox, filter string) bool {
	return !m.kind.dovecot && slices.Contains([]string{"body:köln"}, filter)
}

func putSamples(t testing.TB, m *mailbox) {
	t.Helper()
	c := m.client(t)
	for _, s := range samples {
		raw := s.raw()
		cmd := c.Append("INBOX", int64(len(raw)), &imap.AppendOptions{Flags: s.flags, Time: s.arrived})
		if _, err := cmd.Write(raw); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
	}
}

// search lists the subjects that a filter finds in INBOX, page by page.
func (m *mailbox) search(t testing.TB, filter string, size int32) string {
	t.Helper()
	var found []string
	req := &posternv1.ListMessagesRequest{Parent: m.account, Folder: m.folder(t, "INBOX"), Filter: filter, PageSize: size}
	for {
		page, err := m.messages.ListMessages(m.ctx(t), req)
		if err != nil {
			t.Errorf("%s: %v", filter, err)
			return ""
		}
		for _, message := range page.GetMessages() {
			found = append(found, message.GetSubject())
		}
		if req.PageToken = page.GetNextPageToken(); req.PageToken == "" {
			return strings.Join(found, " ")
		}
	}
}

// A filter means the same on each kind of server.
func TestFiltersOnEachServer(t *testing.T) {
	t.Parallel()
	onEachServer(t, func(t *testing.T, m *mailbox) {
		putSamples(t, m)
		for filter, want := range filters {
			if skipsFilter(m, filter) {
				continue
			}
			if got := m.search(t, filter, 0); got != want {
				t.Errorf("%s finds %q, want %q", filter, got, want)
			}
		}
		for _, filter := range []string{"has:attachment OR from:ann", "after:2026-11-02", "from!=nobody@example.com"} {
			if whole, paged := m.search(t, filter, 0), m.search(t, filter, 1); whole != paged {
				t.Errorf("%s finds %q one by one, and %q at once", filter, paged, whole)
			}
		}
		all, err := m.messages.ListMessages(m.ctx(t), &posternv1.ListMessagesRequest{Parent: m.account, Filter: "has:attachment OR on:2026-11-01"})
		if err != nil || len(all.GetMessages()) != 2 {
			t.Errorf("over all folders: %v, %v", all.GetMessages(), err)
		}
		_, err = m.messages.ListMessages(m.ctx(t), &posternv1.ListMessagesRequest{Parent: m.account, Filter: "uid:1"})
		wantStatus(t, err, codes.InvalidArgument, "FILTER_UNSUPPORTED")
	})
}

// A server that searches US-ASCII only is asked for what it understands, and
// the rest is looked up.
func TestFiltersWithoutCharset(t *testing.T) {
	t.Parallel()
	for _, front := range []string{"gRPC", "REST"} {
		t.Run(front, func(t *testing.T) {
			t.Parallel()
			m := kinds[0].mailbox(t, front)
			putSamples(t, m)
			refused := make(chan struct{}, 1000)
			link := linktest.New(t, m.addr, func() linktest.Filter {
				return linktest.Filter{ToServer: func(line []byte) []byte {
					if bytes.Contains(line, []byte("CHARSET UTF-8")) {
						refused <- struct{}{}
					}
					return bytes.Replace(line, []byte("CHARSET UTF-8"), []byte("CHARSET X-NONE"), 1)
				}}
			})
			m.account = m.register(t, "127.0.0.1", link.Port(), m.user, m.password)
			for filter, want := range filters {
				if got := m.search(t, filter, 0); got != want {
					t.Errorf("%s finds %q, want %q", filter, got, want)
				}
			}
			if len(refused) == 0 {
				t.Error("no charset was refused")
			}
			inbox := m.folder(t, "INBOX")
			sorted, err := m.messages.ListMessages(m.ctx(t), &posternv1.ListMessagesRequest{
				Parent: m.account, Folder: inbox, Filter: "subject:Grüße OR is:read", OrderBy: "subject desc",
			})
			if err != nil || len(sorted.GetMessages()) != 2 || sorted.GetMessages()[0].GetSubject() != "one" {
				t.Errorf("sorted: %v, %v", sorted.GetMessages(), err)
			}
		})
	}
}

// One request looks at so many messages and no more; the next page goes on.
func TestFilterBudget(t *testing.T) {
	t.Parallel()
	m := kinds[0].mailbox(t, "gRPC")
	c := m.client(t)
	const count = 4500
	plain := []byte("From: ann@example.com\r\nSubject: x\r\n\r\nText\r\n")
	for i := range count {
		raw := plain
		if i == 100 || i == count-1 {
			raw = samples[3].raw()
		}
		cmd := c.Append("INBOX", int64(len(raw)), &imap.AppendOptions{Time: samples[0].arrived.Add(time.Duration(i) * time.Second)})
		if _, err := cmd.Write(raw); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	for _, folder := range []string{m.folder(t, "INBOX"), ""} {
		req := &posternv1.ListMessagesRequest{Parent: m.account, Folder: folder, Filter: "has:attachment"}
		var found, pages int
		for pages == 0 || req.PageToken != "" {
			page, err := m.messages.ListMessages(m.ctx(t), req)
			if err != nil {
				t.Fatal(err)
			}
			found += len(page.GetMessages())
			pages++
			req.PageToken = page.GetNextPageToken()
		}
		if found != 2 || pages != 3 {
			t.Errorf("in %q %d found on %d pages", folder, found, pages)
		}
	}
	// Another order needs all of them at once.
	_, err := m.messages.ListMessages(m.ctx(t), &posternv1.ListMessagesRequest{
		Parent: m.account, Folder: m.folder(t, "INBOX"), Filter: "has:attachment", OrderBy: "subject",
	})
	wantStatus(t, err, codes.InvalidArgument, "FILTER_UNSUPPORTED")
	sorted, err := m.messages.ListMessages(m.ctx(t), &posternv1.ListMessagesRequest{
		Parent: m.account, Folder: m.folder(t, "INBOX"), Filter: "has:attachment larger:100", OrderBy: "subject",
	})
	if err != nil || len(sorted.GetMessages()) != 2 {
		t.Errorf("sorted: %v, %v", sorted.GetMessages(), err)
	}
}

func TestFilterErrorsSayWhere(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	account, user, server := h.dovecot(t)
	info := h.do(t, http.MethodGet, "/v1/"+account+"/messages"+values("filter", `subject:"ü" colour:red`), nil).refused(t, 400, "FILTER_INVALID")
	if place := fmt.Sprint(info["metadata"]); place != "map[column:13 position:13]" {
		t.Errorf("place %s", place)
	}
	server.Deliver(t, user, "INBOX", mail("one"))
	info = h.do(t, http.MethodGet, "/v1/"+account+"/messages"+values("filter", `ü label:x`), nil).refused(t, 400, "FILTER_UNSUPPORTED")
	if place := fmt.Sprint(info["metadata"]); place != "map[column:3 position:3]" {
		t.Errorf("place %s", place)
	}
}

// Gmail's labels are in answers and in filters, and all mail is one folder.
func TestFiltersOnGmail(t *testing.T) {
	t.Parallel()
	server := gmailtest.Start(t)
	for i, s := range samples {
		labels := [][]string{{gmailtest.LabelInbox, "work"}, {"Two Words", "Größe"}, {gmailtest.LabelInbox}, {gmailtest.LabelDraft}}[i]
		id := server.DeliverAt(s.arrived, s.raw(), labels...)
		for _, flag := range s.flags {
			server.SetFlag(id, flag, true)
		}
	}
	h := sharedHouse(t)
	account := h.register(t, server.Host(), server.Port(), gmailtest.Username, gmailtest.Password)
	list := func(folder, filter string) string {
		t.Helper()
		return strings.Join(subjects(h.get(t, "/v1/"+account+"/messages"+values("folder", folder, "filter", filter))), " ")
	}
	for filter, want := range map[string]string{
		"":                             "papers Grüße two one",
		"label:work":                   "one",
		`labels:"Two Words"`:           "two",
		"label:Größe":                  "two",
		"label:inbox":                  "Grüße one",
		`-label:"\\Inbox"`:             "papers two",
		`gmail_raw:"in:inbox invoice"`: "one",
		"has:attachment":               "papers",
		"is:flagged":                   "two",
		"subject:grüße":                "Grüße",
		"from=ann@example.com":         "papers one",
		"on:2026-11-02":                "Grüße two",
		"after:2026-11-02 label:inbox": "Grüße",
	} {
		if got := list("", filter); got != want {
			t.Errorf("%s finds %q, want %q", filter, got, want)
		}
	}
	inbox := h.folderNamed(t, account, "INBOX")["name"].(string)
	if got := list(inbox, ""); got != "Grüße one" {
		t.Errorf("INBOX has %q", got)
	}
	// The label of the folder that is read is one of the message's too.
	for folder, want := range map[string]string{"": `[\Inbox work]`, inbox: `[\Inbox work]`} {
		found := h.get(t, "/v1/"+account+"/messages"+values("folder", folder, "filter", "subject:one"))
		one := found["messages"].([]any)[0].(object)
		if got := fmt.Sprint(one["labels"]); got != want {
			t.Errorf("in %q labels %s, want %s", folder, got, want)
		}
		if got := fmt.Sprint(h.get(t, "/v1/"+one["name"].(string))["labels"]); got != want {
			t.Errorf("in %q labels of one %s, want %s", folder, got, want)
		}
	}
}
