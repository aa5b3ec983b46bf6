package gateway_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/gmailtest"
)

// letter is a message of a conversation: "c < a b: Re: hello" answers b, which
// answers a.
func letter(line string) []byte {
	head, subject, _ := strings.Cut(line, ":")
	id, references, _ := strings.Cut(head, "<")
	raw := fmt.Sprintf("From: %[1]s@example.com\r\nTo: bob@example.com\r\nSubject: %[2]s\r\nMessage-ID: <%[1]s@example.com>\r\n",
		strings.TrimSpace(id), strings.TrimSpace(subject))
	if ids := strings.Fields(references); len(ids) > 0 {
		raw += "References: <" + strings.Join(ids, "@example.com> <") + "@example.com>\r\n"
	}
	return []byte(raw + "\r\nText\r\n")
}

// spoken writes threads as the ids of their messages, the newest first.
func spoken(threads []*posternv1.Thread) string {
	var all []string
	for _, t := range threads {
		all = append(all, spokenThread(t))
	}
	return strings.Join(all, "; ")
}

func spokenThread(t *posternv1.Thread) string {
	var ids []string
	for _, m := range t.GetMessages() {
		id, _, _ := strings.Cut(m.GetMessageId(), "@")
		ids = append(ids, id)
	}
	return strings.Join(ids, " ")
}

// pages lists threads page by page.
func pages(ctx context.Context, t testing.TB, client posternv1.ThreadServiceClient, req *posternv1.ListThreadsRequest, between func(page int)) []*posternv1.Thread {
	t.Helper()
	var all []*posternv1.Thread
	for page := 0; page == 0 || req.PageToken != ""; page++ {
		resp, err := client.ListThreads(ctx, req)
		if err != nil {
			t.Fatalf("page %d: %v", page, err)
		}
		all = append(all, resp.GetThreads()...)
		req.PageToken = resp.GetNextPageToken()
		if between != nil {
			between(page)
		}
	}
	return all
}

// Conversations are the same whatever the server can do.
func TestThreadsOnEachServer(t *testing.T) {
	t.Parallel()
	onEachServer(t, func(t *testing.T, m *mailbox) {
		threads := posternv1.NewThreadServiceClient(m.conn)
		m.put(t, "INBOX", nil, letter("a: lunch"), letter("b: invoice"), letter("c < a: Re: lunch"), letter("d < x: Re: gone"), letter("e < a c: Re: lunch"), letter("f < x d: Re: gone"))
		m.put(t, "Sent", nil, letter("s < a c: Re: lunch"), letter("r < b: Re: invoice"))
		list := pages(m.ctx(t), t, threads, &posternv1.ListThreadsRequest{Parent: m.account}, nil)
		if got := spoken(list); got != "f d; e c a; b" {
			t.Fatalf("threads %s", got)
		}
		want := posternv1.Thread_REFERENCES
		if m.kind.dovecot {
			want = posternv1.Thread_THREAD_REFERENCES
		}
		lunch := list[1]
		if lunch.GetSource() != want || lunch.GetSubject() != "lunch" || lunch.GetMessageCount() != 3 || lunch.GetUnreadCount() != 3 ||
			len(lunch.GetParticipants()) != 3 || !lunch.GetLastMessageTime().AsTime().Equal(lunch.GetMessages()[0].GetInternalDate().AsTime()) {
			t.Errorf("thread %v", lunch)
		}
		// A thread by itself has what lies in other folders, too.
		for i, want := range []string{"f d", "s e c a", "r b"} {
			got, err := threads.GetThread(m.ctx(t), &posternv1.GetThreadRequest{Name: list[i].GetName()})
			if err != nil {
				t.Fatalf("get %s: %v", want, err)
			}
			ids := strings.Fields(spokenThread(got))
			wanted := strings.Fields(want)
			slices.Sort(ids) // some arrived in the same second
			slices.Sort(wanted)
			if !slices.Equal(ids, wanted) || got.GetName() != list[i].GetName() || int(got.GetMessageCount()) != len(wanted) {
				t.Errorf("thread %s of %d, want %s", spokenThread(got), got.GetMessageCount(), want)
			}
		}
		// Neither new mail nor what goes shifts the pages.
		paged := pages(m.ctx(t), t, threads, &posternv1.ListThreadsRequest{Parent: m.account, PageSize: 1}, func(page int) {
			switch page {
			case 0:
				m.put(t, "INBOX", nil, letter("g < b: Re: invoice"), letter("h: new"))
				expunge(t, m.client(t), "INBOX", "f")
			case 1:
				expunge(t, m.client(t), "INBOX", "e")
			}
		})
		if got := spoken(paged); got != "f d; e c a; b" {
			t.Errorf("paged %s", got)
		}
		filtered := pages(m.ctx(t), t, threads, &posternv1.ListThreadsRequest{
			Parent: m.account, Folder: m.folder(t, "INBOX"), Filter: "subject=invoice OR from:c@example.com",
		}, nil)
		if got := spoken(filtered); got != "c; b" {
			t.Errorf("filtered %s", got)
		}
		short, err := threads.ListThreads(m.ctx(t), &posternv1.ListThreadsRequest{Parent: m.account, Window: 2})
		if err != nil || short.GetWindowExceeded() == m.kind.dovecot || !m.kind.dovecot && spoken(short.GetThreads()) != "h; g" {
			t.Errorf("window %v, %v", short, err)
		}
		for _, id := range []string{"mbm90aGluZw", "o123", "gffff", "x", "m%", "m_____w", strings.TrimPrefix(m.list(t, "INBOX")[0].GetName(), m.account+"/messages/")} {
			_, err := threads.GetThread(m.ctx(t), &posternv1.GetThreadRequest{Name: m.account + "/threads/" + strings.ReplaceAll(id, "%", "-")})
			wantStatus(t, err, codes.NotFound, "THREAD_NOT_FOUND")
		}
	})
}

