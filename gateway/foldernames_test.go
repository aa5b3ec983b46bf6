package gateway_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/dovecottest"
)

// on registers a mailbox of a server with the shared house.
func on(t testing.TB, host string, port int, user, password string) *mailbox {
	t.Helper()
	m := &mailbox{house: sharedHouse(t)}
	m.account = m.register(t, host, port, user, password)
	m.conn = m.grpc
	m.folders = posternv1.NewFolderServiceClient(m.conn)
	return m
}

func (s *plainServer) mailbox(t testing.TB) *mailbox {
	t.Helper()
	return on(t, "127.0.0.1", s.start(t), "ann@example.com", "secret")
}

// TestFoldersAboveAreMade: by us, where the server does not.
func TestFoldersAboveAreMade(t *testing.T) {
	t.Parallel()
	s := &plainServer{delimiter: ".", names: []string{"INBOX"}}
	m := s.mailbox(t)
	f := m.create(t, "Projects", "2026", "Größe & Maß")
	if !f.GetSubscribed() || len(f.GetPath()) != 3 {
		t.Errorf("created %v", f)
	}
	s.has(t, "INBOX", "Projects", "Projects.2026", "Projects.2026.Gr&APYA3w-e &- Ma&AN8-")
	f.Path = []string{"Old", "2026"}
	moved, err := m.update(t, f)
	if err != nil || !moved.GetSubscribed() || moved.GetName() != f.GetName() {
		t.Errorf("moved: %v, %v", moved, err)
	}
	s.has(t, "INBOX", "Projects", "Projects.2026", "Old", "Old.2026")
	// This server leaves those below behind.
	below, top := m.create(t, "Old", "2026", "Below"), m.get(t, f.GetName())
	top.Path = []string{"New"}
	if _, err := m.update(t, top); err != nil {
		t.Fatal(err)
	}
	if still := m.get(t, below.GetName()); strings.Join(still.GetPath(), "/") != "Old/2026/Below" {
		t.Errorf("what was below is %v", still)
	}
	_, err = m.folders.CreateFolder(m.ctx(t), &posternv1.CreateFolderRequest{Parent: m.account, Folder: &posternv1.Folder{Path: []string{"a.b"}}})
	if s := wantStatus(t, err, codes.InvalidArgument, "ARGUMENT_INVALID"); !strings.Contains(s.Message(), `"."`) {
		t.Errorf("the error does not tell of the delimiter: %s", s.Message())
	}
}

func TestFlatServer(t *testing.T) {
	t.Parallel()
	s := &plainServer{names: []string{"INBOX"}}
	m := s.mailbox(t)
	if f := m.create(t, "a/b.c"); !slices.Equal(f.GetPath(), []string{"a/b.c"}) {
		t.Errorf("created %v", f)
	}
	_, err := m.folders.CreateFolder(m.ctx(t), &posternv1.CreateFolderRequest{Parent: m.account, Folder: &posternv1.Folder{Path: []string{"a", "b"}}})
	wantStatus(t, err, codes.InvalidArgument, "ARGUMENT_INVALID")
	s.has(t, "INBOX", "a/b.c")
}

// TestNamesInNoValidEncoding: they can be shown, renamed, filled and deleted.
func TestNamesInNoValidEncoding(t *testing.T) {
	t.Parallel()
	s := &plainServer{delimiter: "/", names: []string{"INBOX", "&Jjo!", "Entw\xfcrfe", "Entw\xfcrfe/Alt", "ra&w", "Plain", "Plain/&x"}}
	m := s.mailbox(t)
	byPath := make(map[string]*posternv1.Folder)
	resp, err := m.folders.ListFolders(m.ctx(t), &posternv1.ListFoldersRequest{Parent: m.account})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range resp.GetFolders() {
		byPath[strings.Join(f.GetPath(), "/")] = f
	}
	draft, old := byPath["Entw\uFFFDrfe"], byPath["Entw\uFFFDrfe/Alt"]
	if draft == nil || old == nil || byPath["&Jjo!"] == nil {
		t.Fatalf("the folders are %v", resp)
	}
	m.create(t, "Entw\uFFFDrfe", "Neu & schön")
	draft.Path = []string{"Entwürfe"}
	if f, err := m.update(t, draft); err != nil || !slices.Equal(f.GetPath(), draft.GetPath()) {
		t.Errorf("renamed: %v, %v", f, err)
	}
	s.has(t, "INBOX", "&Jjo!", "Entw&APw-rfe", "Entw\xfcrfe/Alt", "Entw\xfcrfe/Neu &- sch&APY-n", "ra&w", "Plain", "Plain/&x")
	for _, path := range []string{"&Jjo!", "ra&w"} {
		if _, err := m.folders.DeleteFolder(m.ctx(t), &posternv1.DeleteFolderRequest{Name: byPath[path].GetName()}); err != nil {
			t.Errorf("delete %s: %v", path, err)
		}
	}
	_, err = m.folders.DeleteFolder(m.ctx(t), &posternv1.DeleteFolderRequest{Name: byPath["Plain"].GetName()})
	wantStatus(t, err, codes.FailedPrecondition, "FOLDER_NOT_EMPTY")
	if _, err := m.folders.DeleteFolder(m.ctx(t), &posternv1.DeleteFolderRequest{Name: byPath["Plain"].GetName(), Force: true}); err != nil {
		t.Error(err)
	}
	s.has(t, "INBOX", "Entw&APw-rfe", "Entw\xfcrfe/Alt", "Entw\xfcrfe/Neu &- sch&APY-n")
}

