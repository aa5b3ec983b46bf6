package gateway_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/postern-mail/postern/gateway"
	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/dovecottest"
)

// send imports a message by gRPC, in pieces of n bytes.
func (m *mailbox) send(t testing.TB, target *posternv1.ImportMessageRequest_Target, raw []byte, n int) (*posternv1.Message, error) {
	t.Helper()
	stream, err := m.messages.ImportMessage(m.ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	// The stream's own error comes with the answer.
	_ = stream.Send(&posternv1.ImportMessageRequest{Piece: &posternv1.ImportMessageRequest_Target_{Target: target}})
	for piece := range slices.Chunk(raw, n) {
		if err := stream.Send(&posternv1.ImportMessageRequest{Piece: &posternv1.ImportMessageRequest_Data{Data: piece}}); err != nil {
			break
		}
	}
	return stream.CloseAndRecv()
}

// post imports a message by REST.
func (m *mailbox) post(t testing.TB, params string, body any, header ...string) answer {
	t.Helper()
	return m.do(t, http.MethodPost, "/v1/"+m.account+"/messages:import"+params, body, append([]string{"Content-Type", "message/rfc822"}, header...)...)
}

// chunked is a body whose length is not told.
type chunked struct{ io.Reader }

func TestImportOnEachServer(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			m := k.mailbox(t, "gRPC")
			archive := m.folder(t, "Archive")
			m.put(t, "Archive", nil, mail("m0"))
			raw := append(mail("8-bit: gr\xfc\xdfe"), "bare\nline ends\r\nand a 8-bit byte \xff"...)
			got, err := m.send(t, &posternv1.ImportMessageRequest_Target{
				Parent: m.account, Folder: archive, Flags: []string{`\Seen`, "$Forwarded"},
				InternalDate: &timestamppb.Timestamp{Seconds: 1000000000, Nanos: 5}, RequestId: "r1",
			}, raw, 7)
			if err != nil {
				t.Fatal(err)
			}
			if got.GetFolder() != archive || !strings.HasPrefix(got.GetSubject(), "8-bit: gr") || got.GetInternalDate().AsTime().Unix() != 1000000000 {
				t.Errorf("imported %v", got)
			}
			if f := slices.Sorted(slices.Values(got.GetFlags())); len(f) != 2 {
				t.Errorf("flags %q", f)
			}
			stored := m.do(t, http.MethodGet, "/v1/"+got.GetName()+":raw", nil)
			if want := bytes.ReplaceAll(raw, []byte("bare\n"), []byte("bare\r\n")); !bytes.Equal(stored.body, want) {
				t.Errorf("stored %q, want %q", stored.body, want)
			}

			// By REST, with its length told and without.
			for i, body := range []any{string(mail("rest0")), chunked{bytes.NewReader(mail("rest1"))}} {
				a := m.post(t, values("folder", archive, "flags", `\Flagged`, "internalDate", "2020-01-02T03:04:05Z"), body)
				if o := a.ok(t); o["subject"] != fmt.Sprintf("rest%d", i) || o["internalDate"] != "2020-01-02T03:04:05Z" || fmt.Sprint(o["flags"]) != `[\Flagged]` {
					t.Errorf("imported %s", a.body)
				}
			}
			if n := len(m.list(t, "Archive")); n != 4 {
				t.Errorf("the folder has %d messages", n)
			}
		})
	}
}

// A request id makes an import safe to repeat, whichever way it comes.
func TestImportOnce(t *testing.T) {
	t.Parallel()
	m := kinds[0].mailbox(t, "gRPC")
	params := values("folder", m.folder(t, "INBOX"))
	first := m.post(t, params, string(mail("m1")), "Idempotency-Key", "k1").ok(t)
	again := m.post(t, params, string(mail("m1")), "Idempotency-Key", "k1").ok(t)
	if first["name"] != again["name"] {
		t.Errorf("%v became %v", first["name"], again["name"])
	}
	m.post(t, params, string(mail("m2")), "Idempotency-Key", "k1").refused(t, 400, "REQUEST_ID_REUSED")
	m.post(t, values("folder", m.folder(t, "Archive")), string(mail("m1")), "Idempotency-Key", "k1").refused(t, 400, "REQUEST_ID_REUSED")
	byStream, err := m.send(t, &posternv1.ImportMessageRequest_Target{Parent: m.account, Folder: m.folder(t, "INBOX"), RequestId: "k1"}, mail("m1"), 10)
	if err != nil || byStream.GetName() != first["name"] {
		t.Errorf("by gRPC: %v, %v", byStream, err)
	}
	m.holds(t, "INBOX", "m1")
}

