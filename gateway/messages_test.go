package gateway_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"google.golang.org/grpc/codes"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
)

// mail is a plain message with a subject.
func mail(subject string) []byte {
	return fmt.Appendf(nil, "From: Ann Lee <ann@example.com>\r\nTo: bob@example.com\r\nSubject: %s\r\n"+
		"Message-ID: <%s@example.com>\r\nDate: Mon, 2 Nov 2026 10:00:00 +0000\r\n\r\nText of %s.\r\n", subject, subject, subject)
}

// folderNamed gives the folder with that last path segment.
func (h *house) folderNamed(t testing.TB, account, name string) object {
	t.Helper()
	for _, f := range list(h.get(t, "/v1/"+account+"/folders?pageSize=500"), "folders") {
		path := f["path"].([]any)
		if path[len(path)-1] == name {
			return f
		}
	}
	t.Fatalf("%s has no folder %s", account, name)
	return nil
}

// subjects are those of the messages of a list, in its order.
func subjects(o object) []string {
	out := []string{}
	for _, m := range list(o, "messages") {
		out = append(out, m["subject"].(string))
	}
	return out
}

func numbered(from, to int) []string {
	var out []string
	for i := from; i >= to; i-- {
		out = append(out, fmt.Sprintf("m%d", i))
	}
	return out
}

func TestListFolder(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	account, user, server := h.dovecot(t)
	for i := 1; i <= 10; i++ {
		server.Deliver(t, user, "INBOX", mail(fmt.Sprintf("m%d", i)))
	}
	inbox := h.folderNamed(t, account, "INBOX")["name"].(string)
	page := func(size, token string) object {
		return h.get(t, "/v1/"+account+"/messages"+values("folder", inbox, "pageSize", size, "pageToken", token))
	}
	first := page("3", "")
	if got := subjects(first); !slices.Equal(got, numbered(10, 8)) {
		t.Fatalf("first page: %v", got)
	}
	// New mail does not shift the pages, an expunge only shortens them.
	server.Deliver(t, user, "INBOX", mail("new"))
	client := server.Client(t, user)
	expunge(t, client, "INBOX", "m6")
	second := page("3", first["nextPageToken"].(string))
	if got := subjects(second); !slices.Equal(got, []string{"m7", "m5", "m4"}) {
		t.Fatalf("second page: %v", got)
	}
	// The last message of a page may go, too.
	expunge(t, client, "INBOX", "m4")
	server.Deliver(t, user, "INBOX", mail("newer"))
	third := page("3", second["nextPageToken"].(string))
	if got := subjects(third); !slices.Equal(got, numbered(3, 1)) || third["nextPageToken"] != "" {
		t.Fatalf("third page: %v, next %v", got, third["nextPageToken"])
	}
	if got := subjects(page("500", "")); !slices.Equal(got, []string{"newer", "new", "m10", "m9", "m8", "m7", "m5", "m3", "m2", "m1"}) {
		t.Fatalf("all: %v", got)
	}

	token := first["nextPageToken"].(string)
	other := h.folderNamed(t, account, "Sent")["name"].(string)
	for name, query := range map[string]string{
		"other folder": values("folder", other, "pageToken", token),
		"other filter": values("folder", inbox, "filter", "is:unread", "pageToken", token),
		"other order":  values("folder", inbox, "orderBy", "subject", "pageToken", token),
		"no folder":    values("pageToken", token),
		"forged":       values("folder", inbox, "pageToken", token+"AA"),
	} {
		t.Run(name, func(t *testing.T) {
			h.do(t, http.MethodGet, "/v1/"+account+"/messages"+query, nil).refused(t, 400, "PAGE_TOKEN_MISMATCH")
		})
	}
}

