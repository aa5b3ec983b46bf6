package gateway_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-imap/v2"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/dovecottest"
)

func (m *mailbox) drafts() posternv1.DraftServiceClient {
	return posternv1.NewDraftServiceClient(m.conn)
}

func (m *mailbox) draft(t testing.TB, draft *posternv1.Draft) *posternv1.Draft {
	t.Helper()
	d, err := m.drafts().CreateDraft(m.ctx(t), &posternv1.CreateDraftRequest{Parent: m.account, Draft: draft})
	if err != nil {
		t.Fatalf("create a draft: %v", err)
	}
	return d
}

func (m *mailbox) getDraft(t testing.TB, name string) *posternv1.Draft {
	t.Helper()
	d, err := m.drafts().GetDraft(m.ctx(t), &posternv1.GetDraftRequest{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (m *mailbox) updateDraft(t testing.TB, draft *posternv1.Draft, fields ...string) (*posternv1.Draft, error) {
	t.Helper()
	req := &posternv1.UpdateDraftRequest{Draft: draft}
	if len(fields) > 0 {
		req.UpdateMask = &fieldmaskpb.FieldMask{Paths: fields}
	}
	return m.drafts().UpdateDraft(m.ctx(t), req)
}

func (m *mailbox) listDrafts(t testing.TB, size int32) (subjects []string) {
	t.Helper()
	token := ""
	for first := true; first || token != ""; first = false {
		resp, err := m.drafts().ListDrafts(m.ctx(t), &posternv1.ListDraftsRequest{Parent: m.account, PageSize: size, PageToken: token})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range resp.GetDrafts() {
			subjects = append(subjects, d.GetSubject())
		}
		token = resp.GetNextPageToken()
	}
	return subjects
}

// raw is the message that a draft is now, as another client sees it.
func (m *mailbox) raw(t testing.TB, folder string) []string {
	t.Helper()
	c := m.client(t)
	selected, err := c.Select(folder, &imap.SelectOptions{ReadOnly: true}).Wait()
	if err != nil {
		t.Fatal(err)
	}
	if selected.NumMessages == 0 {
		return nil
	}
	section := &imap.FetchItemBodySection{Peek: true}
	list, err := c.Fetch(imap.SeqSet{{Start: 1, Stop: 0}}, &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{section}}).Collect()
	if err != nil {
		t.Fatal(err)
	}
	var raws []string
	for _, message := range list {
		raws = append(raws, string(message.FindBodySection(section)))
	}
	return raws
}

var (
	bob = &posternv1.Address{Name: "Bob Größe", Address: "bob@example.com"}
	eve = &posternv1.Address{Address: "eve@example.com"}
)

func wholeDraft() *posternv1.Draft {
	return &posternv1.Draft{
		From: &posternv1.Address{Name: "Ann", Address: "ann@example.com"}, To: []*posternv1.Address{bob}, Cc: []*posternv1.Address{eve},
		Bcc: []*posternv1.Address{{Address: "secret@example.com"}}, ReplyTo: []*posternv1.Address{{Address: "list@example.com"}},
		Subject: "Über Größen 🎉", Text: "Hallo Welt\nüber alles\n", Html: `<p>Hallo <b>Welt</b> <img src="cid:pic"></p>`,
		Headers: []*posternv1.Header{{Name: "X-Priority", Value: "1"}},
		Attachments: []*posternv1.OutgoingAttachment{
			{Filename: "größe.txt", ContentType: "text/plain", Source: &posternv1.OutgoingAttachment_Content{Content: []byte("content of the file")}},
			{Filename: "p.png", ContentType: "image/png", ContentId: "pic", Inline: true, Source: &posternv1.OutgoingAttachment_Content{Content: []byte{0x89, 0, 1}}},
		},
	}
}

func sameDraft(t testing.TB, got, want *posternv1.Draft) {
	t.Helper()
	show := func(d *posternv1.Draft) string {
		var b strings.Builder
		fmt.Fprintln(&b, d.GetFrom(), d.GetTo(), d.GetCc(), d.GetBcc(), d.GetReplyTo(), d.GetSubject(), d.GetHeaders())
		fmt.Fprintln(&b, strings.TrimSpace(strings.ReplaceAll(d.GetText(), "\r\n", "\n")), strings.TrimSpace(d.GetHtml()))
		var files []string
		for _, a := range d.GetAttachments() {
			files = append(files, fmt.Sprint(a.GetFilename(), a.GetContentType(), a.GetContentId(), a.GetInline()))
		}
		slices.Sort(files)
		fmt.Fprintln(&b, files)
		return strings.ReplaceAll(b.String(), "  ", " ")
	}
	if show(got) != show(want) {
		t.Errorf("the draft is\n%s\nwant\n%s", show(got), show(want))
	}
}

func TestDraftOnEachServer(t *testing.T) {
	t.Parallel()
	onEachServer(t, func(t *testing.T, m *mailbox) {
		d := m.draft(t, wholeDraft())
		sameDraft(t, d, wholeDraft())
		if d.GetMessageId() == "" || d.GetEtag() == "" || d.GetSize() == 0 || d.GetUpdateTime() == nil {
			t.Errorf("the draft lacks something: %v", d)
		}
		sameDraft(t, m.getDraft(t, d.GetName()), wholeDraft())
		message, err := m.messages.GetMessage(m.ctx(t), &posternv1.GetMessageRequest{Name: d.GetMessage()})
		if err != nil || !slices.ContainsFunc(message.GetFlags(), func(f string) bool { return strings.EqualFold(f, `\Draft`) }) ||
			message.GetFolder() != m.folder(t, "Drafts") {
			t.Errorf("the message is %v, %v", message, err)
		}
		// One field is changed; the others stay, the files with their content.
		changed, err := m.updateDraft(t, &posternv1.Draft{Name: d.GetName(), Subject: "Kürzer", Etag: d.GetEtag()})
		if err != nil {
			t.Fatal(err)
		}
		want := wholeDraft()
		want.Subject = "Kürzer"
		sameDraft(t, changed, want)
		if changed.GetName() != d.GetName() || changed.GetMessageId() != d.GetMessageId() || changed.GetEtag() == d.GetEtag() ||
			changed.GetMessage() == d.GetMessage() {
			t.Errorf("changed it is %v", changed)
		}
		raws := m.raw(t, "Drafts")
		if len(raws) != 1 || !strings.Contains(raws[0], "Y29udGVudCBvZiB0aGUgZmlsZQ==") || strings.Count(raws[0], "X-Postern-Draft-Id") != 1 {
			t.Errorf("the folder has %q", raws)
		}
		_, err = m.updateDraft(t, &posternv1.Draft{Name: d.GetName(), Subject: "lost", Etag: d.GetEtag()})
		wantStatus(t, err, codes.Aborted, "ETAG_MISMATCH")
		// Fields can be emptied, and files be sent back.
		kept := changed.GetAttachments()[:1]
		changed, err = m.updateDraft(t, &posternv1.Draft{Name: d.GetName(), Attachments: kept}, "attachments", "bcc", "html")
		if err != nil || len(changed.GetAttachments()) != 1 || len(changed.GetBcc()) != 0 || changed.GetHtml() != "" {
			t.Errorf("emptied it is %v, %v", changed, err)
		}
		m.endDraft(t, changed)
	})
}

func (m *mailbox) endDraft(t testing.TB, d *posternv1.Draft) {
	t.Helper()
	_, err := m.drafts().DeleteDraft(m.ctx(t), &posternv1.DeleteDraftRequest{Name: d.GetName(), Etag: "stale"})
	wantStatus(t, err, codes.Aborted, "ETAG_MISMATCH")
	m.put(t, "Drafts", []imap.Flag{imap.FlagDeleted}, mail("marked"))
	if _, err := m.drafts().DeleteDraft(m.ctx(t), &posternv1.DeleteDraftRequest{Name: d.GetName(), Etag: d.GetEtag()}); err != nil {
		t.Error(err)
	}
	m.holds(t, "Drafts", "marked")
	for _, name := range []string{d.GetName(), m.account + "/drafts/nonesuch"} {
		_, err = m.drafts().GetDraft(m.ctx(t), &posternv1.GetDraftRequest{Name: name})
		wantStatus(t, err, codes.NotFound, "DRAFT_NOT_FOUND")
		_, err = m.updateDraft(t, &posternv1.Draft{Name: name, Subject: "x"})
		wantStatus(t, err, codes.NotFound, "DRAFT_NOT_FOUND")
		_, err = m.drafts().DeleteDraft(m.ctx(t), &posternv1.DeleteDraftRequest{Name: name})
		wantStatus(t, err, codes.NotFound, "DRAFT_NOT_FOUND")
	}
}

// TestOthersDraftsOnEachServer: what other mail programs put there is listed, and
// keeps its name when it is changed here.
func TestOthersDraftsOnEachServer(t *testing.T) {
	t.Parallel()
	onEachServer(t, func(t *testing.T, m *mailbox) {
		m.put(t, "Drafts", []imap.Flag{imap.FlagDraft}, mail("theirs"), mail("other"))
		m.draft(t, &posternv1.Draft{Subject: "mine"})
		if got, want := m.listDrafts(t, 2), []string{"mine", "other", "theirs"}; !slices.Equal(got, want) {
			t.Fatalf("drafts %q, want %q", got, want)
		}
		resp, err := m.drafts().ListDrafts(m.ctx(t), &posternv1.ListDraftsRequest{
			Parent: m.account, ReadMask: &fieldmaskpb.FieldMask{Paths: []string{"name", "subject"}},
		})
		if err != nil || resp.GetDrafts()[2].GetMessage() != "" {
			t.Fatalf("%v, %v", resp, err)
		}
		theirs := resp.GetDrafts()[2].GetName()
		changed, err := m.updateDraft(t, &posternv1.Draft{Name: theirs, Text: "new text"})
		if err != nil || changed.GetName() != theirs || changed.GetSubject() != "theirs" || strings.TrimSpace(changed.GetText()) != "new text" {
			t.Errorf("changed it is %v, %v", changed, err)
		}
		if changed, err = m.updateDraft(t, &posternv1.Draft{Name: theirs, Subject: "again"}); err != nil || changed.GetName() != theirs {
			t.Errorf("changed again it is %v, %v", changed, err)
		}
		if got, want := m.listDrafts(t, 1), []string{"again", "mine", "other"}; !slices.Equal(got, want) {
			t.Errorf("drafts %q, want %q", got, want)
		}
	})
}

// TestDraftSurvivesACrashOnEachServer: one that left both versions behind.
func TestDraftSurvivesACrashOnEachServer(t *testing.T) {
	t.Parallel()
	onEachServer(t, func(t *testing.T, m *mailbox) {
		d := m.draft(t, &posternv1.Draft{Subject: "old"})
		newer := strings.Replace(m.raw(t, "Drafts")[0], "Subject: old", "Subject: new", 1)
		m.put(t, "Drafts", []imap.Flag{imap.FlagDraft}, []byte(newer))
		if got := m.getDraft(t, d.GetName()); got.GetSubject() != "new" {
			t.Errorf("the draft is %v", got)
		}
		if got := m.listDrafts(t, 10); !slices.Equal(got, []string{"new"}) {
			t.Errorf("listed are %q", got)
		}
		if _, err := m.updateDraft(t, &posternv1.Draft{Name: d.GetName(), Text: "text"}); err != nil {
			t.Fatal(err)
		}
		m.holds(t, "Drafts", "new")
	})
}

// TestDraftsAreChangedInTurns: of many who change the same version one wins.
func TestDraftsAreChangedInTurns(t *testing.T) {
	t.Parallel()
	m := kinds[0].mailbox(t, "gRPC")
	d := m.draft(t, &posternv1.Draft{Subject: "0"})
	var wg sync.WaitGroup
	won := make(chan string, 8)
	for i := range cap(won) {
		wg.Go(func() {
			subject := fmt.Sprint(i + 1)
			_, err := m.updateDraft(t, &posternv1.Draft{Name: d.GetName(), Subject: subject, Etag: d.GetEtag()})
			if err == nil {
				won <- subject
			} else if reasonOf(status.Convert(err)) != "ETAG_MISMATCH" {
				t.Errorf("a loser: %v", err)
			}
		})
	}
	wg.Wait()
	close(won)
	if len(won) != 1 {
		t.Fatalf("%d have won", len(won))
	}
	m.holds(t, "Drafts", <-won)
}

// TestDraftIsChangedOnTwoNodes: each with turns of its own. The two have the same
// mailbox, so that the draft has the same id and etag on both.
func TestDraftIsChangedOnTwoNodes(t *testing.T) {
	t.Parallel()
	first := kinds[0].mailbox(t, "gRPC")
	server := dovecottest.Shared(t)
	other := &mailbox{kind: first.kind, house: newHouse(t, options{})}
	other.account = other.register(t, server.Host(), server.Port(), first.user, first.password)
	other.conn = other.grpc
	d := first.draft(t, &posternv1.Draft{Subject: "0"})
	_, id, _ := strings.Cut(d.GetName(), "/drafts/")
	for round := range 8 {
		etag := first.getDraft(t, d.GetName()).GetEtag()
		subjects := []string{fmt.Sprint(round, " first"), fmt.Sprint(round, " other")}
		errs := make([]error, 2)
		var wg sync.WaitGroup
		for i, m := range []*mailbox{first, other} {
			wg.Go(func() {
				_, errs[i] = m.updateDraft(t, &posternv1.Draft{Name: m.account + "/drafts/" + id, Subject: subjects[i], Etag: etag})
			})
		}
		wg.Wait()
		winner := 0
		if errs[0] != nil {
			winner = 1
		}
		if errs[winner] != nil || reasonOf(status.Convert(errs[1-winner])) != "ETAG_MISMATCH" {
			t.Fatalf("not one has won: %v", errs)
		}
		first.holds(t, "Drafts", subjects[winner])
	}
}

func TestRawDraftOnEachServer(t *testing.T) {
	t.Parallel()
	onEachServer(t, func(t *testing.T, m *mailbox) {
		raw := "From: ann@example.com\nX-Postern-Draft-Id: forged\n of mine\nSubject: raw\nX-Own: kept\n\nline one\nline two\n"
		d := m.draft(t, &posternv1.Draft{Raw: []byte(raw)})
		if d.GetSubject() != "raw" || strings.HasSuffix(d.GetName(), "forged") {
			t.Errorf("the draft is %v", d)
		}
		id := d.GetName()[strings.LastIndexByte(d.GetName(), '/')+1:]
		want := "X-Postern-Draft-Id: " + id + "\r\nFrom: ann@example.com\r\nSubject: raw\r\nX-Own: kept\r\n\r\nline one\r\nline two\r\n"
		if got := m.raw(t, "Drafts"); len(got) != 1 || got[0] != want {
			t.Errorf("the folder has %q, want %q", got, want)
		}
		if d, err := m.updateDraft(t, &posternv1.Draft{Name: d.GetName(), Text: "other"}); err != nil || len(d.GetHeaders()) != 1 || d.GetHeaders()[0].GetName() != "X-Own" {
			t.Errorf("changed it is %v, %v", d, err)
		}
		if d, err := m.updateDraft(t, &posternv1.Draft{Name: d.GetName(), Raw: []byte("Subject: only a header")}); err != nil || d.GetSubject() != "only a header" {
			t.Errorf("replaced it is %v, %v", d, err)
		}
		for _, wrong := range []*posternv1.Draft{{Raw: []byte("no header")}, {Raw: []byte("Subject: x\r\n\r\n\x00")}, {Raw: []byte("a: b"), Subject: "both"}} {
			_, err := m.drafts().CreateDraft(m.ctx(t), &posternv1.CreateDraftRequest{Parent: m.account, Draft: wrong})
			wantStatus(t, err, codes.InvalidArgument, "ARGUMENT_INVALID")
		}
	})
}

func TestDraftOfAnAnswerOnEachServer(t *testing.T) {
	t.Parallel()
	onEachServer(t, func(t *testing.T, m *mailbox) {
		m.put(t, "INBOX", nil, []byte("From: Bob <bob@example.com>\r\nTo: "+m.user+"\r\nSubject: Lunch?\r\nMessage-ID: <q@example.com>\r\n"+
			"Date: Mon, 23 Nov 2026 10:00:00 +0000\r\n\r\nAre you hungry?\r\n"))
		d := m.draft(t, &posternv1.Draft{Text: "Yes", Reply: &posternv1.Reply{Message: m.named(t, "INBOX", "Lunch?").GetName(), Quote: true}})
		if d.GetSubject() != "Re: Lunch?" || len(d.GetTo()) != 1 || d.GetTo()[0].GetAddress() != "bob@example.com" ||
			!strings.Contains(d.GetText(), "> Are you hungry?") || !slices.Equal(d.GetInReplyTo(), []string{"q@example.com"}) {
			t.Errorf("the draft is %v", d)
		}
		changed, err := m.updateDraft(t, &posternv1.Draft{Name: d.GetName(), Subject: "Re: Dinner"})
		if err != nil || !slices.Equal(changed.GetInReplyTo(), []string{"q@example.com"}) || !slices.Equal(changed.GetReferences(), []string{"q@example.com"}) {
			t.Errorf("changed it is %v, %v", changed, err)
		}
	})
}

func TestDraftOfHTMLOnEachServer(t *testing.T) {
	t.Parallel()
	onEachServer(t, func(t *testing.T, m *mailbox) {
		d := m.draft(t, &posternv1.Draft{Html: "<p>first</p>", Calendar: &posternv1.CalendarObject{
			Method: "REQUEST", Content: "BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nUID:1\r\nSUMMARY:Größe\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
		}})
		if strings.TrimSpace(d.GetText()) != "first" || d.GetCalendar().GetMethod() != "REQUEST" || len(d.GetAttachments()) != 0 {
			t.Errorf("the draft is %v", d)
		}
		d, err := m.updateDraft(t, &posternv1.Draft{Name: d.GetName(), Html: "<p>second</p>"})
		if err != nil || strings.TrimSpace(d.GetText()) != "second" || !strings.Contains(d.GetCalendar().GetContent(), "SUMMARY:Größe") {
			t.Errorf("with other HTML it is %v, %v", d, err)
		}
		// A text of its own stays what it is.
		if d, err = m.updateDraft(t, &posternv1.Draft{Name: d.GetName(), Text: "mine"}); err != nil {
			t.Fatal(err)
		}
		if d, err = m.updateDraft(t, &posternv1.Draft{Name: d.GetName(), Html: "<p>third</p>"}); err != nil || strings.TrimSpace(d.GetText()) != "mine" {
			t.Errorf("with a text of its own it is %v, %v", d, err)
		}
	})
}

func TestRequestIDOfDraftOnEachServer(t *testing.T) {
	t.Parallel()
	onEachServer(t, func(t *testing.T, m *mailbox) {
		create := func(subject string) (*posternv1.Draft, error) {
			return m.drafts().CreateDraft(m.ctx(t), &posternv1.CreateDraftRequest{
				Parent: m.account, Draft: &posternv1.Draft{Subject: subject}, RequestId: "r1",
			})
		}
		first, err := create("once")
		if err != nil {
			t.Fatal(err)
		}
		if again, err := create("once"); err != nil || again.GetName() != first.GetName() {
			t.Errorf("repeated: %v, %v", again, err)
		}
		m.holds(t, "Drafts", "once")
		_, err = create("twice")
		wantStatus(t, err, codes.InvalidArgument, "REQUEST_ID_REUSED")
		if _, err := m.drafts().DeleteDraft(m.ctx(t), &posternv1.DeleteDraftRequest{Name: first.GetName()}); err != nil {
			t.Fatal(err)
		}
		_, err = create("once")
		wantStatus(t, err, codes.InvalidArgument, "REQUEST_ID_REUSED")
	})
}

// TestDraftFolderIsMade: where there is none.
func TestDraftFolderIsMadeOnEachServer(t *testing.T) {
	t.Parallel()
	onEachServer(t, func(t *testing.T, m *mailbox) {
		drafts := m.folder(t, "Drafts")
		if _, err := m.folders.UpdateFolder(m.ctx(t), &posternv1.UpdateFolderRequest{
			Folder: &posternv1.Folder{Name: drafts, Path: []string{"Elsewhere"}, Role: posternv1.Folder_NONE},
		}); err != nil {
			t.Fatal(err)
		}
		if m.kind.dovecot { // which makes it again by itself
			if _, err := m.folders.UpdateFolder(m.ctx(t), &posternv1.UpdateFolderRequest{
				Folder: &posternv1.Folder{Name: m.folder(t, "Drafts"), Role: posternv1.Folder_NONE},
			}); err != nil {
				t.Fatal(err)
			}
		}
		if got := m.listDrafts(t, 10); len(got) != 0 {
			t.Errorf("listed are %q", got)
		}
		_, err := m.drafts().GetDraft(m.ctx(t), &posternv1.GetDraftRequest{Name: m.account + "/drafts/nonesuch"})
		wantStatus(t, err, codes.NotFound, "DRAFT_NOT_FOUND")
		d := m.draft(t, &posternv1.Draft{Subject: "first"})
		f := m.get(t, m.folder(t, "Drafts"))
		if d.GetSubject() != "first" || f.GetRole() != posternv1.Folder_DRAFTS || f.GetTotal() != 1 {
			t.Errorf("%v in %v", d, f)
		}
	})
}

// TestDraftWithMuchInIt: attachments that are only in the mailbox, larger than what
// is kept in memory, and international addresses; on the best and the poorest server.
func TestDraftWithMuchInIt(t *testing.T) {
	t.Parallel()
	onEachOf(t, []kind{kinds[0], kinds[len(kinds)-1]}, func(t *testing.T, m *mailbox) {
		content := bytes.Repeat([]byte("0123456789abcdef"), 5<<14) // 1.25 MiB
		d := m.draft(t, &posternv1.Draft{Attachments: []*posternv1.OutgoingAttachment{
			{Filename: "large.bin", Source: &posternv1.OutgoingAttachment_Content{Content: content}},
		}})
		attachment := d.GetAttachments()[0].GetAttachment()
		copied := m.draft(t, &posternv1.Draft{Subject: "copy", Attachments: []*posternv1.OutgoingAttachment{
			{Source: &posternv1.OutgoingAttachment_Attachment{Attachment: attachment}},
		}})
		got := m.house.do(t, "GET", "/v1/"+copied.GetAttachments()[0].GetAttachment()+":download", nil)
		if copied.GetAttachments()[0].GetFilename() != "large.bin" || !bytes.Equal(got.body, content) {
			t.Errorf("the copy is %v, with %d bytes", copied, len(got.body))
		}
		_, err := m.drafts().CreateDraft(m.ctx(t), &posternv1.CreateDraftRequest{Parent: m.account, Draft: &posternv1.Draft{
			To: []*posternv1.Address{eve, {Address: "not an address"}}, Subject: "a\r\nBcc: x@example.com",
		}})
		s := wantStatus(t, err, codes.InvalidArgument, "ARGUMENT_INVALID")
		if fields := violations(s); !slices.Equal(fields, []string{"draft.to[1].address", "draft.subject"}) {
			t.Errorf("at fault are %q", fields)
		}
		utf8 := m.draft(t, &posternv1.Draft{To: []*posternv1.Address{{Address: "jürgen@exämple.com"}}, Subject: "x"})
		if a := utf8.GetTo()[0].GetAddress(); !strings.HasPrefix(a, "jürgen@") {
			t.Errorf("it is to %q", a)
		}
	})
}

// violations are the fields at fault.
func violations(s *status.Status) (fields []string) {
	for _, d := range s.Details() {
		if bad, ok := d.(*errdetails.BadRequest); ok {
			for _, v := range bad.GetFieldViolations() {
				fields = append(fields, v.GetField())
			}
		}
	}
	return fields
}