func TestImportRefusals(t *testing.T) {
	t.Parallel()
	m := kinds[0].mailbox(t, "gRPC")
	inbox := m.folder(t, "INBOX")
	params := values("folder", inbox)
	m.post(t, params, "Subject: a\r\n\r\n\x00").refused(t, 400, "MESSAGE_INVALID")
	m.post(t, params, "").refused(t, 400, "MESSAGE_INVALID")
	m.post(t, "", string(mail("a"))).refused(t, 400, "ARGUMENT_INVALID")
	m.post(t, params+"&flag=x", string(mail("a"))).refused(t, 400, "ARGUMENT_INVALID")
	m.post(t, params+"&internalDate=yesterday", string(mail("a"))).refused(t, 400, "ARGUMENT_INVALID")
	m.post(t, params+"&flags=%5CRecent", string(mail("a"))).refused(t, 400, "ARGUMENT_INVALID")
	m.post(t, params, string(mail("a")), "Content-Type", "application/json").refused(t, 400, "ARGUMENT_INVALID")
	m.post(t, values("folder", m.account+"/folders/00000000"), string(mail("a"))).refused(t, 404, "FOLDER_NOT_FOUND")
	m.do(t, http.MethodPost, "/v1/"+m.account+"/messages:import"+params, string(mail("a")), "Content-Type", "message/rfc822", "Authorization", "Bearer wrong").
		refused(t, 401, "TOKEN_INVALID")
	info := m.post(t, params, io.LimitReader(zeroes{}, 150<<20+1), "Content-Length", fmt.Sprint(150<<20+1)).refused(t, 413, "MESSAGE_TOO_LARGE")
	if limit := info["metadata"].(object)["limit"]; limit != fmt.Sprint(150<<20) {
		t.Errorf("limit %v", limit)
	}

	stream, err := m.messages.ImportMessage(m.ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	_ = stream.Send(&posternv1.ImportMessageRequest{Piece: &posternv1.ImportMessageRequest_Data{Data: []byte("x")}})
	_, err = stream.CloseAndRecv()
	wantStatus(t, err, codes.InvalidArgument, "ARGUMENT_INVALID")
	if stream, err = m.messages.ImportMessage(m.ctx(t)); err != nil {
		t.Fatal(err)
	}
	_, err = stream.CloseAndRecv()
	wantStatus(t, err, codes.InvalidArgument, "ARGUMENT_INVALID")
	m.holds(t, "INBOX")
}

// zeroes is a long line of an endless message.
type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '0'
	}
	return len(p), nil
}