// expunge removes the message that mail made for that subject.
func expunge(t testing.TB, c *imapclient.Client, folder, subject string) {
	t.Helper()
	if _, err := c.Select(folder, nil).Wait(); err != nil {
		t.Fatal(err)
	}
	found, err := c.UIDSearch(&imap.SearchCriteria{Header: []imap.SearchCriteriaHeaderField{{Key: "Message-ID", Value: "<" + subject + "@example.com>"}}}, nil).Wait()
	if err != nil || len(found.AllUIDs()) != 1 {
		t.Fatalf("search %s: %v, %v", subject, found, err)
	}
	set := imap.UIDSetNum(found.AllUIDs()...)
	if err := c.Store(set, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.UIDExpunge(set).Close(); err != nil {
		t.Fatal(err)
	}
}

// A folder that is made anew has another UIDVALIDITY: pages and names of the
// old one must not be taken for the new one's.
func TestUIDValidityChanges(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	account, user, server := h.dovecot(t)
	for i := range 4 {
		server.Deliver(t, user, "Box", mail(fmt.Sprintf("m%d", i)))
	}
	box := h.folderNamed(t, account, "Box")["name"].(string)
	first := h.get(t, "/v1/"+account+"/messages"+values("folder", box, "pageSize", "2"))
	all := h.get(t, "/v1/"+account+"/messages"+values("pageSize", "2"))
	name := list(first, "messages")[0]["name"].(string)
	client := server.Client(t, user)
	if err := client.Delete("Box").Wait(); err != nil {
		t.Fatal(err)
	}
	// Dovecot takes the time in seconds as UIDVALIDITY.
	if err := client.Create("Box", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		server.Deliver(t, user, "Box", mail(fmt.Sprintf("m%d", i)))
	}
	// Sessions that still have the old folder open would go on with it.
	server.Kick(t, user)
	h.until(t, "/v1/"+name, func(a answer) bool { return a.status != http.StatusServiceUnavailable })
	h.do(t, http.MethodGet, "/v1/"+name, nil).refused(t, 404, "UIDVALIDITY_CHANGED")
	h.do(t, http.MethodGet, "/v1/"+name+":raw", nil).refused(t, 404, "UIDVALIDITY_CHANGED")
	h.do(t, http.MethodGet, "/v1/"+account+"/messages"+values("folder", box, "pageSize", "2", "pageToken", first["nextPageToken"].(string)), nil).
		refused(t, 409, "UIDVALIDITY_CHANGED")
	h.do(t, http.MethodGet, "/v1/"+account+"/messages"+values("pageSize", "2", "pageToken", all["nextPageToken"].(string)), nil).
		refused(t, 409, "UIDVALIDITY_CHANGED")
}

func TestListAllFolders(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	account, user, server := h.dovecot(t)
	client := server.Client(t, user)
	// Arrivals alternate between folders; some lie in junk and trash.
	folders := []string{"INBOX", "Sent", "Projects", "Junk", "Archive", "Trash"}
	base := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for _, folder := range folders {
		if folder != "INBOX" {
			_ = client.Create(folder, nil).Wait() // some are there
		}
	}
	deliver := func(folder string, i int) {
		t.Helper()
		raw := mail(fmt.Sprintf("m%d", i))
		cmd := client.Append(folder, int64(len(raw)), &imap.AppendOptions{Time: base.Add(time.Duration(i) * time.Minute)})
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
	var want []string
	for i := range 30 {
		folder := folders[i%len(folders)]
		deliver(folder, i)
		if folder != "Junk" && folder != "Trash" {
			want = append([]string{fmt.Sprintf("m%d", i)}, want...)
		}
	}
	var got []string
	token := ""
	for page := 0; page == 0 || token != ""; page++ {
		o := h.get(t, "/v1/"+account+"/messages"+values("pageSize", "4", "pageToken", token))
		got = append(got, subjects(o)...)
		token = o["nextPageToken"].(string)
		// New mail in any folder does not shift what is under way.
		deliver(folders[page%3], 100+page)
		if page == 1 {
			expunge(t, client, "Archive", "m4")
			want = slices.DeleteFunc(want, func(s string) bool { return s == "m4" })
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if got := subjects(h.get(t, "/v1/"+account+"/messages"+values("filter", "subject:m100"))); !slices.Equal(got, []string{"m100"}) {
		t.Errorf("filtered: %v", got)
	}
	minimal := list(h.get(t, "/v1/"+account+"/messages"+values("view", "MINIMAL", "pageSize", "1")), "messages")[0]
	if minimal["subject"] != "" || minimal["size"] == "0" || minimal["internalDate"] == nil {
		t.Errorf("minimal: %v", minimal)
	}
}

func TestFilter(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	account, user, server := h.dovecot(t)
	for _, s := range []string{"invoice one", "invoice two", "Grüße", "other"} {
		server.Deliver(t, user, "INBOX", mail(s))
	}
	client := server.Client(t, user)
	if _, err := client.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	store := func(uid imap.UID, flag imap.Flag) {
		if err := client.Store(imap.UIDSetNum(uid), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{flag}}, nil).Close(); err != nil {
			t.Fatal(err)
		}
	}
	store(1, imap.FlagSeen)
	store(2, imap.FlagFlagged)
	store(4, "$Forwarded")
	inbox := h.folderNamed(t, account, "INBOX")["name"].(string)
	for filter, want := range map[string][]string{
		"subject:invoice":                                {"invoice two", "invoice one"},
		"subject:invoice is:unread":                      {"invoice two"},
		`subject:"invoice one" OR subject:other`:         {"other", "invoice one"},
		"-subject:invoice":                               {"other", "Grüße"},
		"is:flagged":                                     {"invoice two"},
		"keyword:$Forwarded":                             {"other"},
		"from:ann to:bob":                                {"other", "Grüße", "invoice two", "invoice one"},
		`text:"Text of other"`:                           {"other"},
		"before:2026-01-01":                              {},
		"after:2026-01-01 size<1M":                       {"other", "Grüße", "invoice two", "invoice one"},
		"from:nobody":                                    {},
		"subject:Grüße":                                  {"Grüße"},
		"(is:read OR is:flagged) AND subject:(one OR x)": {"invoice one"},
	} {
		if got := subjects(h.get(t, "/v1/"+account+"/messages"+values("folder", inbox, "filter", filter))); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", filter, got, want)
		}
	}
	one := h.get(t, "/v1/"+account+"/messages"+values("folder", inbox, "filter", "from:ann", "pageSize", "3"))
	two := h.get(t, "/v1/"+account+"/messages"+values("folder", inbox, "filter", "from:ann", "pageSize", "3", "pageToken", one["nextPageToken"].(string)))
	if got := append(subjects(one), subjects(two)...); !slices.Equal(got, []string{"other", "Grüße", "invoice two", "invoice one"}) || two["nextPageToken"] != "" {
		t.Errorf("pages of a filter: %v, %v", got, two["nextPageToken"])
	}
	for filter, reason := range map[string]string{
		"subject:": "FILTER_INVALID", "colour:red": "FILTER_INVALID", "has:attachment": "FILTER_UNSUPPORTED", "subject=invoice": "FILTER_UNSUPPORTED",
	} {
		h.do(t, http.MethodGet, "/v1/"+account+"/messages"+values("folder", inbox, "filter", filter), nil).refused(t, 400, reason)
	}
}

func TestOrder(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	account, user, server := h.dovecot(t)
	for _, s := range []string{"d", "a", "c", "e", "b"} {
		server.Deliver(t, user, "INBOX", mail(s))
	}
	inbox := h.folderNamed(t, account, "INBOX")["name"].(string)
	page := func(token string) object {
		return h.get(t, "/v1/"+account+"/messages"+values("folder", inbox, "orderBy", "subject", "pageSize", "2", "pageToken", token))
	}
	first := page("")
	// Mail that comes in between stays out, the anchor of the page may go.
	server.Deliver(t, user, "INBOX", mail("aa"))
	server.Deliver(t, user, "INBOX", mail("bb"))
	expunge(t, server.Client(t, user), "INBOX", "b")
	second := page(first["nextPageToken"].(string))
	third := page(second["nextPageToken"].(string))
	got := slices.Concat(subjects(first), subjects(second), subjects(third))
	if !slices.Equal(got, []string{"a", "b", "c", "d", "e"}) {
		t.Errorf("sorted: %v", got)
	}
	reverse := h.get(t, "/v1/"+account+"/messages"+values("folder", inbox, "orderBy", "subject desc", "filter", "subject:a OR subject:b"))
	if got := subjects(reverse); !slices.Equal(got, []string{"bb", "aa", "a"}) {
		t.Errorf("reversed: %v", got)
	}
	h.do(t, http.MethodGet, "/v1/"+account+"/messages"+values("folder", inbox, "orderBy", "colour"), nil).refused(t, 400, "ORDER_BY_UNSUPPORTED")
	h.do(t, http.MethodGet, "/v1/"+account+"/messages"+values("orderBy", "subject"), nil).refused(t, 400, "ORDER_BY_UNSUPPORTED")
	demo := h.demo(t) // its server has no SORT
	box := h.folderNamed(t, demo, "INBOX")["name"].(string)
	h.do(t, http.MethodGet, "/v1/"+demo+"/messages"+values("folder", box, "orderBy", "subject"), nil).refused(t, 400, "ORDER_BY_UNSUPPORTED")
}

func TestGetMessage(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	account, user, server := h.dovecot(t)
	server.Deliver(t, user, "INBOX", []byte(strings.ReplaceAll(`From: =?utf-8?q?J=C3=BCrgen?= <j@example.com>
Sender: Secretary <s@example.com>
To: a@example.com, "B, b" <b@example.com>
Reply-To: list@example.com
Subject: =?iso-8859-1?q?Gr=FC=DFe?=
Message-ID: <two@example.com>
In-Reply-To: <one@example.com>
References: <zero@example.com> <one@example.com>
Date: Mon, 2 Nov 2026 10:00:00 +0100
Received: by a
Received: by b
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=m

--m
Content-Type: multipart/alternative; boundary=a

--a
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

Gr=FC=DFe aus K=F6ln
--a
Content-Type: text/html; charset=utf-8

<p>Grüße aus <b>Köln</b></p>
--a--
--m
Content-Type: application/pdf; name="bericht.pdf"
Content-Disposition: attachment; filename*=utf-8''Bericht%20f%C3%BCr%20Ann.pdf
Content-Transfer-Encoding: base64

aGVsbG8gd29ybGQ=
--m--
`, "\n", "\r\n")))
	inbox := h.folderNamed(t, account, "INBOX")["name"].(string)
	name := list(h.get(t, "/v1/"+account+"/messages"+values("folder", inbox)), "messages")[0]["name"].(string)
	got := h.get(t, "/v1/"+name)
	body := got["body"].(object)
	if strings.TrimSpace(body["text"].(string)) != "Grüße aus Köln" || strings.TrimSpace(body["html"].(string)) != "<p>Grüße aus <b>Köln</b></p>" {
		t.Errorf("body: %v", body)
	}
	for field, want := range map[string]string{
		"subject": "Grüße", "messageId": "two@example.com", "snippet": "Grüße aus Köln", "date": "2026-11-02T09:00:00Z",
	} {
		if got[field] != want {
			t.Errorf("%s: %v, want %s", field, got[field], want)
		}
	}
	if from := got["from"].(object); from["name"] != "Jürgen" || from["address"] != "j@example.com" {
		t.Errorf("from: %v", from)
	}
	if s := fmt.Sprint(got["sender"], got["to"], got["replyTo"], got["references"], got["inReplyTo"]); s !=
		"map[address:s@example.com name:Secretary] [map[address:a@example.com name:] map[address:b@example.com name:B, b]] "+
			"[map[address:list@example.com name:]] [zero@example.com one@example.com] [one@example.com]" {
		t.Errorf("addresses and ids: %s", s)
	}
	attachment := list(got, "attachments")[0]
	if attachment["name"] != name+"/attachments/2" || attachment["filename"] != "Bericht für Ann.pdf" ||
		attachment["contentType"] != "application/pdf" || attachment["disposition"] != "attachment" {
		t.Errorf("attachment: %v", attachment)
	}
	received := 0
	for _, header := range list(got, "headers") {
		if header["name"] == "Received" {
			received++
		}
	}
	if received != 2 {
		t.Errorf("%d Received headers of 2: %v", received, got["headers"])
	}

	listed := list(h.get(t, "/v1/"+account+"/messages"+values("folder", inbox)), "messages")[0]
	for _, field := range []string{"emailId", "subject", "references", "attachments", "etag", "size", "internalDate"} {
		if fmt.Sprint(listed[field]) != fmt.Sprint(got[field]) || got[field] == "" {
			t.Errorf("%s differs: %v in the list, %v alone", field, listed[field], got[field])
		}
	}
	text := h.get(t, "/v1/"+name+"?bodyForm=TEXT")["body"].(object)
	html := h.get(t, "/v1/"+name+"?bodyForm=HTML")["body"].(object)
	if text["html"] != "" || text["text"] == "" || html["html"] == "" || html["text"] != "" {
		t.Errorf("forms: %v, %v", text, html)
	}
	short := h.get(t, "/v1/"+name+"?maxBodyBytes=6")["body"].(object)
	if short["text"] != "Grüß"[:6] && short["text"] != "Grü" || short["truncated"] != true {
		t.Errorf("cut: %v", short)
	}
	masked := h.get(t, "/v1/"+name+"?readMask=subject,body.text")
	if masked["subject"] != "Grüße" || masked["body"].(object)["text"] == "" || masked["body"].(object)["html"] != "" || masked["name"] != "" {
		t.Errorf("masked: %v", masked)
	}
	if flags := h.get(t, "/v1/"+name)["flags"]; len(flags.([]any)) != 0 {
		t.Errorf("reading has set %v", flags)
	}
}

// Names that lead nowhere are told apart, and only after a look.
func TestGetMessageGone(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	account, user, server := h.dovecot(t)
	server.Deliver(t, user, "INBOX", mail("a"))
	inbox := h.folderNamed(t, account, "INBOX")["name"].(string)
	name := list(h.get(t, "/v1/"+account+"/messages"+values("folder", inbox)), "messages")[0]["name"].(string)
	expunge(t, server.Client(t, user), "INBOX", "a")
	for _, path := range []string{name, name + ":raw", name + "/attachments/1:download"} {
		h.do(t, http.MethodGet, "/v1/"+path, nil).refused(t, 404, "MESSAGE_GONE")
	}
	h.do(t, http.MethodGet, "/v1/"+account+"/messages/nonsense", nil).refused(t, 404, "MESSAGE_GONE")
	h.do(t, http.MethodGet, "/v1/accounts/nobody/messages/nonsense", nil).refused(t, 404, "ACCOUNT_NOT_FOUND")
	h.do(t, http.MethodGet, "/v1/"+account+"/folders/nonsense", nil).refused(t, 404, "FOLDER_NOT_FOUND")
	h.do(t, http.MethodGet, "/v1/"+account+"/messages"+values("folder", account+"/folders/00000000"), nil).refused(t, 404, "FOLDER_NOT_FOUND")
	h.do(t, http.MethodGet, "/v1/"+account+"/messages"+values("folder", "accounts/other/folders/00000000"), nil).refused(t, 400, "ARGUMENT_INVALID")
	_, err := posternv1.NewMessageServiceClient(h.grpc).GetMessage(asAdmin(t.Context()), &posternv1.GetMessageRequest{Name: name})
	wantStatus(t, err, codes.NotFound, "MESSAGE_GONE")
}

// Mail that a session has not been told of is there all the same: who gets an
// event and reads the message at once must not be told that it is gone.
func TestGetMessageThatJustCame(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	account, user, server := h.dovecot(t)
	server.Deliver(t, user, "INBOX", mail("m1"))
	inbox := h.folderNamed(t, account, "INBOX")["name"].(string)
	name := list(h.get(t, "/v1/"+account+"/messages"+values("folder", inbox)), "messages")[0]["name"].(string)
	h.get(t, "/v1/"+name) // the connection has INBOX open from here on
	uid := server.Deliver(t, user, "INBOX", mail("m2"))
	next := withUID(t, name, uid)
	if got := h.get(t, "/v1/"+next+"?view=METADATA")["subject"]; got != "m2" {
		t.Errorf("subject %v", got)
	}
}

// A mailbox whose credentials are refused is not the caller's 401, and a
// server that is away is not a 404.
func TestMailboxFailures(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	wrong := h.register(t, shared.sandbox.Host(), shared.sandbox.Port(), "demo@postern.example", "wrong")
	h.do(t, http.MethodGet, "/v1/"+wrong+"/folders", nil).refused(t, 400, "IMAP_AUTH_FAILED")
	away := h.register(t, "127.0.0.1", 1, "demo@postern.example", "x")
	a := h.do(t, http.MethodGet, "/v1/"+away+"/messages", nil)
	a.refused(t, 503, "IMAP_UNAVAILABLE")
	if a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

func TestListByGRPC(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	account := h.demo(t)
	ctx := asAdmin(t.Context())
	folders, err := posternv1.NewFolderServiceClient(h.grpc).ListFolders(ctx, &posternv1.ListFoldersRequest{Parent: account})
	if err != nil || len(folders.GetFolders()) != 8 {
		t.Fatalf("folders %v, %v", folders, err)
	}
	client := posternv1.NewMessageServiceClient(h.grpc)
	page, err := client.ListMessages(ctx, &posternv1.ListMessagesRequest{Parent: account, Folder: folders.GetFolders()[0].GetName(), PageSize: 5})
	if err != nil || len(page.GetMessages()) != 5 || page.GetNextPageToken() == "" {
		t.Fatalf("page %v, %v", page, err)
	}
	for _, m := range page.GetMessages() {
		full, err := client.GetMessage(ctx, &posternv1.GetMessageRequest{Name: m.GetName()})
		if err != nil || full.GetSubject() != m.GetSubject() || full.GetEmailId() != m.GetEmailId() {
			t.Errorf("%v: %v", full, err)
		}
	}
	_, err = client.ListMessages(ctx, &posternv1.ListMessagesRequest{Parent: account, View: posternv1.Message_FULL})
	wantStatus(t, err, codes.InvalidArgument, "ARGUMENT_INVALID")
}

func TestFolders(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	account, user, server := h.dovecot(t)
	client := server.Client(t, user)
	for _, name := range []string{"Projects", "Projects/Üben", "b", "A"} {
		if err := client.Create(name, nil).Wait(); err != nil {
			t.Fatal(err)
		}
	}
	server.Deliver(t, user, "Projects/Üben", mail("m1"))
	var paths []string
	token := ""
	for page := 0; page == 0 || token != ""; page++ {
		o := h.get(t, "/v1/"+account+"/folders"+values("pageSize", "4", "pageToken", token))
		for _, f := range list(o, "folders") {
			paths = append(paths, fmt.Sprint(f["path"]))
		}
		token = o["nextPageToken"].(string)
	}
	want := []string{"[INBOX]", "[A]", "[Archive]", "[b]", "[Drafts]", "[Junk]", "[Projects]", "[Projects Üben]", "[Sent]", "[Trash]"}
	if !slices.Equal(paths, want) {
		t.Errorf("paths %v, want %v", paths, want)
	}
	f := h.folderNamed(t, account, "Üben")
	again := h.get(t, "/v1/"+f["name"].(string))
	if fmt.Sprint(f) != fmt.Sprint(again) || f["total"] != 1.0 || f["unread"] != 1.0 || f["uidValidity"] == 0.0 || f["highestModseq"] == "0" {
		t.Errorf("listed %v\nalone %v", f, again)
	}
	junk := h.folderNamed(t, account, "Junk")
	if junk["role"] != "JUNK" || junk["roleSource"] != "SPECIAL_USE" {
		t.Errorf("junk: %v", junk)
	}
	if err := client.Delete("A").Wait(); err != nil {
		t.Fatal(err)
	}
	for _, p := range list(h.get(t, "/v1/"+account+"/folders"), "folders") {
		if fmt.Sprint(p["path"]) == "[A]" {
			t.Error("a deleted folder is still listed")
		}
	}
}