// A message that nothing ties to another is a thread of one.
func TestThreadOfOne(t *testing.T) {
	t.Parallel()
	m := kinds[1].mailbox(t, "gRPC")
	threads := posternv1.NewThreadServiceClient(m.conn)
	m.put(t, "INBOX", nil, []byte("From: a@example.com\r\nSubject: x\r\n\r\nText\r\n"))
	list := pages(m.ctx(t), t, threads, &posternv1.ListThreadsRequest{Parent: m.account}, nil)
	if len(list) != 1 {
		t.Fatalf("threads %v", list)
	}
	got, err := threads.GetThread(m.ctx(t), &posternv1.GetThreadRequest{Name: list[0].GetName()})
	if err != nil || len(got.GetMessages()) != 1 || got.GetName() != list[0].GetName() {
		t.Errorf("got %v, %v", got, err)
	}
	_, err = threads.ListThreads(m.ctx(t), &posternv1.ListThreadsRequest{Parent: m.account, Filter: "colour:red"})
	wantStatus(t, err, codes.InvalidArgument, "FILTER_INVALID")
	_, err = threads.ListThreads(m.ctx(t), &posternv1.ListThreadsRequest{Parent: m.account, PageToken: "x"})
	wantStatus(t, err, codes.InvalidArgument, "PAGE_TOKEN_MISMATCH")
}

// Where the server gives ids to threads, those are it.
func TestThreadsByServerID(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		options []gmailtest.Option
		source  string
	}{
		"Gmail":    {nil, "GMAIL"},
		"OBJECTID": {[]gmailtest.Option{gmailtest.ObjectID()}, "OBJECTID"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := gmailtest.Start(t, tt.options...)
			server.Deliver(letter("a: lunch"), gmailtest.LabelInbox)
			server.Deliver(letter("b: invoice"), gmailtest.LabelInbox)
			server.Deliver(letter("c < a: Re: lunch"), gmailtest.LabelSent)
			server.Deliver(letter("d < b: Re: invoice"), gmailtest.LabelInbox)
			server.Deliver(letter("e < a c: Re: lunch"), gmailtest.LabelInbox)
			h := sharedHouse(t)
			account := h.register(t, server.Host(), server.Port(), gmailtest.Username, gmailtest.Password)
			client := posternv1.NewThreadServiceClient(h.grpc)
			ctx := asAdmin(t.Context())
			inbox := h.folderNamed(t, account, "INBOX")["name"].(string)
			if got := spoken(pages(ctx, t, client, &posternv1.ListThreadsRequest{Parent: account, Folder: inbox}, nil)); got != "e a; d b" {
				t.Errorf("INBOX has %s", got)
			}
			list := pages(ctx, t, client, &posternv1.ListThreadsRequest{Parent: account, PageSize: 1}, func(page int) {
				if page == 0 {
					server.Deliver(letter("f < b: Re: invoice"), gmailtest.LabelInbox)
				}
			})
			if got := spoken(list); got != "e c a; d b" || list[0].GetSource().String() != tt.source {
				t.Errorf("all mail has %s by %s", got, list[0].GetSource())
			}
			if got := spoken(pages(ctx, t, client, &posternv1.ListThreadsRequest{Parent: account, Filter: "subject:lunch", PageSize: 1}, nil)); got != "e c a" {
				t.Errorf("filtered %s", got)
			}
			// Messages tell their thread, and it is there by its name.
			message := h.get(t, "/v1/"+list[1].GetMessages()[0].GetName())
			if message["thread"] != list[1].GetName() || list[1].GetMessages()[0].GetThread() != list[1].GetName() {
				t.Errorf("message of %v, thread %s", message["thread"], list[1].GetName())
			}
			thread := h.get(t, "/v1/"+message["thread"].(string))
			if got := thread["messageCount"]; got != float64(3) || thread["source"] != tt.source || len(list[1].GetMessages()) != 2 {
				t.Errorf("thread %v", thread)
			}
			h.do(t, http.MethodGet, "/v1/"+account+"/threads/o1", nil).refused(t, 404, "THREAD_NOT_FOUND")
		})
	}
}
