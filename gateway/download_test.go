package gateway_test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
)

// withAttachment is a message with a text and one attachment.
func withAttachment(filename string, content []byte) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: ann@example.com\r\nTo: bob@example.com\r\nSubject: file\r\nMIME-Version: 1.0\r\n"+
		"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nSee the file.\r\n--b\r\n"+
		"Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=\"%s\"\r\n"+
		"Content-Transfer-Encoding: base64\r\n\r\n", filename)
	line := make([]byte, 78)
	for chunk := content; len(chunk) > 0; {
		n := min(57, len(chunk))
		encoded := base64.StdEncoding.AppendEncode(line[:0], chunk[:n])
		b.Write(encoded)
		b.WriteString("\r\n")
		chunk = chunk[n:]
	}
	b.WriteString("--b--\r\n")
	return b.Bytes()
}

// newest gives the name of the newest message of INBOX.
func (h *house) newest(t testing.TB, account string) string {
	t.Helper()
	inbox := h.folderNamed(t, account, "INBOX")["name"].(string)
	return list(h.get(t, "/v1/"+account+"/messages"+values("folder", inbox, "pageSize", "1")), "messages")[0]["name"].(string)
}

func TestDownload(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	account, user, server := h.dovecot(t)
	content := make([]byte, 300<<10)
	if _, err := rand.Read(content); err != nil {
		t.Fatal(err)
	}
	raw := withAttachment("Übersicht 1.bin", content)
	server.Deliver(t, user, "INBOX", raw)
	name := h.newest(t, account)

	a := h.do(t, http.MethodGet, "/v1/"+name+":raw", nil)
	if !bytes.Equal(a.body, raw) || a.header.Get("Content-Type") != "message/rfc822" || a.header.Get("Content-Length") != strconv.Itoa(len(raw)) {
		t.Errorf("raw: %d bytes of %d, %v", len(a.body), len(raw), a.header)
	}
	a = h.do(t, http.MethodGet, "/v1/"+name+"/attachments/2:download", nil)
	if !bytes.Equal(a.body, content) {
		t.Errorf("attachment: %d bytes of %d", len(a.body), len(content))
	}
	disposition, params, err := mime.ParseMediaType(a.header.Get("Content-Disposition"))
	if err != nil || disposition != "attachment" || params["filename"] != "Übersicht 1.bin" {
		t.Errorf("Content-Disposition: %s", a.header.Get("Content-Disposition"))
	}
	if a.header.Get("X-Content-Type-Options") != "nosniff" || a.header.Get("Content-Type") != "application/octet-stream" ||
		!strings.Contains(a.header.Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("header %v", a.header)
	}
	text := h.do(t, http.MethodGet, "/v1/"+name+"/attachments/1:download", nil)
	if string(text.body) != "See the file." || text.header.Get("Content-Length") != "13" {
		t.Errorf("a part without encoding: %q, %v", text.body, text.header)
	}
	for _, part := range []string{"3", "1.1", "2.9.9"} {
		h.do(t, http.MethodGet, "/v1/"+name+"/attachments/"+part+":download", nil).refused(t, 404, "ATTACHMENT_NOT_FOUND")
	}
	for _, part := range []string{"0x1", "TEXT", "1.", "-1"} {
		h.do(t, http.MethodGet, "/v1/"+name+"/attachments/"+part+":download", nil).refused(t, 400, "ARGUMENT_INVALID")
	}

	var header metadata.MD
	client := posternv1.NewMessageServiceClient(h.grpc)
	stream, err := client.DownloadAttachment(asAdmin(t.Context()), &posternv1.DownloadAttachmentRequest{Name: name + "/attachments/2"}, grpc.Header(&header))
	if err != nil {
		t.Fatal(err)
	}
	var got []byte
	for chunk := 0; ; chunk++ {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if (m.GetContentType() != "") != (chunk == 0) || len(m.GetData()) > 256<<10 {
			t.Errorf("chunk %d: %q, %d bytes", chunk, m.GetContentType(), len(m.GetData()))
		}
		got = append(got, m.GetData()...)
	}
	if !bytes.Equal(got, content) {
		t.Errorf("by gRPC: %d bytes of %d", len(got), len(content))
	}
	if md, _ := stream.Header(); len(md.Get("content-disposition")) != 1 {
		t.Errorf("gRPC header %v", md)
	}
	gone, err := client.DownloadMessage(asAdmin(t.Context()), &posternv1.DownloadMessageRequest{Name: withUID(t, name, 99)})
	if err == nil {
		_, err = gone.Recv()
	}
	wantStatus(t, err, codes.NotFound, "MESSAGE_GONE")
}

// flaky passes connections on to a server, until it is told to cut them.
type flaky struct {
	net.Listener
	target string
	// limit is how many bytes of a server's answers go through, once it is set.
	limit atomic.Int64
	conns atomic.Int64
	peak  atomic.Int64
}

