package gateway_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
)

var flagsMask = &fieldmaskpb.FieldMask{Paths: []string{"flags"}}

func TestUpdateMessageOnEachServer(t *testing.T) {
	t.Parallel()
	onEachServer(t, func(t *testing.T, m *mailbox) {
		m.put(t, "INBOX", []imap.Flag{imap.FlagFlagged}, mail("m1"))
		before := m.named(t, "INBOX", "m1")
		update := func(etag string, flags ...string) (*posternv1.Message, error) {
			return m.messages.UpdateMessage(m.ctx(t), &posternv1.UpdateMessageRequest{
				Message: &posternv1.Message{Name: before.GetName(), Etag: etag, Flags: flags}, UpdateMask: flagsMask,
			})
		}
		got, err := update(before.GetEtag(), `\seen`, "$Forwarded", `\Seen`)
		if err != nil {
			t.Fatal(err)
		}
		if f := slices.Sorted(slices.Values(got.GetFlags())); !slices.Equal(f, []string{"$Forwarded", `\Seen`}) {
			t.Errorf("flags %q", f)
		}
		if got.GetSubject() != "m1" || got.GetEtag() == before.GetEtag() || got.GetName() != before.GetName() {
			t.Errorf("answered %v", got)
		}
		_, err = update(before.GetEtag(), `\Seen`)
		wantStatus(t, err, codes.Aborted, "ETAG_MISMATCH")
		if again, err := update(got.GetEtag(), got.GetFlags()...); err != nil || again.GetEtag() != got.GetEtag() {
			t.Errorf("the same flags: %v, %v", again, err)
		}
		if none, err := update(""); err != nil || len(none.GetFlags()) != 0 {
			t.Errorf("no flags: %v, %v", none, err)
		}
		for _, bad := range []string{`\Recent`, `\Important`, "two words", "k(", "käse", "100%"} {
			_, err := update("", bad)
			wantStatus(t, err, codes.InvalidArgument, "ARGUMENT_INVALID")
		}
		// Without a mask what is set is changed; other fields of a mask are not.
		_, err = m.messages.UpdateMessage(m.ctx(t), &posternv1.UpdateMessageRequest{Message: &posternv1.Message{Name: before.GetName(), Flags: []string{`\Answered`}}})
		if err != nil {
			t.Fatal(err)
		}
		got, err = m.messages.UpdateMessage(m.ctx(t), &posternv1.UpdateMessageRequest{
			Message: &posternv1.Message{Name: before.GetName(), Subject: "other"}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"subject"}},
		})
		if err != nil || got.GetSubject() != "m1" || !slices.Equal(got.GetFlags(), []string{`\Answered`}) {
			t.Errorf("answered %v, %v", got, err)
		}
		_, err = m.messages.UpdateMessage(m.ctx(t), &posternv1.UpdateMessageRequest{
			Message: &posternv1.Message{Name: withUID(t, before.GetName(), 99), Flags: []string{`\Seen`}},
		})
		wantStatus(t, err, codes.NotFound, "MESSAGE_GONE")
	})
}

