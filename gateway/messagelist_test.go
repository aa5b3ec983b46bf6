package gateway_test

import (
	"fmt"
	"net/http"
	"slices"
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
			t.Parallel()
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
	gone := c.Expunge
	if c.Caps().Has(imap.CapUIDPlus) {
		gone = func() *imapclient.ExpungeCommand { return c.UIDExpunge(set) }
	}
	if err := gone().Close(); err != nil {
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
		appendAt(t, client, folder, fmt.Sprintf("m%d", i), base.Add(time.Duration(i)*time.Minute))
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

// The page token holds a position for each folder, however many there are.
func TestListManyFolders(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	account, user, server := h.dovecot(t)
	client := server.Client(t, user)
	const folders = 130
	for i := range folders {
		name := fmt.Sprintf("Folder %d", i)
		if err := client.Create(name, nil).Wait(); err != nil {
			t.Fatal(err)
		}
		appendAt(t, client, name, fmt.Sprintf("m%d", i), time.Date(2026, 11, 1, 0, i, 0, 0, time.UTC))
	}
	var got []string
	token := ""
	for page := 0; page == 0 || token != ""; page++ {
		o := h.get(t, "/v1/"+account+"/messages"+values("pageSize", "50", "pageToken", token))
		got = append(got, subjects(o)...)
		token = o["nextPageToken"].(string)
	}
	if !slices.Equal(got, numbered(folders-1, 0)) {
		t.Errorf("got %v", got)
	}
}

// appendAt puts a message into a folder as if it had arrived at that time.
func appendAt(t testing.TB, client *imapclient.Client, folder, subject string, arrived time.Time) {
	t.Helper()
	raw := mail(subject)
	cmd := client.Append(folder, int64(len(raw)), &imap.AppendOptions{Time: arrived})
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
		"subject:": "FILTER_INVALID", "colour:red": "FILTER_INVALID", "label:work": "FILTER_UNSUPPORTED", "text=invoice": "FILTER_UNSUPPORTED",
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
