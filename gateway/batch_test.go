package gateway_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/emersion/go-imap/v2"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
)

func reasonOfProto(s *spb.Status) string { return reasonOf(status.FromProto(s)) }

// failures are the reasons of a batch's failures, by name.
func failures(resp *posternv1.BatchModifyMessagesResponse) map[string]string {
	found := make(map[string]string)
	for _, f := range resp.GetFailed() {
		found[f.GetName()] = reasonOfProto(f.GetError())
	}
	return found
}

func TestBatchModifyNamesOnEachServer(t *testing.T) {
	t.Parallel()
	onEachServer(t, func(t *testing.T, m *mailbox) {
		m.put(t, "INBOX", nil, mail("m1"), mail("m2"))
		m.put(t, "INBOX", []imap.Flag{imap.FlagDeleted}, mail("others"))
		m.put(t, "Archive", nil, mail("m3"))
		one, two, three := m.named(t, "INBOX", "m1").GetName(), m.named(t, "INBOX", "m2").GetName(), m.named(t, "Archive", "m3").GetName()
		missing, nonsense := withUID(t, one, 99), m.account+"/messages/nonsense"
		modify := func(request *posternv1.BatchModifyMessagesRequest) *posternv1.BatchModifyMessagesResponse {
			t.Helper()
			request.Parent = m.account
			resp, err := m.messages.BatchModifyMessages(m.ctx(t), request)
			if err != nil {
				t.Fatal(err)
			}
			return resp
		}
		resp := modify(&posternv1.BatchModifyMessagesRequest{
			Names: []string{one, two, three, missing, nonsense, one}, AddFlags: []string{`\seen`, "$work"}, RemoveFlags: []string{`\Flagged`},
		})
		wrong := map[string]string{missing: "MESSAGE_GONE", nonsense: "MESSAGE_GONE"}
		if resp.GetMatched() != 5 || resp.GetModified() != 3 || resp.GetFailedCount() != 2 || fmt.Sprint(failures(resp)) != fmt.Sprint(wrong) {
			t.Errorf("flags: %v", resp)
		}
		for folder, subject := range map[string]string{"INBOX": "m1", "Archive": "m3"} {
			if f := slices.Sorted(slices.Values(m.named(t, folder, subject).GetFlags())); !slices.Equal(f, []string{"$work", `\Seen`}) {
				t.Errorf("%s has %q", subject, f)
			}
		}
		resp = modify(&posternv1.BatchModifyMessagesRequest{Names: []string{one, two, three}, Trash: true, RequestId: "trash-1"})
		m.holds(t, "INBOX", "others")
		m.holds(t, "Archive")
		m.holds(t, "Trash", "m1", "m2", "m3")
		if resp.GetModified() != 3 || m.has(imap.CapUIDPlus) && len(resp.GetRenamed()) != 3 {
			t.Errorf("trash: %v", resp)
		}
		for _, renamed := range resp.GetRenamed() {
			_, err := m.messages.GetMessage(m.ctx(t), &posternv1.GetMessageRequest{Name: renamed.GetNewName()})
			if err != nil {
				t.Errorf("under its new name: %v", err)
			}
			_, err = m.messages.GetMessage(m.ctx(t), &posternv1.GetMessageRequest{Name: renamed.GetName()})
			wantStatus(t, err, codes.NotFound, "MESSAGE_MOVED")
		}
		again := modify(&posternv1.BatchModifyMessagesRequest{Names: []string{one, two, three}, Trash: true, RequestId: "trash-1"})
		if !proto.Equal(again, resp) {
			t.Errorf("again: %v, want %v", again, resp)
		}
		var all []string
		for _, message := range m.list(t, "Trash") {
			all = append(all, message.GetName())
		}
		if resp := modify(&posternv1.BatchModifyMessagesRequest{Names: all, Delete: true}); resp.GetModified() != 3 {
			t.Errorf("delete: %v", resp)
		}
		m.holds(t, "Trash")
		if f := m.named(t, "INBOX", "others").GetFlags(); !slices.Equal(f, []string{`\Deleted`}) {
			t.Errorf("somebody else's message has %q", f)
		}
	})
}

func TestBatchModifyFilterOnEachServer(t *testing.T) {
	t.Parallel()
	onEachServer(t, func(t *testing.T, m *mailbox) {
		m.put(t, "INBOX", []imap.Flag{imap.FlagSeen}, mail("read"))
		m.put(t, "INBOX", nil, mail("m1"), mail("m2"), mail("m3"))
		resp, err := m.messages.BatchModifyMessages(m.ctx(t), &posternv1.BatchModifyMessagesRequest{
			Parent: m.account, Folder: m.folder(t, "INBOX"), Filter: "is:unread", AddFlags: []string{`\Flagged`}, MoveTo: m.folder(t, "Archive"),
		})
		if err != nil || resp.GetMatched() != 3 || resp.GetModified() != 3 || len(resp.GetFailed()) != 0 {
			t.Errorf("%v, %v", resp, err)
		}
		m.holds(t, "INBOX", "read")
		m.holds(t, "Archive", "m1", "m2", "m3")
		if f := m.named(t, "Archive", "m2").GetFlags(); !slices.Equal(f, []string{`\Flagged`}) {
			t.Errorf("flags %q", f)
		}
	})
}