func TestMoveMessageOnEachServer(t *testing.T) {
	t.Parallel()
	onEachServer(t, func(t *testing.T, m *mailbox) {
		m.put(t, "Archive", nil, mail("m1")) // the same mail may be there before
		m.put(t, "INBOX", []imap.Flag{imap.FlagSeen}, mail("m1"))
		m.put(t, "INBOX", []imap.Flag{imap.FlagDeleted}, mail("others"))
		m.put(t, "INBOX", nil, []byte("Subject: bare\r\n\r\nNo ids.\r\n"))
		archive := m.folder(t, "Archive")
		old := m.named(t, "INBOX", "m1")
		got, err := m.messages.MoveMessage(m.ctx(t), &posternv1.MoveMessageRequest{Name: old.GetName(), Folder: archive})
		if err != nil {
			t.Fatal(err)
		}
		if got.GetFolder() != archive || got.GetSubject() != "m1" || !slices.Equal(got.GetFlags(), []string{`\Seen`}) {
			t.Errorf("moved %v", got)
		}
		m.holds(t, "INBOX", "others", "bare")
		m.holds(t, "Archive", "m1", "m1")
		if f := m.named(t, "INBOX", "others").GetFlags(); !slices.Equal(f, []string{`\Deleted`}) {
			t.Errorf("somebody else's message has %q", f)
		}
		// The old name leads to the new one, through further moves.
		again, err := m.messages.MoveMessage(m.ctx(t), &posternv1.MoveMessageRequest{Name: got.GetName(), Folder: m.folder(t, "Junk")})
		if err != nil {
			t.Fatal(err)
		}
		_, err = m.messages.GetMessage(m.ctx(t), &posternv1.GetMessageRequest{Name: old.GetName()})
		info := errorInfo(wantStatus(t, err, codes.NotFound, "MESSAGE_MOVED"))
		if info["message"] != again.GetName() || info["folder"] != again.GetFolder() {
			t.Errorf("told %v, want %s", info, again.GetName())
		}
		_, err = m.messages.MoveMessage(m.ctx(t), &posternv1.MoveMessageRequest{Name: old.GetName(), Folder: archive})
		wantStatus(t, err, codes.NotFound, "MESSAGE_MOVED")
		same, err := m.messages.MoveMessage(m.ctx(t), &posternv1.MoveMessageRequest{Name: again.GetName(), Folder: again.GetFolder()})
		if err != nil || same.GetName() != again.GetName() {
			t.Errorf("to where it is: %v, %v", same, err)
		}
		bare, err := m.messages.MoveMessage(m.ctx(t), &posternv1.MoveMessageRequest{Name: m.named(t, "INBOX", "bare").GetName(), Folder: archive})
		if err != nil || bare.GetSubject() != "bare" || bare.GetName() == "" {
			t.Errorf("without a Message-ID: %v, %v", bare, err)
		}
		_, err = m.messages.MoveMessage(m.ctx(t), &posternv1.MoveMessageRequest{Name: bare.GetName(), Folder: m.account + "/folders/00000000"})
		wantStatus(t, err, codes.NotFound, "FOLDER_NOT_FOUND")
		_, err = m.messages.MoveMessage(m.ctx(t), &posternv1.MoveMessageRequest{Name: bare.GetName(), Folder: "accounts/other/folders/00000000"})
		wantStatus(t, err, codes.InvalidArgument, "ARGUMENT_INVALID")
		_, err = m.messages.MoveMessage(m.ctx(t), &posternv1.MoveMessageRequest{Name: withUID(t, bare.GetName(), 99), Folder: archive})
		wantStatus(t, err, codes.NotFound, "MESSAGE_GONE")
	})
}

func TestCopyMessageOnEachServer(t *testing.T) {
	t.Parallel()
	onEachServer(t, func(t *testing.T, m *mailbox) {
		m.put(t, "INBOX", nil, mail("m1"))
		original := m.named(t, "INBOX", "m1")
		request := &posternv1.CopyMessageRequest{Name: original.GetName(), Folder: m.folder(t, "Archive"), RequestId: "copy-1"}
		for range 2 {
			got, err := m.messages.CopyMessage(m.ctx(t), request)
			if err != nil || got.GetName() != m.named(t, "Archive", "m1").GetName() || got.GetEmailId() != original.GetEmailId() {
				t.Errorf("copied %v, %v", got, err)
			}
		}
		m.holds(t, "INBOX", "m1")
		m.holds(t, "Archive", "m1")
		request.Folder = m.folder(t, "Junk")
		_, err := m.messages.CopyMessage(m.ctx(t), request)
		wantStatus(t, err, codes.InvalidArgument, "REQUEST_ID_REUSED")
		twin, err := m.messages.CopyMessage(m.ctx(t), &posternv1.CopyMessageRequest{Name: original.GetName(), Folder: original.GetFolder()})
		if !m.kind.dovecot { // go-imap's server does not do that
			wantStatus(t, err, codes.FailedPrecondition, "IMAP_CANNOT")
			return
		}
		if err != nil || twin.GetName() == original.GetName() || twin.GetFolder() != original.GetFolder() {
			t.Errorf("into its own folder: %v, %v", twin, err)
		}
		m.holds(t, "INBOX", "m1", "m1")
	})
}

