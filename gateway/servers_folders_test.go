package gateway_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
)

// paths are all folders of the mailbox by the API, each path joined by "/".
func (m *mailbox) paths(t testing.TB) []string {
	t.Helper()
	resp, err := m.folders.ListFolders(m.ctx(t), &posternv1.ListFoldersRequest{Parent: m.account, PageSize: 500})
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, f := range resp.GetFolders() {
		paths = append(paths, strings.Join(f.GetPath(), "/"))
	}
	return paths
}

func (m *mailbox) create(t testing.TB, path ...string) *posternv1.Folder {
	t.Helper()
	f, err := m.folders.CreateFolder(m.ctx(t), &posternv1.CreateFolderRequest{Parent: m.account, Folder: &posternv1.Folder{Path: path}})
	if err != nil {
		t.Fatalf("create %q: %v", path, err)
	}
	return f
}

func (m *mailbox) get(t testing.TB, name string) *posternv1.Folder {
	t.Helper()
	f, err := m.folders.GetFolder(m.ctx(t), &posternv1.GetFolderRequest{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (m *mailbox) update(t testing.TB, f *posternv1.Folder, fields ...string) (*posternv1.Folder, error) {
	t.Helper()
	req := &posternv1.UpdateFolderRequest{Folder: f}
	if len(fields) > 0 {
		req.UpdateMask = &fieldmaskpb.FieldMask{Paths: fields}
	}
	return m.folders.UpdateFolder(m.ctx(t), req)
}

func TestCreateFolderOnEachServer(t *testing.T) {
	t.Parallel()
	onEachServer(t, func(t *testing.T, m *mailbox) {
		odd := [][]string{
			{"Projects", "2026"}, {"Üben", "Größe"}, {"送信 済み"}, {"100% *wild*"}, {"INBOX", "Below"}, {`quote " and \ backslash`},
		}
		if m.kind.dovecot {
			odd = append(odd, []string{"this & that", "&-"}) // see the sandbox's doc.go
		}
		for _, path := range odd {
			f := m.create(t, path...)
			if !slices.Equal(f.GetPath(), path) || !f.GetSelectable() || !f.GetSubscribed() || f.GetUidValidity() == 0 || f.GetEtag() == "" {
				t.Errorf("created %v, want the path %q", f, path)
			}
			again := m.get(t, f.GetName())
			if again.GetEtag() != f.GetEtag() || !slices.Equal(again.GetPath(), path) {
				t.Errorf("read again it is %v", again)
			}
			m.put(t, strings.Join(path, "/"), nil, mail("m1"))
			if again = m.get(t, f.GetName()); again.GetTotal() != 1 || again.GetUnread() != 1 {
				t.Errorf("with a message in it is %v", again)
			}
			_, err := m.folders.CreateFolder(m.ctx(t), &posternv1.CreateFolderRequest{
				Parent: m.account, Folder: &posternv1.Folder{Path: path},
			})
			wantStatus(t, err, codes.AlreadyExists, "FOLDER_EXISTS")
		}
		if paths := m.paths(t); !slices.Contains(paths, "Projects") || !slices.Contains(paths, "100% *wild*") {
			t.Errorf("folders %q", paths)
		}
		m.create(t, "Projects", "2026", "Deep", "Deeper")
		// NFD is made NFC, and so is there already.
		_, err := m.folders.CreateFolder(m.ctx(t), &posternv1.CreateFolderRequest{
			Parent: m.account, Folder: &posternv1.Folder{Path: []string{"U\u0308ben"}},
		})
		if reasonOf(status.Convert(err)) != "FOLDER_EXISTS" && m.paths(t)[0] != "INBOX" {
			t.Errorf("NFD: %v", err)
		}
		for _, wrong := range [][]string{nil, {""}, {"a/b"}, {"a\r\nb"}, {"inbox"}, {"x", "y\x00"}} {
			_, err := m.folders.CreateFolder(m.ctx(t), &posternv1.CreateFolderRequest{
				Parent: m.account, Folder: &posternv1.Folder{Path: wrong},
			})
			if got := reasonOf(status.Convert(err)); got != "ARGUMENT_INVALID" && got != "FOLDER_EXISTS" {
				t.Errorf("%q: %v", wrong, err)
			}
		}
	})
}

// TestFolderRolesOnEachServer: a role goes to the server where it takes it, and
// holds where it does not.
func TestFolderRolesOnEachServer(t *testing.T) {
	t.Parallel()
	onEachServer(t, func(t *testing.T, m *mailbox) {
		f, err := m.folders.CreateFolder(m.ctx(t), &posternv1.CreateFolderRequest{
			Parent: m.account, Folder: &posternv1.Folder{Path: []string{"Mine"}, Role: posternv1.Folder_FLAGGED},
		})
		if err != nil || f.GetRole() != posternv1.Folder_FLAGGED {
			t.Fatalf("%v, %v", f, err)
		}
		source := posternv1.Folder_OVERRIDE
		if !m.kind.dovecot && m.has(imap.CapCreateSpecialUse) {
			source = posternv1.Folder_SPECIAL_USE
		}
		if f.GetRoleSource() != source {
			t.Errorf("the role is known by %v, want %v", f.GetRoleSource(), source)
		}
		archive := m.folder(t, "Archive")
		f.Role = posternv1.Folder_ARCHIVE
		if f, err = m.update(t, f, "role"); err != nil || f.GetRole() != posternv1.Folder_ARCHIVE || f.GetRoleSource() != posternv1.Folder_OVERRIDE {
			t.Errorf("overridden: %v, %v", f, err)
		}
		if other := m.get(t, archive); other.GetRole() != posternv1.Folder_ROLE_UNSPECIFIED {
			t.Errorf("the other folder still has the role: %v", other)
		}
		f.Role = posternv1.Folder_NONE
		if f, err = m.update(t, f); err != nil || f.GetRole() != posternv1.Folder_NONE {
			t.Errorf("without a role: %v, %v", f, err)
		}
		if other := m.get(t, archive); other.GetRole() != posternv1.Folder_ARCHIVE {
			t.Errorf("the other folder does not have its role back: %v", other)
		}
		f.Role = posternv1.Folder_ROLE_UNSPECIFIED
		if f, err = m.update(t, f, "role"); err != nil || f.GetRoleSource() == posternv1.Folder_OVERRIDE {
			t.Errorf("taken back: %v, %v", f, err)
		}
		f.Role = posternv1.Folder_INBOX
		_, err = m.update(t, f, "role")
		wantStatus(t, err, codes.InvalidArgument, "ARGUMENT_INVALID")
		_, err = m.update(t, &posternv1.Folder{Name: m.folder(t, "INBOX"), Role: posternv1.Folder_TRASH})
		wantStatus(t, err, codes.InvalidArgument, "ARGUMENT_INVALID")
	})
}

func TestUpdateFolderOnEachServer(t *testing.T) {
	t.Parallel()
	onEachServer(t, func(t *testing.T, m *mailbox) {
		work, deep := m.create(t, "Work"), m.create(t, "Work", "Deep", "Deeper")
		m.create(t, "Taken")
		m.put(t, "Work/Deep/Deeper", nil, mail("m1"))
		before := m.named(t, "Deeper", "m1")

		work.Path = []string{"Ablage", "Arbeit"}
		moved, err := m.update(t, work)
		if err != nil || moved.GetName() != work.GetName() || !slices.Equal(moved.GetPath(), work.GetPath()) || !moved.GetSubscribed() {
			t.Fatalf("moved: %v, %v", moved, err)
		}
		if f := m.get(t, deep.GetName()); strings.Join(f.GetPath(), "/") != "Ablage/Arbeit/Deep/Deeper" || !f.GetSubscribed() || f.GetTotal() != 1 {
			t.Errorf("what was below it is %v", f)
		}
		if after := m.named(t, "Deeper", "m1"); after.GetName() != before.GetName() {
			t.Errorf("the message is %s, and was %s", after.GetName(), before.GetName())
		}
		got, err := m.messages.GetMessage(m.ctx(t), &posternv1.GetMessageRequest{Name: before.GetName()})
		if err != nil || got.GetSubject() != "m1" {
			t.Errorf("by its name: %v, %v", got, err)
		}
		// A folder that gets the old name is another one, also for connections
		// that have the old one open.
		fresh := m.create(t, "Work", "Deep", "Deeper")
		if fresh.GetName() == deep.GetName() {
			t.Error("a new folder has the old one's name")
		}
		list, err := m.messages.ListMessages(m.ctx(t), &posternv1.ListMessagesRequest{Parent: m.account, Folder: fresh.GetName()})
		if err != nil || len(list.GetMessages()) != 0 {
			t.Errorf("the new folder has %v, %v", list, err)
		}

		m.refusesUpdates(t, moved)
		// Subscription and etag.
		stale := moved.GetEtag()
		off, err := m.update(t, &posternv1.Folder{Name: moved.GetName(), Etag: stale}, "subscribed")
		if err != nil || off.GetSubscribed() {
			t.Fatalf("unsubscribed: %v, %v", off, err)
		}
		_, err = m.update(t, &posternv1.Folder{Name: moved.GetName(), Etag: stale, Subscribed: true})
		wantStatus(t, err, codes.Aborted, "ETAG_MISMATCH")
		on, err := m.update(t, &posternv1.Folder{Name: moved.GetName(), Etag: off.GetEtag(), Subscribed: true, Path: []string{"Oben"}})
		if err != nil || !on.GetSubscribed() || !slices.Equal(on.GetPath(), []string{"Oben"}) || on.GetEtag() == off.GetEtag() {
			t.Errorf("both at once: %v, %v", on, err)
		}
	})
}

func (m *mailbox) refusesUpdates(t testing.TB, f *posternv1.Folder) {
	t.Helper()
	at := func(path ...string) *posternv1.Folder { return &posternv1.Folder{Name: f.GetName(), Path: path} }
	_, err := m.update(t, at("Taken"))
	wantStatus(t, err, codes.AlreadyExists, "FOLDER_EXISTS")
	_, err = m.update(t, at(append(slices.Clone(f.GetPath()), "Inside")...))
	wantStatus(t, err, codes.InvalidArgument, "ARGUMENT_INVALID")
	_, err = m.update(t, at(), "path")
	wantStatus(t, err, codes.InvalidArgument, "ARGUMENT_INVALID")
	_, err = m.update(t, at("INBOX"))
	wantStatus(t, err, codes.AlreadyExists, "FOLDER_EXISTS")
	_, err = m.update(t, &posternv1.Folder{Name: m.folder(t, "INBOX"), Path: []string{"Outbox"}})
	wantStatus(t, err, codes.FailedPrecondition, "FOLDER_IS_INBOX")
	_, err = m.update(t, &posternv1.Folder{Name: m.account + "/folders/00000000", Path: []string{"x"}})
	wantStatus(t, err, codes.NotFound, "FOLDER_NOT_FOUND")
	_, err = m.update(t, at("x"), "path", "colour")
	wantStatus(t, err, codes.InvalidArgument, "ARGUMENT_INVALID")
	if same, err := m.update(t, f, "total"); err != nil || same.GetEtag() != f.GetEtag() {
		t.Errorf("a mask of nothing that can be changed: %v, %v", same, err)
	}
}

// metadataOf is what an error tells programs beside its reason.
func metadataOf(err error) map[string]string {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.GetMetadata()
		}
	}
	return nil
}

func TestDeleteFolderOnEachServer(t *testing.T) {
	t.Parallel()
	onEachServer(t, func(t *testing.T, m *mailbox) {
		del := func(name string, force bool, etag string) error {
			_, err := m.folders.DeleteFolder(m.ctx(t), &posternv1.DeleteFolderRequest{Name: name, Force: force, Etag: etag})
			return err
		}
		empty, full, tree := m.create(t, "Empty"), m.create(t, "Full"), m.create(t, "Tree")
		leaf := m.create(t, "Tree", "Branch", "Leaf")
		m.put(t, "Full", nil, mail("m1"))
		m.put(t, "Tree/Branch/Leaf", nil, mail("m2"))
		wantStatus(t, del(empty.GetName(), false, "stale"), codes.Aborted, "ETAG_MISMATCH")
		if err := del(empty.GetName(), false, empty.GetEtag()); err != nil {
			t.Error(err)
		}
		for name, counts := range map[string]string{full.GetName(): "1 0", tree.GetName(): "0 2"} {
			err := del(name, false, "")
			wantStatus(t, err, codes.FailedPrecondition, "FOLDER_NOT_EMPTY")
			metadata := metadataOf(err)
			if got := metadata["messages"] + " " + metadata["folders"]; got != counts {
				t.Errorf("the error tells of %s, want %s", got, counts)
			}
			if err := del(name, true, ""); err != nil {
				t.Error(err)
			}
			wantStatus(t, del(name, true, ""), codes.NotFound, "FOLDER_NOT_FOUND")
		}
		_, err := m.folders.GetFolder(m.ctx(t), &posternv1.GetFolderRequest{Name: leaf.GetName()})
		wantStatus(t, err, codes.NotFound, "FOLDER_NOT_FOUND")
		if paths, want := m.paths(t), []string{"INBOX", "Archive", "Drafts", "Junk", "Sent", "Trash"}; !slices.Equal(paths, want) {
			t.Errorf("left are %q, want %q", paths, want)
		}
		if again := m.create(t, "Empty"); again.GetName() == empty.GetName() {
			t.Error("the new folder has the deleted one's name")
		}
		wantStatus(t, del(m.folder(t, "INBOX"), true, ""), codes.FailedPrecondition, "FOLDER_IS_INBOX")
	})
}

func TestEmptyFolderOnEachServer(t *testing.T) {
	t.Parallel()
	onEachServer(t, func(t *testing.T, m *mailbox) {
		f := m.create(t, "Full")
		m.create(t, "Full", "Below")
		var all [][]byte
		for i := range 30 {
			all = append(all, mail(fmt.Sprintf("m%d", i)))
		}
		m.put(t, "Full", nil, all...)
		m.put(t, "Full", []imap.Flag{imap.FlagDeleted}, mail("marked"))
		m.put(t, "Full/Below", []imap.Flag{imap.FlagDeleted}, mail("stays"))
		resp, err := m.folders.EmptyFolder(m.ctx(t), &posternv1.EmptyFolderRequest{Name: f.GetName()})
		if err != nil || resp.GetDeleted() != 31 {
			t.Errorf("emptied: %v, %v", resp, err)
		}
		m.holds(t, "Full")
		m.holds(t, "Full/Below", "stays")
		if resp, err = m.folders.EmptyFolder(m.ctx(t), &posternv1.EmptyFolderRequest{Name: f.GetName()}); err != nil || resp.GetDeleted() != 0 {
			t.Errorf("emptied again: %v, %v", resp, err)
		}
		_, err = m.folders.EmptyFolder(m.ctx(t), &posternv1.EmptyFolderRequest{Name: m.account + "/folders/00000000"})
		wantStatus(t, err, codes.NotFound, "FOLDER_NOT_FOUND")
	})
}

// TestRequestIDOfFolderOnEachServer: what is repeated is done once.
func TestRequestIDOfFolderOnEachServer(t *testing.T) {
	t.Parallel()
	onEachServer(t, func(t *testing.T, m *mailbox) {
		create := func(id string, path ...string) (*posternv1.Folder, error) {
			return m.folders.CreateFolder(m.ctx(t), &posternv1.CreateFolderRequest{
				Parent: m.account, Folder: &posternv1.Folder{Path: path}, RequestId: id,
			})
		}
		first, err := create("r1", "Once")
		if err != nil {
			t.Fatal(err)
		}
		first.Path = []string{"Renamed"}
		if _, err := m.update(t, first); err != nil {
			t.Fatal(err)
		}
		again, err := create("r1", "Once")
		if err != nil || again.GetName() != first.GetName() || again.GetPath()[0] != "Renamed" {
			t.Errorf("repeated: %v, %v", again, err)
		}
		_, err = create("r1", "Twice")
		wantStatus(t, err, codes.InvalidArgument, "REQUEST_ID_REUSED")
		if _, err := m.folders.DeleteFolder(m.ctx(t), &posternv1.DeleteFolderRequest{Name: first.GetName()}); err != nil {
			t.Fatal(err)
		}
		_, err = create("r1", "Once")
		wantStatus(t, err, codes.InvalidArgument, "REQUEST_ID_REUSED")
	})
}

func TestQuotaOnEachServer(t *testing.T) {
	t.Parallel()
	onEachServer(t, func(t *testing.T, m *mailbox) {
		_, err := m.folders.GetQuota(m.ctx(t), &posternv1.GetQuotaRequest{Name: m.account + "/quota"})
		wantStatus(t, err, codes.FailedPrecondition, "IMAP_CANNOT")
	})
}