func TestBatchModifyRefusals(t *testing.T) {
	t.Parallel()
	m := kinds[0].mailbox(t, "REST")
	inbox := m.folder(t, "INBOX")
	some := []string{m.account + "/messages/00000000000000000000g"}
	for name, tt := range map[string]struct {
		request *posternv1.BatchModifyMessagesRequest
		reason  string
		code    codes.Code
	}{
		"nothing to do":       {&posternv1.BatchModifyMessagesRequest{Names: some}, "ARGUMENT_INVALID", codes.InvalidArgument},
		"no messages":         {&posternv1.BatchModifyMessagesRequest{Trash: true}, "ARGUMENT_INVALID", codes.InvalidArgument},
		"folder alone":        {&posternv1.BatchModifyMessagesRequest{Folder: inbox, Delete: true}, "ARGUMENT_INVALID", codes.InvalidArgument},
		"names and filter":    {&posternv1.BatchModifyMessagesRequest{Names: some, Folder: inbox, Filter: "is:read", Delete: true}, "ARGUMENT_INVALID", codes.InvalidArgument},
		"two ends":            {&posternv1.BatchModifyMessagesRequest{Names: some, Trash: true, Delete: true}, "ARGUMENT_INVALID", codes.InvalidArgument},
		"another account's":   {&posternv1.BatchModifyMessagesRequest{Names: []string{"accounts/other/messages/x"}, Trash: true}, "ARGUMENT_INVALID", codes.InvalidArgument},
		"bad flag":            {&posternv1.BatchModifyMessagesRequest{Names: some, AddFlags: []string{`\Recent`}}, "ARGUMENT_INVALID", codes.InvalidArgument},
		"bad filter":          {&posternv1.BatchModifyMessagesRequest{Folder: inbox, Filter: "size>", Trash: true}, "FILTER_INVALID", codes.InvalidArgument},
		"no such target":      {&posternv1.BatchModifyMessagesRequest{Names: some, MoveTo: m.account + "/folders/00000000"}, "FOLDER_NOT_FOUND", codes.NotFound},
		"labels of no labels": {&posternv1.BatchModifyMessagesRequest{Folder: inbox, Filter: "is:unread", AddLabels: []string{"work"}}, "IMAP_CANNOT", codes.FailedPrecondition},
	} {
		tt.request.Parent = m.account
		if name == "labels of no labels" {
			m.put(t, "INBOX", nil, mail("m1"))
		}
		if _, err := m.messages.BatchModifyMessages(m.ctx(t), tt.request); err == nil {
			t.Errorf("%s: no error", name)
		} else {
			wantStatus(t, err, tt.code, tt.reason)
		}
	}
}

// A change of more messages than go at once tells how far it is.
func TestBatchModifyTellsItsProgress(t *testing.T) {
	t.Parallel()
	m := kinds[1].mailbox(t, "gRPC")
	const n = 1234
	raws := make([][]byte, n)
	for i := range raws {
		raws[i] = fmt.Appendf(nil, "Subject: m%d\r\n\r\n", i)
	}
	m.put(t, "INBOX", nil, raws...)
	stream, err := m.messages.BatchModifyMessagesWithProgress(m.ctx(t), &posternv1.BatchModifyMessagesWithProgressRequest{
		Batch: &posternv1.BatchModifyMessagesRequest{
			Parent: m.account, Folder: m.folder(t, "INBOX"), Filter: "is:unread", AddFlags: []string{`\Seen`}, MoveTo: m.folder(t, "Archive"),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	var told []int64
	var last *posternv1.BatchModifyMessagesProgress
	for {
		progress, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		last = progress
		told = append(told, progress.GetModified())
	}
	if !slices.Equal(told, []int64{500, 1000, n, n}) || last.GetResult().GetModified() != n || last.GetMatched() != n {
		t.Errorf("told %d, at last %v", told, last)
	}
	// Two that would be the call's own error are so here, too.
	bad, err := m.messages.BatchModifyMessagesWithProgress(m.ctx(t), &posternv1.BatchModifyMessagesWithProgressRequest{})
	if err == nil {
		_, err = bad.Recv()
	}
	wantStatus(t, err, codes.InvalidArgument, "ARGUMENT_INVALID")
}
