package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// restConn makes the calls of a generated gRPC client over REST, by the
// annotations of the proto files: what a suite proves of gRPC it so proves of
// REST in the same words. Errors come back as the statuses that they are.
type restConn struct{ h *house }

var _ grpc.ClientConnInterface = restConn{}

// Invoke implements [grpc.ClientConnInterface].
func (c restConn) Invoke(ctx context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	req, err := c.request(ctx, method, args.(proto.Message))
	if err != nil {
		return err
	}
	resp, err := c.h.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode == http.StatusOK {
		return protojson.Unmarshal(body, reply.(proto.Message))
	}
	refused := &spb.Status{}
	if err := protojson.Unmarshal(body, refused); err != nil {
		return fmt.Errorf("%s %s: status %d without an error in its form: %w: %s", req.Method, req.URL, resp.StatusCode, err, body)
	}
	return status.ErrorProto(refused)
}

// NewStream implements [grpc.ClientConnInterface]. REST has its own forms of
// streams, which tests use by hand.
func (restConn) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, errors.New("streams have no common form over REST")
}

var pathParameter = regexp.MustCompile(`\{([a-z_.]+)(=[^}]*)?\}`)

// request writes a call as the HTTP request that its annotation describes.
func (c restConn) request(ctx context.Context, method string, args proto.Message) (*http.Request, error) {
	name := protoreflect.FullName(strings.ReplaceAll(strings.TrimPrefix(method, "/"), "/", "."))
	descriptor, err := protoregistry.GlobalFiles.FindDescriptorByName(name)
	if err != nil {
		return nil, err
	}
	rule, _ := proto.GetExtension(descriptor.Options(), annotations.E_Http).(*annotations.HttpRule)
	verb, template := verbAndPath(rule)
	if verb == "" {
		return nil, fmt.Errorf("%s has no route", method)
	}
	encoded, err := protojson.Marshal(args)
	if err != nil {
		return nil, err
	}
	fields := make(object)
	if err := json.Unmarshal(encoded, &fields); err != nil {
		return nil, err
	}
	path := pathParameter.ReplaceAllStringFunc(template, func(parameter string) string {
		return takeField(fields, args.ProtoReflect(), strings.Split(pathParameter.FindStringSubmatch(parameter)[1], "."))
	})
	var body any
	switch rule.GetBody() {
	case "":
	case "*":
		body, fields = fields, nil
	default:
		field := args.ProtoReflect().Descriptor().Fields().ByName(protoreflect.Name(rule.GetBody())).JSONName()
		body = fields[field]
		delete(fields, field)
	}
	var content io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(encoded)
	}
	if query := queryOf(fields); query != "" {
		path += "?" + query
	}
	req, err := http.NewRequestWithContext(ctx, verb, c.h.base+path, content)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	return req, nil
}

func verbAndPath(rule *annotations.HttpRule) (verb, path string) {
	switch p := rule.GetPattern().(type) {
	case *annotations.HttpRule_Get:
		return http.MethodGet, p.Get
	case *annotations.HttpRule_Post:
		return http.MethodPost, p.Post
	case *annotations.HttpRule_Patch:
		return http.MethodPatch, p.Patch
	case *annotations.HttpRule_Delete:
		return http.MethodDelete, p.Delete
	}
	return "", ""
}

// takeField takes a field that stands in the path out of those that do not.
func takeField(fields object, m protoreflect.Message, path []string) string {
	field := m.Descriptor().Fields().ByName(protoreflect.Name(path[0]))
	if len(path) > 1 {
		inner, _ := fields[field.JSONName()].(object)
		return takeField(inner, m.Get(field).Message(), path[1:])
	}
	delete(fields, field.JSONName())
	return m.Get(field).String()
}

// queryOf writes what is left of a request as parameters.
func queryOf(fields object) string {
	query := url.Values{}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		switch value := fields[name].(type) {
		case []any:
			for _, item := range value {
				query.Add(name, fmt.Sprint(item))
			}
		default:
			query.Add(name, fmt.Sprint(value))
		}
	}
	return query.Encode()
}
