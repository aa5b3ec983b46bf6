package gateway_test

import (
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"google.golang.org/grpc/codes"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
)

// What can be read can be read on each kind of server, by gRPC and by REST.
func TestReadOnEachServer(t *testing.T) {
	t.Parallel()
	onEachServer(t, func(t *testing.T, m *mailbox) {
		m.put(t, "INBOX", nil, mail("m1"), mail("m2"))
		m.put(t, "Archive", nil, mail("m3"))
		m.holds(t, "INBOX", "m1", "m2")
		second := m.named(t, "INBOX", "m2")
		if got := second.GetFrom().GetAddress(); got != "ann@example.com" {
			t.Errorf("from %q", got)
		}
		if byModSeq := strings.HasPrefix(second.GetEtag(), "m"); byModSeq != m.has(imap.CapCondStore) {
			t.Errorf("etag %q", second.GetEtag())
		}
		all, err := m.messages.ListMessages(m.ctx(t), &posternv1.ListMessagesRequest{Parent: m.account, Filter: "from:ann"})
		if err != nil || len(all.GetMessages()) != 3 {
			t.Errorf("over all folders: %v, %v", all, err)
		}
		got, err := m.messages.GetMessage(m.ctx(t), &posternv1.GetMessageRequest{Name: m.named(t, "Archive", "m3").GetName()})
		if err != nil || strings.TrimSpace(got.GetBody().GetText()) != "Text of m3." {
			t.Errorf("got %v, %v", got, err)
		}
		_, err = m.messages.GetMessage(m.ctx(t), &posternv1.GetMessageRequest{Name: withUID(t, got.GetName(), 1000)})
		wantStatus(t, err, codes.NotFound, "MESSAGE_GONE")
		folders, err := m.folders.ListFolders(m.ctx(t), &posternv1.ListFoldersRequest{Parent: m.account})
		if err != nil || len(folders.GetFolders()) != 6 {
			t.Fatalf("folders: %v, %v", folders, err)
		}
		for _, f := range folders.GetFolders() {
			if f.GetRole() == posternv1.Folder_ROLE_UNSPECIFIED {
				t.Errorf("%v has no role", f.GetPath())
			}
		}
	})
}