// A client that leaves midway leaves nothing behind, neither in the mailbox nor
// on the disk, and the mailbox stays in use.
func TestImportOfAClientThatLeaves(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := newHouse(t, options{gateway: func(cfg *gateway.Config) { cfg.SpoolDir = dir }})
	server := dovecottest.Shared(t)
	user, password := server.User(t)
	account := h.register(t, server.Host(), server.Port(), user, password)
	inbox := h.folderNamed(t, account, "INBOX")["name"].(string)

	conn, err := net.Dial("tcp", strings.TrimPrefix(h.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "POST /v1/%s/messages:import%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: message/rfc822\r\nContent-Length: 3000000\r\n\r\n",
		account, values("folder", inbox), token)
	fmt.Fprintf(conn, "Subject: half\r\n\r\n%s", strings.Repeat("half a message\r\n", 100_000))
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(asAdmin(t.Context()))
	stream, err := posternv1.NewMessageServiceClient(h.grpc).ImportMessage(ctx)
	if err != nil {
		t.Fatal(err)
	}
	target := &posternv1.ImportMessageRequest_Target{Parent: account, Folder: inbox}
	for _, request := range []*posternv1.ImportMessageRequest{
		{Piece: &posternv1.ImportMessageRequest_Target_{Target: target}},
		{Piece: &posternv1.ImportMessageRequest_Data{Data: bytes.Repeat([]byte("Subject: half\r\n"), 100_000)}},
	} {
		if err := stream.Send(request); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	wait := time.After(30 * time.Second)
	for strings.Count(h.logged.String(), "reason=CANCELED") < 2 {
		select {
		case <-wait:
			t.Fatalf("the calls have not ended: %s", h.logged)
		case <-time.After(10 * time.Millisecond):
		}
	}
	a := h.do(t, http.MethodPost, "/v1/"+account+"/messages:import"+values("folder", inbox), string(mail("whole")), "Content-Type", "message/rfc822")
	if a.ok(t)["subject"] != "whole" {
		t.Errorf("imported %s", a.body)
	}
	if got := subjects(h.get(t, "/v1/"+account+"/messages"+values("folder", inbox))); !slices.Equal(got, []string{"whole"}) {
		t.Errorf("the folder holds %q", got)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("on the disk is %v, %v", left, err)
	}
}

func TestImportOverQuota(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	server := dovecottest.Start(t, dovecottest.Quota("1M"))
	user, password := server.User(t)
	account := h.register(t, server.Host(), server.Port(), user, password)
	path := "/v1/" + account + "/messages:import" + values("folder", h.folderNamed(t, account, "INBOX")["name"].(string))
	large := "Subject: large\r\n\r\n" + strings.Repeat(strings.Repeat("x", 70)+"\r\n", 20_000)
	h.do(t, http.MethodPost, path, large, "Content-Type", "message/rfc822").refused(t, 429, "MAILBOX_OVER_QUOTA")
	h.do(t, http.MethodPost, path, string(mail("small")), "Content-Type", "message/rfc822").ok(t)
}

// A message of 50 MB is imported in little memory, by REST and by gRPC.
func TestImportInConstantMemory(t *testing.T) { //nolint:paralleltest // it measures the memory of the process
	m := kinds[0].mailbox(t, "gRPC")
	const size = 50 << 20
	inbox := m.folder(t, "INBOX")
	head := "Subject: huge\r\n\r\n"
	line := strings.Repeat("x", 76) + "\r\n"
	body := func() io.Reader {
		return io.MultiReader(strings.NewReader(head), io.LimitReader(&repeated{line: line}, int64(size/len(line)*len(line))))
	}
	peak := watchHeap(t)
	if a := m.post(t, values("folder", inbox), chunked{body()}); a.ok(t)["size"] != fmt.Sprint(len(head)+size/len(line)*len(line)) {
		t.Errorf("imported %s", a.body)
	}
	stream, err := m.messages.ImportMessage(m.ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	target := &posternv1.ImportMessageRequest_Target{Parent: m.account, Folder: inbox}
	if err := stream.Send(&posternv1.ImportMessageRequest{Piece: &posternv1.ImportMessageRequest_Target_{Target: target}}); err != nil {
		t.Fatal(err)
	}
	for r, piece := body(), make([]byte, 256<<10); ; {
		n, err := io.ReadFull(r, piece)
		if sent := stream.Send(&posternv1.ImportMessageRequest{Piece: &posternv1.ImportMessageRequest_Data{Data: piece[:n]}}); sent != nil {
			t.Fatal(sent)
		}
		if err != nil {
			break
		}
	}
	if _, err := stream.CloseAndRecv(); err != nil {
		t.Fatal(err)
	}
	const most = 32 << 20 // a message that was held whole would be beyond it
	grown := peak()
	t.Logf("the heap grew by %d KiB at most", grown>>10)
	if grown > most {
		t.Errorf("the heap grew by %d KiB for messages of %d KiB", grown>>10, size>>10)
	}
}

// repeated is a line again and again.
type repeated struct {
	line string
	at   int
}

func (r *repeated) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		copied := copy(p[n:], r.line[r.at:])
		n += copied
		r.at = (r.at + copied) % len(r.line)
	}
	return n, nil
}

// watchHeap measures by how much what lives on the heap grows until the
// returned function is called.
func watchHeap(t *testing.T) func() int64 {
	t.Helper()
	live := func() int64 {
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return int64(stats.HeapAlloc)
	}
	before, most := live(), int64(0)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			most = max(most, live())
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return func() int64 {
		close(stop)
		<-done
		return most - before
	}
}