func TestTrashAndDeleteOnEachServer(t *testing.T) {
	t.Parallel()
	onEachServer(t, func(t *testing.T, m *mailbox) {
		m.put(t, "INBOX", nil, mail("m1"), mail("m2"))
		m.put(t, "INBOX", []imap.Flag{imap.FlagDeleted}, mail("others"))
		trashed, err := m.messages.TrashMessage(m.ctx(t), &posternv1.TrashMessageRequest{Name: m.named(t, "INBOX", "m1").GetName()})
		if err != nil || trashed.GetFolder() != m.folder(t, "Trash") {
			t.Fatalf("trashed %v, %v", trashed, err)
		}
		again, err := m.messages.TrashMessage(m.ctx(t), &posternv1.TrashMessageRequest{Name: trashed.GetName()})
		if err != nil || again.GetName() != trashed.GetName() {
			t.Errorf("in the trash already: %v, %v", again, err)
		}
		m.holds(t, "INBOX", "m2", "others")
		m.holds(t, "Trash", "m1")
		gone := m.named(t, "INBOX", "m2").GetName()
		if _, err := m.messages.DeleteMessage(m.ctx(t), &posternv1.DeleteMessageRequest{Name: gone}); err != nil {
			t.Fatal(err)
		}
		m.holds(t, "INBOX", "others")
		if f := m.named(t, "INBOX", "others").GetFlags(); !slices.Equal(f, []string{`\Deleted`}) {
			t.Errorf("somebody else's message has %q", f)
		}
		_, err = m.messages.DeleteMessage(m.ctx(t), &posternv1.DeleteMessageRequest{Name: gone})
		wantStatus(t, err, codes.NotFound, "MESSAGE_GONE")
	})
}

func TestTrashNeedsAFolder(t *testing.T) {
	t.Parallel()
	m := kinds[1].mailbox(t, "gRPC")
	m.put(t, "INBOX", nil, mail("m1"))
	if err := m.client(t).Delete("Trash").Wait(); err != nil {
		t.Fatal(err)
	}
	_, err := m.messages.TrashMessage(m.ctx(t), &posternv1.TrashMessageRequest{Name: m.named(t, "INBOX", "m1").GetName()})
	if info := errorInfo(wantStatus(t, err, codes.FailedPrecondition, "FOLDER_ROLE_MISSING")); info["role"] != "TRASH" {
		t.Errorf("told %v", info)
	}
}