// TestNamespaceIsHidden: on servers that keep all folders below INBOX, as Courier
// and Dovecot for its sake do.
func TestNamespaceIsHidden(t *testing.T) {
	t.Parallel()
	server := dovecottest.Start(t, dovecottest.Separator("."), dovecottest.Prefix("INBOX."), dovecottest.MailFormat("maildir"))
	user, password := server.User(t)
	m := on(t, server.Host(), server.Port(), user, password)
	if paths, want := m.paths(t), []string{"INBOX", "Archive", "Drafts", "Junk", "Sent", "Trash"}; !slices.Equal(paths, want) {
		t.Fatalf("folders %q, want %q", paths, want)
	}
	f := m.create(t, "Projects", "2026")
	if got := strings.Join(f.GetPath(), "/"); got != "Projects/2026" {
		t.Errorf("created %q", got)
	}
	client := server.Client(t, user)
	list, err := client.List("", "INBOX.Projects.2026", nil).Collect()
	if err != nil || len(list) != 1 {
		t.Errorf("the server has %v, %v", list, err)
	}
	f.Path = []string{"Archive", "2026"}
	if moved, err := m.update(t, f); err != nil || strings.Join(moved.GetPath(), "/") != "Archive/2026" {
		t.Errorf("moved: %v, %v", moved, err)
	}
	if list, err = client.List("", "INBOX.Archive.2026", nil).Collect(); err != nil || len(list) != 1 {
		t.Errorf("the server has %v, %v", list, err)
	}
	if f := m.create(t, "inbox", "Below"); strings.Join(f.GetPath(), "/") != "Below" {
		t.Errorf("below INBOX is %q: on this server that is where all are", f.GetPath())
	}
}

func TestQuota(t *testing.T) {
	t.Parallel()
	server := dovecottest.Start(t, dovecottest.Quota("1M"))
	user, password := server.User(t)
	m := on(t, server.Host(), server.Port(), user, password)
	server.Deliver(t, user, "INBOX", []byte("Subject: large\r\n\r\n"+strings.Repeat("0123456789abcdef0123456789abcdef\r\n", 3000)))
	quota, err := m.folders.GetQuota(m.ctx(t), &posternv1.GetQuotaRequest{Name: m.account + "/quota"})
	if err != nil {
		t.Fatal(err)
	}
	storage := quota.GetStorage()
	if storage.GetLimit() != 1<<20 || storage.GetUsage() < 90_000 || storage.GetUsage() > 200_000 || quota.GetMessages() != nil {
		t.Errorf("quota %v", quota)
	}
	o := m.house.get(t, "/v1/"+m.account+"/quota")
	if o["storage"].(object)["limit"] != "1048576" || o["messages"] != nil || len(list(o, "roots")) != 1 {
		t.Errorf("by REST %v", o)
	}
	m.do(t, http.MethodGet, "/v1/accounts/nobody/quota", nil).refused(t, http.StatusNotFound, "ACCOUNT_NOT_FOUND")
}

// TestCreateFolderOverREST: the shapes of the everyday call.
func TestCreateFolderOverREST(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	account := h.demoUser(t)
	path := "/v1/" + account + "/folders"
	f := h.do(t, http.MethodPost, path, `{"path":["Projects","2026"]}`, "Idempotency-Key", "k1").ok(t)
	if again := h.do(t, http.MethodPost, path, `{"path":["Projects","2026"]}`, "Idempotency-Key", "k1").ok(t); again["name"] != f["name"] {
		t.Errorf("repeated: %v", again)
	}
	name := "/v1/" + f["name"].(string)
	if u := h.do(t, http.MethodPatch, name, `{"path":["2026"]}`).ok(t); u["path"].([]any)[0] != "2026" {
		t.Errorf("renamed: %v", u)
	}
	if u := h.do(t, http.MethodPatch, name+"?updateMask=subscribed", `{}`).ok(t); u["subscribed"] != false {
		t.Errorf("unsubscribed: %v", u)
	}
	if e := h.do(t, http.MethodPost, name+":empty", nil).ok(t); e["deleted"] != 0.0 {
		t.Errorf("emptied: %v", e)
	}
	info := h.do(t, http.MethodPost, path, `{"path":["a","b/c"]}`).refused(t, http.StatusBadRequest, "ARGUMENT_INVALID")
	if info == nil {
		t.Fatal("no ErrorInfo")
	}
	h.do(t, http.MethodDelete, name+"?force=true", nil).ok(t)
	h.do(t, http.MethodGet, name, nil).refused(t, http.StatusNotFound, "FOLDER_NOT_FOUND")
}
