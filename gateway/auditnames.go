package gateway

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const (
	// maxNames bounds the names in an entry of the audit log, maxNameLength the length
	// of each, and nameDepth how deep in a request they are looked for.
	maxNames      = 10
	maxNameLength = 256
	nameDepth     = 3
)

// resourceName is what can be in the audit log: names are made of ids, and nothing
// that mail says is one.
var resourceName = regexp.MustCompile(`^[a-z][A-Za-z]*(/[A-Za-z0-9_.~-]+)+$`)

// resourceNames are the names of what a call is about.
type resourceNames struct{ list []string }

// account is the name of the first account among them.
func (n *resourceNames) account() string {
	for _, name := range n.list {
		parts := strings.SplitN(name, "/", 3)
		if parts[0] == "accounts" && parts[1] != anyAccount {
			return parts[1]
		}
	}
	return ""
}

func (n *resourceNames) add(name string) {
	if len(n.list) < maxNames && len(name) <= maxNameLength && resourceName.MatchString(name) && !slices.Contains(n.list, name) {
		n.list = append(n.list, name)
	}
}

// inRequest adds the names that a request has in the fields that are for names.
func (n *resourceNames) inRequest(req any) {
	if msg, ok := req.(proto.Message); ok {
		n.walk(msg.ProtoReflect(), nameDepth)
	}
}

// inAnswer adds the name of the resource that an answer is.
func (n *resourceNames) inAnswer(resp any) {
	msg, ok := resp.(proto.Message)
	if !ok || msg == nil || !msg.ProtoReflect().IsValid() {
		return
	}
	m := msg.ProtoReflect()
	if field := m.Descriptor().Fields().ByName("name"); isResource(m.Descriptor()) && field != nil {
		n.add(m.Get(field).String())
	}
}

// inPath adds the name in the path of a hand-written route.
func (n *resourceNames) inPath(r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	if i := strings.LastIndex(path, ":"); i >= 0 {
		path = path[:i]
	}
	if strings.Count(path, "/")%2 == 0 { // it ends with a collection
		path = path[:max(strings.LastIndex(path, "/"), 0)]
	}
	n.add(path)
	for _, name := range splitLists(r.URL.Query()["accounts"]) {
		n.add(name)
	}
}

func (n *resourceNames) walk(m protoreflect.Message, depth int) {
	for _, field := range nameFields(m.Descriptor()) {
		if len(n.list) >= maxNames || !m.Has(field) {
			continue
		}
		value := m.Get(field)
		if !field.IsList() {
			n.take(field, value, depth)
			continue
		}
		for i := range min(value.List().Len(), maxNames) {
			n.take(field, value.List().Get(i), depth)
		}
	}
}

func (n *resourceNames) take(field protoreflect.FieldDescriptor, value protoreflect.Value, depth int) {
	switch {
	case field.Message() == nil:
		n.add(value.String())
	case depth > 0:
		n.walk(value.Message(), depth-1)
	}
}

var nameFieldsOf sync.Map // of protoreflect.FullName to []protoreflect.FieldDescriptor

// nameFields are the fields of a message that hold names of resources, or messages
// of ours that may. A field that is called name may hold that of a person.
func nameFields(message protoreflect.MessageDescriptor) []protoreflect.FieldDescriptor {
	if known, ok := nameFieldsOf.Load(message.FullName()); ok {
		return known.([]protoreflect.FieldDescriptor)
	}
	var found []protoreflect.FieldDescriptor
	for i := range message.Fields().Len() {
		field := message.Fields().Get(i)
		switch {
		case field.IsMap():
		case field.Kind() == protoreflect.StringKind:
			if holdsName(message, field) {
				found = append(found, field)
			}
		case field.Message() != nil && field.Message().ParentFile().Package() == message.ParentFile().Package():
			found = append(found, field)
		}
	}
	nameFieldsOf.Store(message.FullName(), found)
	return found
}

func holdsName(message protoreflect.MessageDescriptor, field protoreflect.FieldDescriptor) bool {
	if proto.HasExtension(field.Options(), annotations.E_ResourceReference) {
		return true
	}
	switch field.Name() {
	case "name":
		return isResource(message)
	case "parent", "names":
		return true
	}
	return false
}

func isResource(message protoreflect.MessageDescriptor) bool {
	return proto.HasExtension(message.Options(), annotations.E_Resource)
}