func TestBatchGetOnEachServer(t *testing.T) {
	t.Parallel()
	onEachServer(t, func(t *testing.T, m *mailbox) {
		m.put(t, "INBOX", nil, mail("m1"), mail("m2"))
		m.put(t, "Archive", nil, mail("m3"))
		one, three := m.named(t, "INBOX", "m1").GetName(), m.named(t, "Archive", "m3").GetName()
		missing, nonsense := withUID(t, one, 99), m.account+"/messages/nonsense"
		names := []string{three, missing, one, nonsense, three}
		resp, err := m.messages.BatchGetMessages(m.ctx(t), &posternv1.BatchGetMessagesRequest{Parent: m.account, Names: names})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for i, result := range resp.GetResults() {
			if result.GetName() != names[i] {
				t.Errorf("result %d is of %s", i, result.GetName())
			}
			got = append(got, result.GetMessage().GetSubject()+reasonOfProto(result.GetError()))
		}
		if want := []string{"m3", "MESSAGE_GONE", "m1", "MESSAGE_GONE", "m3"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		_, err = m.messages.BatchGetMessages(m.ctx(t), &posternv1.BatchGetMessagesRequest{Parent: m.account, Names: []string{"accounts/other/messages/x"}})
		wantStatus(t, err, codes.InvalidArgument, "ARGUMENT_INVALID")
	})
}

func TestLookupOnEachServer(t *testing.T) {
	t.Parallel()
	onEachServer(t, func(t *testing.T, m *mailbox) {
		m.put(t, "INBOX", nil, mail("m1"), mail("m11"))
		m.put(t, "Junk", nil, mail("m1"))
		m.put(t, "Trash", nil, []byte("Subject: bare\r\n\r\nNo ids.\r\n"))
		want := []string{m.named(t, "INBOX", "m1").GetName(), m.named(t, "Junk", "m1").GetName()}
		for _, request := range []*posternv1.LookupMessagesRequest{
			{MessageId: "m1@example.com"},
			{MessageId: "<m1@example.com>", View: posternv1.Message_MINIMAL},
			{EmailId: m.named(t, "INBOX", "m1").GetEmailId()},
		} {
			request.Parent = m.account
			resp, err := m.messages.LookupMessages(m.ctx(t), request)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, message := range resp.GetMessages() {
				got = append(got, message.GetName())
				if (message.GetSubject() == "") != (request.GetView() == posternv1.Message_MINIMAL) {
					t.Errorf("view %s: %v", request.GetView(), message)
				}
			}
			if !slices.Equal(got, want) || resp.GetIncomplete() {
				t.Errorf("%v: found %q, want %q", request, got, want)
			}
		}
		bare := m.named(t, "Trash", "bare")
		resp, err := m.messages.LookupMessages(m.ctx(t), &posternv1.LookupMessagesRequest{Parent: m.account, EmailId: bare.GetEmailId()})
		if err != nil || len(resp.GetMessages()) != 1 || resp.GetMessages()[0].GetName() != bare.GetName() {
			t.Errorf("without a Message-ID: %v, %v", resp, err)
		}
		resp, err = m.messages.LookupMessages(m.ctx(t), &posternv1.LookupMessagesRequest{Parent: m.account, EmailId: strings.Repeat("0", 32)})
		if err != nil || len(resp.GetMessages()) != 0 {
			t.Errorf("an unknown id: %v, %v", resp, err)
		}
		_, err = m.messages.LookupMessages(m.ctx(t), &posternv1.LookupMessagesRequest{Parent: m.account})
		wantStatus(t, err, codes.InvalidArgument, "ARGUMENT_INVALID")
	})
}

// Of several changes that rest on the same flags one is made, however close
// together they come.
func TestOneOfManyUpdatesWins(t *testing.T) {
	t.Parallel()
	m := kinds[0].mailbox(t, "gRPC")
	m.put(t, "INBOX", nil, mail("m1"))
	name := m.named(t, "INBOX", "m1").GetName()
	for round := range 15 {
		now, err := m.messages.GetMessage(m.ctx(t), &posternv1.GetMessageRequest{Name: name, View: posternv1.Message_MINIMAL})
		if err != nil {
			t.Fatal(err)
		}
		const writers = 3
		outcomes := make(chan error, writers)
		for i := range writers {
			go func() {
				_, err := m.messages.UpdateMessage(m.ctx(t), &posternv1.UpdateMessageRequest{
					Message: &posternv1.Message{Name: name, Etag: now.GetEtag(), Flags: []string{fmt.Sprintf("$By%d", i), fmt.Sprintf("$Round%d", round)}}, UpdateMask: flagsMask,
				})
				outcomes <- err
			}()
		}
		won := 0
		for range writers {
			if err := <-outcomes; err == nil {
				won++
			} else {
				wantStatus(t, err, codes.Aborted, "ETAG_MISMATCH")
			}
		}
		if won != 1 {
			t.Fatalf("round %d: %d changes were made", round, won)
		}
	}
}