func newFlaky(t testing.TB, target string) *flaky {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &flaky{Listener: l, target: target}
	f.limit.Store(-1)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { f.pass(conn) })
		}
	})
	t.Cleanup(func() { _ = l.Close() })
	return f
}

func (f *flaky) pass(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", f.target)
	if err != nil {
		return
	}
	defer server.Close()
	n := f.conns.Add(1)
	for {
		if peak := f.peak.Load(); n <= peak || f.peak.CompareAndSwap(peak, n) {
			break
		}
	}
	defer f.conns.Add(-1)
	go func() {
		_, _ = io.Copy(server, client)
		_ = server.Close()
	}()
	buf := make([]byte, 16<<10)
	for {
		n, err := server.Read(buf)
		if err != nil {
			return
		}
		if limit := f.limit.Load(); limit >= 0 {
			if f.limit.Add(int64(-n)) < 0 {
				return
			}
		}
		if _, err := client.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (f *flaky) port() int { return f.Addr().(*net.TCPAddr).Port }

// A download whose server goes away midway must not look whole.
func TestDownloadAborts(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	_, user, server := h.dovecot(t)
	proxy := newFlaky(t, server.Addr())
	account := h.register(t, "127.0.0.1", proxy.port(), user, server.Password())
	content := make([]byte, 8<<20)
	if _, err := rand.Read(content); err != nil {
		t.Fatal(err)
	}
	server.Deliver(t, user, "INBOX", withAttachment("big.bin", content))
	name := h.newest(t, account)
	for _, path := range []string{name + ":raw", name + "/attachments/2:download"} {
		proxy.limit.Store(4 << 20)
		resp := h.send(t, http.MethodGet, "/v1/"+path, nil)
		got, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		proxy.limit.Store(-1)
		if resp.StatusCode != http.StatusOK || err == nil {
			t.Errorf("%s: %s, %d bytes and no error", path, resp.Status, len(got))
		}
		if len(got) == 0 || len(got) >= len(content) {
			t.Errorf("%s: %d bytes", path, len(got))
		}
	}
	proxy.limit.Store(4 << 20)
	stream, err := posternv1.NewMessageServiceClient(h.grpc).DownloadMessage(asAdmin(t.Context()), &posternv1.DownloadMessageRequest{Name: name})
	for err == nil {
		_, err = stream.Recv()
	}
	proxy.limit.Store(-1)
	wantStatus(t, err, codes.Unavailable, "IMAP_UNAVAILABLE")
	// What was left of the connection is not in anybody's way.
	if a := h.do(t, http.MethodGet, "/v1/"+name+"/attachments/2:download", nil); !bytes.Equal(a.body, content) {
		t.Errorf("afterwards: %d, %d bytes", a.status, len(a.body))
	}
}

// A client that leaves frees the connection to the mail server.
func TestDownloadClientLeaves(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	account, user, server := h.dovecot(t)
	content := make([]byte, 16<<20)
	server.Deliver(t, user, "INBOX", withAttachment("big.bin", content))
	name := h.newest(t, account)
	for range 5 { // more often than there are connections
		resp := h.send(t, http.MethodGet, "/v1/"+name+"/attachments/2:download", nil)
		if _, err := io.ReadFull(resp.Body, make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	h.get(t, "/v1/"+name)
}

// Many requests at once share few connections.
func TestManyRequests(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	_, user, server := h.dovecot(t)
	for i := range 5 {
		server.Deliver(t, user, "INBOX", mail(fmt.Sprintf("m%d", i)))
	}
	proxy := newFlaky(t, server.Addr())
	account := h.register(t, "127.0.0.1", proxy.port(), user, server.Password())
	inbox := h.folderNamed(t, account, "INBOX")["name"].(string)
	messages := list(h.get(t, "/v1/"+account+"/messages"+values("folder", inbox)), "messages")
	var clients sync.WaitGroup
	for i := range 100 {
		name := messages[i%len(messages)]["name"].(string)
		path := []string{"/v1/" + name, "/v1/" + name + ":raw", "/v1/" + account + "/messages", "/v1/" + account + "/folders"}[i%4]
		clients.Go(func() {
			if a := h.do(t, http.MethodGet, path, nil); a.status != http.StatusOK {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
		})
	}
	clients.Wait()
	if peak := proxy.peak.Load(); peak > 3 {
		t.Errorf("%d connections at once", peak)
	}
}

// Downloads by clients that do not read hold up nobody else of the account.
func TestSlowDownloadsHoldNobodyUp(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	account, user, server := h.dovecot(t)
	// More than the kernel takes off the server's hands.
	server.Deliver(t, user, "INBOX", withAttachment("big.bin", sampleBytes(20<<20)))
	name := h.newest(t, account)
	for range 2 { // as many as may run at once
		stalled := h.send(t, http.MethodGet, "/v1/"+name+":raw", nil)
		defer stalled.Body.Close()
		if _, err := stalled.Body.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if len(list(h.get(t, "/v1/"+account+"/messages"), "messages")) != 1 {
			t.Error("the list is empty")
		}
		if got := h.get(t, "/v1/"+name)["name"]; got != name {
			t.Errorf("got %v", got)
		}
		if stalled.ContentLength < 20<<20 {
			t.Errorf("%d bytes", stalled.ContentLength)
		}
	}
}

// brokenServer is an IMAP server of one message whose ENVELOPE and
// BODYSTRUCTURE make no sense.
func brokenServer(t testing.TB, raw string) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	header, _, _ := strings.Cut(raw, "\r\n\r\n")
	header += "\r\n\r\n"
	literal := func(s string) string { return fmt.Sprintf("{%d}\r\n%s", len(s), s) }
	serve := func(conn net.Conn) {
		defer conn.Close()
		fmt.Fprint(conn, "* OK hello\r\n")
		scanner := bufio.NewScanner(conn)
		for scanner.Scan() {
			tag, command, _ := strings.Cut(scanner.Text(), " ")
			command = strings.ToUpper(command)
			switch {
			case strings.HasPrefix(command, "CAPABILITY"):
				fmt.Fprint(conn, "* CAPABILITY IMAP4rev1\r\n")
			case strings.HasPrefix(command, "LIST"):
				fmt.Fprint(conn, "* LIST () \"/\" INBOX\r\n")
			case strings.HasPrefix(command, "STATUS"):
				fmt.Fprint(conn, "* STATUS INBOX (MESSAGES 1 UIDNEXT 8 UIDVALIDITY 5 UNSEEN 0)\r\n")
			case strings.HasPrefix(command, "EXAMINE"), strings.HasPrefix(command, "SELECT"):
				fmt.Fprint(conn, "* 1 EXISTS\r\n* OK [UIDVALIDITY 5] ok\r\n* OK [UIDNEXT 8] ok\r\n")
			case strings.Contains(command, "FETCH"):
				fmt.Fprintf(conn, "* 1 FETCH (UID 7 FLAGS () RFC822.SIZE %d INTERNALDATE \"23-Nov-2026 10:00:00 +0000\"", len(raw))
				if strings.Contains(command, "ENVELOPE") {
					fmt.Fprint(conn, " ENVELOPE \"oops\"")
				}
				if strings.Contains(command, "BODYSTRUCTURE") {
					fmt.Fprint(conn, " BODYSTRUCTURE ((((")
				} else if strings.Contains(command, "BODY.PEEK[]") {
					fmt.Fprint(conn, " BODY[] "+literal(raw))
				}
				if strings.Contains(command, "PEEK[HEADER]") && !strings.Contains(command, "BODYSTRUCTURE") {
					fmt.Fprint(conn, " BODY[HEADER] "+literal(header))
				}
				fmt.Fprint(conn, ")\r\n")
			case strings.HasPrefix(command, "LOGOUT"):
				fmt.Fprintf(conn, "* BYE bye\r\n%s OK\r\n", tag)
				return
			}
			fmt.Fprintf(conn, "%s OK done\r\n", tag)
		}
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { serve(conn) })
		}
	})
	return l.Addr().(*net.TCPAddr).Port
}

// A server that cannot tell how a message is made up is no reason not to show
// it: then the message itself is read.
func TestBrokenServer(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	raw := string(withAttachment("a.bin", []byte("content of the file")))
	account := h.register(t, "127.0.0.1", brokenServer(t, raw), "ann@example.com", "x")
	inbox := h.folderNamed(t, account, "INBOX")["name"].(string)
	listed := list(h.get(t, "/v1/"+account+"/messages"+values("folder", inbox)), "messages")
	if len(listed) != 1 || listed[0]["subject"] != "file" || listed[0]["emailId"] == "" {
		t.Fatalf("listed %v", listed)
	}
	name := listed[0]["name"].(string)
	got := h.get(t, "/v1/"+name)
	if got["subject"] != "file" || got["body"].(object)["text"] != "See the file.\n" && got["body"].(object)["text"] != "See the file." {
		t.Errorf("read %v", got)
	}
	if fmt.Sprint(got["defects"]) != "[STRUCTURE_MISSING]" || got["emailId"] != listed[0]["emailId"] {
		t.Errorf("defects %v, id %v", got["defects"], got["emailId"])
	}
	attachment := list(got, "attachments")[0]
	a := h.do(t, http.MethodGet, "/v1/"+attachment["name"].(string)+":download", nil)
	if string(a.body) != "content of the file" {
		t.Errorf("attachment %v: %d %q", attachment, a.status, a.body)
	}
	h.do(t, http.MethodGet, "/v1/"+name+"/attachments/7:download", nil).refused(t, 404, "ATTACHMENT_NOT_FOUND")
}
