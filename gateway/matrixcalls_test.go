package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
)

// outcome is what came of a call: the reason of its error, empty for none, and the
// whole answer as bytes that two calls can be compared by.
type outcome struct {
	reason string
	answer string
}

// front is a way to make a call. authorization is the header's value, empty for none.
type front interface {
	call(t testing.TB, method protoreflect.MethodDescriptor, authorization string, requests []proto.Message) outcome
}

// callTimeout bounds one call of the matrix; only a call that hangs takes so long.
const callTimeout = time.Minute

func fullMethod(method protoreflect.MethodDescriptor) string {
	return "/" + string(method.Parent().FullName()) + "/" + string(method.Name())
}

// grpcFront makes calls by gRPC.
type grpcFront struct{ h *house }

func (f grpcFront) call(t testing.TB, method protoreflect.MethodDescriptor, authorization string, requests []proto.Message) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), callTimeout)
	defer cancel() // which ends a watch
	if authorization != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", authorization)
	}
	stream, err := f.h.grpc.NewStream(ctx, &grpc.StreamDesc{
		ServerStreams: method.IsStreamingServer(), ClientStreams: method.IsStreamingClient(),
	}, fullMethod(method))
	if err != nil {
		return outcomeOf(t, err, nil)
	}
	for _, request := range requests {
		if err := stream.SendMsg(request); err != nil && !errors.Is(err, io.EOF) { // the error follows
			return outcomeOf(t, err, nil)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	kind, err := protoregistry.GlobalTypes.FindMessageByName(method.Output().FullName())
	if err != nil {
		t.Fatal(err)
	}
	var last proto.Message
	for {
		answer := kind.New().Interface()
		err := stream.RecvMsg(answer)
		if errors.Is(err, io.EOF) {
			return outcomeOf(t, nil, last)
		}
		if err != nil {
			return outcomeOf(t, err, nil)
		}
		if last = answer; method.Name() == "WatchEvents" || !method.IsStreamingServer() { // a watch has no end
			return outcomeOf(t, nil, last)
		}
	}
}

func outcomeOf(t testing.TB, err error, answer proto.Message) outcome {
	t.Helper()
	if err != nil {
		s := status.Convert(err)
		infos := 0
		for _, d := range s.Details() {
			if _, ok := d.(*errdetails.ErrorInfo); ok {
				infos++
			}
		}
		if infos != 1 {
			t.Errorf("the error has %d ErrorInfos: %v", infos, s)
		}
		answer = s.Proto()
		return outcome{reason: s.Code().String() + " " + reasonOf(s), answer: encoded(t, answer)}
	}
	return outcome{answer: encoded(t, answer)}
}

func encoded(t testing.TB, m proto.Message) string {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// restFront makes calls by REST, those without a route of the proto file by the
// hand-written ones.
type restFront struct{ h *house }

// grpcOnly have no form in REST.
var grpcOnly = map[protoreflect.Name]bool{"BatchModifyMessagesWithProgress": true}

func (f restFront) call(t testing.TB, method protoreflect.MethodDescriptor, authorization string, requests []proto.Message) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), callTimeout)
	defer cancel()
	req, err := f.byHand(ctx, requests)
	if req == nil && err == nil {
		req, err = restConn(f).request(ctx, fullMethod(method), requests[0])
	}
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Del("Authorization")
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	resp, err := f.h.client.Do(req)
	if err != nil {
		t.Fatalf("%s: %v", method.FullName(), err)
	}
	defer resp.Body.Close()
	var body []byte
	if resp.Header.Get("Content-Type") == "text/event-stream" {
		body = make([]byte, 1) // it has no end
		_, err = io.ReadFull(resp.Body, body)
	} else {
		body, err = io.ReadAll(resp.Body)
	}
	if err != nil {
		t.Fatalf("%s: %v", method.FullName(), err)
	}
	for _, other := range []string{"Date", "X-Request-Id", "Content-Length"} { // that of the id asked for
		resp.Header.Del(other)
	}
	header, err := json.Marshal(resp.Header)
	if err != nil {
		t.Fatal(err)
	}
	out := outcome{answer: fmt.Sprintf("%d %s %s", resp.StatusCode, header, body)}
	if resp.StatusCode != http.StatusOK {
		refused := &spb.Status{}
		if err := protojson.Unmarshal(body, refused); err != nil {
			t.Fatalf("%s: status %d without an error in its form: %v: %s", method.FullName(), resp.StatusCode, err, body)
		}
		out.reason = outcomeOf(t, status.ErrorProto(refused), nil).reason
	}
	return out
}

// byHand writes the requests of routes that no annotation describes, nil for others.
func (f restFront) byHand(ctx context.Context, requests []proto.Message) (*http.Request, error) {
	post := func(path, contentType, body string) (*http.Request, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.h.base+"/v1/"+path, strings.NewReader(body))
		if err == nil {
			req.Header.Set("Content-Type", contentType)
		}
		return req, err
	}
	switch first := requests[0].(type) {
	case *posternv1.ImportMessageRequest:
		to := first.GetTarget()
		return post(to.GetParent()+"/messages:import"+values("folder", to.GetFolder()), "message/rfc822", canaryMail)
	case *posternv1.CreateUploadRequest:
		to := first.GetTarget()
		return post(to.GetParent()+"/uploads"+values("filename", to.GetFilename()), to.GetContentType(), "canary")
	case *posternv1.WatchEventsRequest:
		return http.NewRequestWithContext(ctx, http.MethodGet, f.h.base+"/v1/events:watch"+values("accounts", strings.Join(first.GetAccounts(), ",")), nil)
	}
	return nil, nil
}
