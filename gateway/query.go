package gateway

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
)

// refuseInvalidText refuses paths and parameters that are not UTF-8: no field
// of a request can hold them.
func refuseInvalidText(next runtime.HandlerFunc) runtime.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request, path map[string]string) {
		// A query that cannot be unescaped at all is refused by the mux.
		query, _ := url.QueryUnescape(r.URL.RawQuery)
		if !utf8.ValidString(r.URL.Path) || !utf8.ValidString(query) {
			writeError(w, r, refuse(codes.InvalidArgument, reasonArgumentInvalid,
				"The path or a parameter of the request is not valid UTF-8."))
			return
		}
		next(w, r, path)
	}
}

// refuseUnknownQuery refuses query parameters that a route does not have. The
// mux would ignore them, and a list whose filter was misspelt would be a list
// of everything.
func refuseUnknownQuery(next runtime.HandlerFunc) runtime.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request, path map[string]string) {
		if pattern, ok := runtime.HTTPPattern(r.Context()); ok && r.URL.RawQuery != "" {
			allowed, known := queryParameters()[r.Method+" "+pattern.String()]
			for name := range r.URL.Query() {
				if known && !slices.Contains(allowed, name) {
					writeError(w, r, refuse(codes.InvalidArgument, reasonArgumentInvalid,
						"There is no parameter %q here; there are: %s.", said(name), strings.Join(spokenNames(allowed), ", ")))
					return
				}
			}
		}
		next(w, r, path)
	}
}

// spokenNames leaves the proto form of names out of a message.
func spokenNames(names []string) []string {
	spoken := slices.DeleteFunc(slices.Clone(names), func(s string) bool { return strings.Contains(s, "_") })
	if len(spoken) == 0 {
		return []string{"none"}
	}
	return spoken
}

// queryParameters has, for each generated route, the names of the parameters
// that it takes, read from the annotations of the proto files.
var queryParameters = sync.OnceValue(func() map[string][]string {
	routes := make(map[string][]string)
	for _, file := range []protoreflect.FileDescriptor{
		posternv1.File_postern_v1_account_service_proto,
		posternv1.File_postern_v1_folder_service_proto,
		posternv1.File_postern_v1_message_service_proto,
		posternv1.File_postern_v1_thread_service_proto,
		posternv1.File_postern_v1_event_service_proto,
		posternv1.File_postern_v1_webhook_service_proto,
	} {
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			for j := range methods.Len() {
				addRoutes(routes, methods.Get(j))
			}
		}
	}
	return routes
})

func addRoutes(routes map[string][]string, method protoreflect.MethodDescriptor) {
	rule, ok := proto.GetExtension(method.Options(), annotations.E_Http).(*annotations.HttpRule)
	if !ok || rule == nil {
		return
	}
	for _, rule := range append([]*annotations.HttpRule{rule}, rule.GetAdditionalBindings()...) {
		verb, template := httpRule(rule)
		routes[verb+" "+template] = parametersOf(method.Input(), rule.GetBody(), template)
	}
}

func httpRule(rule *annotations.HttpRule) (verb, template string) {
	switch p := rule.GetPattern().(type) {
	case *annotations.HttpRule_Get:
		return http.MethodGet, p.Get
	case *annotations.HttpRule_Post:
		return http.MethodPost, p.Post
	case *annotations.HttpRule_Put:
		return http.MethodPut, p.Put
	case *annotations.HttpRule_Patch:
		return http.MethodPatch, p.Patch
	case *annotations.HttpRule_Delete:
		return http.MethodDelete, p.Delete
	}
	return "", ""
}

// parametersOf lists the fields of a request that are neither in the path nor
// in the body, in both forms of their names. Our requests have no nested
// parameters outside the body.
func parametersOf(input protoreflect.MessageDescriptor, body, template string) []string {
	if body == "*" {
		return nil
	}
	var names []string
	for i := range input.Fields().Len() {
		field := input.Fields().Get(i)
		name := string(field.Name())
		if name == body || strings.Contains(template, "{"+name+"=") || strings.Contains(template, "{"+name+"}") {
			continue
		}
		names = append(names, field.JSONName())
		if field.JSONName() != name {
			names = append(names, name)
		}
	}
	return names
}
