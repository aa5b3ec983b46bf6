package gateway

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

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

// refuseInvalidQuery refuses query parameters that a route does not have, and
// values that they cannot have. The mux would ignore the former, and a list
// whose filter was misspelt would be a list of everything; the latter it would
// take for a fault of the body.
func refuseInvalidQuery(next runtime.HandlerFunc) runtime.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request, path map[string]string) {
		if pattern, ok := runtime.HTTPPattern(r.Context()); ok && r.URL.RawQuery != "" {
			if route, known := routes()[r.Method+" "+pattern.String()]; known {
				if failed := route.checkQuery(r.URL.Query()); failed != nil {
					writeError(w, r, failed)
					return
				}
			}
		}
		next(w, r, path)
	}
}

// route is a generated route.
type route struct {
	// method is the one of gRPC.
	method     string
	parameters []string
	input      protoreflect.MessageType
}

func (r *route) checkQuery(query url.Values) *failure {
	for name, values := range query {
		if failed := parseParameter(r.input.New().Interface(), r.parameters, name, values); failed != nil {
			return failed
		}
	}
	return nil
}

// parseParameter sets the field of a request that a query parameter stands for.
func parseParameter(req proto.Message, allowed []string, name string, values []string) *failure {
	if !slices.Contains(allowed, name) && !slices.Contains(allowed, entryOf(name)) {
		return refuseField(said(name), reasonArgumentInvalid,
			"There is no parameter %q here; there are: %s.", said(name), strings.Join(spokenNames(allowed), ", "))
	}
	if err := runtime.PopulateQueryParameters(req, url.Values{name: values}, utilities.NewDoubleArray(nil)); err != nil {
		return refuseField(fieldOf(req, name), reasonArgumentInvalid, "The parameter %s cannot be read: %s", name, said(err.Error()))
	}
	return nil
}

// fieldOf gives a parameter the name that its field has in all other errors.
func fieldOf(req proto.Message, name string) string {
	if field := req.ProtoReflect().Descriptor().Fields().ByJSONName(name); field != nil {
		return string(field.Name())
	}
	return name
}

// entryOf is the form in which a route has a parameter that is an entry of a map,
// such as labels[team]: labels[].
func entryOf(name string) string {
	field, key, _ := strings.Cut(name, "[")
	if !strings.HasSuffix(key, "]") {
		return ""
	}
	return field + "[]"
}

// spokenNames leaves the proto form of names out of a message.
func spokenNames(names []string) []string {
	spoken := slices.DeleteFunc(slices.Clone(names), func(s string) bool { return strings.Contains(s, "_") })
	if len(spoken) == 0 {
		return []string{"none"}
	}
	return spoken
}

// routes has each generated route, read from the annotations of the proto files.
var routes = sync.OnceValue(func() map[string]*route {
	found := make(map[string]*route)
	protoregistry.GlobalFiles.RangeFilesByPackage(posternv1.File_postern_v1_message_service_proto.Package(), func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			for j := range methods.Len() {
				addRoutes(found, methods.Get(j))
			}
		}
		return true
	})
	return found
})

func addRoutes(found map[string]*route, method protoreflect.MethodDescriptor) {
	rule, ok := proto.GetExtension(method.Options(), annotations.E_Http).(*annotations.HttpRule)
	if !ok || rule == nil {
		return
	}
	input, err := protoregistry.GlobalTypes.FindMessageByName(method.Input().FullName())
	if err != nil {
		return // of no service that is linked
	}
	for _, rule := range append([]*annotations.HttpRule{rule}, rule.GetAdditionalBindings()...) {
		verb, template := httpRule(rule)
		found[verb+" "+template] = &route{method: methodName(method), parameters: parametersOf(method.Input(), rule.GetBody(), template), input: input}
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
		suffix := ""
		if field.IsMap() {
			suffix = "[]"
		}
		names = append(names, field.JSONName()+suffix)
		if field.JSONName() != name {
			names = append(names, name+suffix)
		}
	}
	return names
}
