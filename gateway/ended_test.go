package gateway_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
)

// endings are the ways in which a token ends, or may do something else.
var endings = map[string]func(t *testing.T, h *house, name string){
	"revoked": func(t *testing.T, h *house, name string) {
		h.do(t, http.MethodPost, "/v1/"+name+":revoke", object{}).ok(t)
	},
	"deleted": func(t *testing.T, h *house, name string) { h.do(t, http.MethodDelete, "/v1/"+name, nil).ok(t) },
	"changed": func(t *testing.T, h *house, name string) {
		h.do(t, http.MethodPatch, "/v1/"+name+"?updateMask=scopes", object{"scopes": []string{"templates:read"}}).ok(t)
	},
}

// all that the streams of these tests need.
var streaming = []string{"events:read", "messages:write", "submissions:send"}

func isTokenInvalid(err error) bool {
	s := status.Convert(err)
	return s.Code() == codes.Unauthenticated && reasonOf(s) == "TOKEN_INVALID"
}

// A stream does not outlive the right to it, whichever way that ends and whatever
// the stream waits for.
func TestStreamsEndWithTheirToken(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	account := h.account(t)
	for name, end := range endings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := h.admin().makes(t, object{"scopes": streaming})
			watch, err := posternv1.NewEventServiceClient(h.grpc).WatchEvents(c.ctx(t), &posternv1.WatchEventsRequest{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := watch.Recv(); err != nil {
				t.Fatal(err)
			}
			uploader := h.admin().makes(t, object{"scopes": streaming})
			upload, err := posternv1.NewUploadServiceClient(h.grpc).CreateUpload(uploader.ctx(t))
			if err != nil {
				t.Fatal(err)
			}
			if err := upload.Send(&posternv1.CreateUploadRequest{Piece: &posternv1.CreateUploadRequest_Target_{
				Target: &posternv1.CreateUploadRequest_Target{Parent: account, Filename: "a"},
			}}); err != nil {
				t.Fatal(err)
			}
			uploader.awaitUse(t) // it has been admitted, and waits for the client
			events := c.watch(t, "", "Authorization", "Bearer "+c.text)
			if _, err := events.next(); err != nil {
				t.Fatal(err)
			}
			ticket := c.asks(t, http.MethodPost, "/v1/events:ticket", object{}).ok(t)["ticket"].(string)
			byTicket := h.bare(t, "/v1/events:watch"+values("ticket", ticket))
			resume := firstID(t, byTicket)

			end(t, h, c.name)
			end(t, h, uploader.name)
			if err := receiveAll(watch.Recv); !isTokenInvalid(err) {
				t.Errorf("the watch by gRPC ends with %v", err)
			}
			if _, err := upload.CloseAndRecv(); !isTokenInvalid(err) {
				t.Errorf("the upload ends with %v", err)
			}
			for frame, err := events.next(); ; frame, err = events.next() {
				if err != nil {
					t.Fatalf("the watch by server-sent events ends with %v", err)
				}
				if frame.event == "failure" {
					if !strings.Contains(frame.data, "TOKEN_INVALID") {
						t.Errorf("its last frame is %s", frame.data)
					}
					break
				}
			}
			rest, err := io.ReadAll(byTicket.Body)
			if err != nil || !strings.Contains(string(rest), "TOKEN_INVALID") {
				t.Errorf("the watch by ticket ends with %q, %v", rest, err)
			}
			want := http.StatusUnauthorized
			if name == "changed" {
				want = http.StatusForbidden
			}
			if again := h.bare(t, "/v1/events:watch?ticket=x", "Last-Event-ID", resume); again.StatusCode != want {
				t.Errorf("coming back by the ticket: %d", again.StatusCode)
			}
		})
	}
}

func TestStreamEndsAtTheExpiry(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	expires := time.Now().Add(2 * time.Second).UTC().Truncate(time.Microsecond)
	c := h.admin().makes(t, object{"scopes": streaming, "expireTime": expires.Format(time.RFC3339Nano)})
	watch, err := posternv1.NewEventServiceClient(h.grpc).WatchEvents(c.ctx(t), &posternv1.WatchEventsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if err := receiveAll(watch.Recv); !isTokenInvalid(err) {
		t.Errorf("it ends with %v", err)
	}
	if early := time.Until(expires); early > 0 {
		t.Errorf("it ended %s early", early)
	}
}

// receiveAll receives until the stream ends.
func receiveAll[T any](receive func() (T, error)) error {
	for {
		if _, err := receive(); err != nil {
			return err
		}
	}
}

// awaitUse waits until a call has been admitted that was made with the token.
func (c holder) awaitUse(t *testing.T) {
	t.Helper()
	c.until(t, "/v1/"+c.name, func(a answer) bool { return a.json(t)["lastUseTime"] != nil })
}

// An upload by REST that has stopped to send does not wait for its time-out.
func TestStalledUploadEndsWithItsToken(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	account := h.account(t)
	c := h.admin().makes(t, object{"scopes": streaming})
	conn, err := net.Dial("tcp", strings.TrimPrefix(h.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = io.WriteString(conn, "POST /v1/"+account+"/uploads?filename=a HTTP/1.1\r\nHost: postern\r\nAuthorization: Bearer "+c.text+
		"\r\nContent-Type: text/plain\r\nContent-Length: 1000000\r\n\r\nsome of it")
	if err != nil {
		t.Fatal(err)
	}
	c.awaitUse(t)
	began := time.Now()
	h.do(t, http.MethodPost, "/v1/"+c.name+":revoke", object{}).ok(t)
	if err := conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusUnauthorized || !strings.Contains(string(body), "TOKEN_INVALID") {
		t.Errorf("%s: %s", resp.Status, body)
	}
	t.Logf("answered after %s", time.Since(began))
}
