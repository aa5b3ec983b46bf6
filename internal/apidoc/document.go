package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// object is a JSON object, of which the document is a tree.
type object = map[string]any

// at follows keys down from o. It gives nil where there is no such object.
func at(o object, keys ...string) object {
	for _, key := range keys {
		o, _ = o[key].(object)
	}
	return o
}

// parameter is a segment of a path that stands for an id, and what follows it.
var parameter = regexp.MustCompile(`^\{([^}]+)\}(.*)$`)

// nameParameters renames the path parameters after the collections that they
// follow: the generator calls the parts of a resource name {name} and {name_1},
// or {account.name}, and so gives one path several forms.
func nameParameters(doc object) error {
	renamed := make(object)
	for path, item := range at(doc, "paths") {
		to, names := namedPath(path)
		if renamed[to] == nil {
			renamed[to] = make(object)
		}
		for verb, operation := range item.(object) {
			if at(renamed, to)[verb] != nil {
				return fmt.Errorf("two operations for %s %s", verb, to)
			}
			operation := operation.(object)
			renameParameters(operation, names)
			at(renamed, to)[verb] = operation
		}
	}
	doc["paths"] = renamed
	return nil
}

// namedPath gives the path with new names for its parameters, and the new names
// by the old.
func namedPath(path string) (string, map[string]string) {
	names := make(map[string]string)
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		found := parameter.FindStringSubmatch(segment)
		if found == nil {
			continue
		}
		name := strings.TrimSuffix(segments[i-1], "s")
		names[found[1]] = name
		segments[i] = "{" + name + "}" + found[2]
	}
	return strings.Join(segments, "/"), names
}

func renameParameters(operation object, names map[string]string) {
	parameters, _ := operation["parameters"].([]any)
	for _, p := range parameters {
		p := p.(object)
		old, _ := p["name"].(string)
		if name := names[old]; name != "" && p["in"] == "path" {
			p["name"] = name
			p["description"] = "The id of the " + name + "."
		}
	}
}

// describeEnums adds to each enum what its values mean, from their comments.
func describeEnums(doc object, files *protoregistry.Files) {
	schemas := at(doc, "components", "schemas")
	for name := range schemas {
		descriptor, err := files.FindDescriptorByName(protoreflect.FullName(name))
		if err != nil {
			continue // one of the generator's own
		}
		enum, ok := descriptor.(protoreflect.EnumDescriptor)
		if !ok {
			continue
		}
		var text strings.Builder
		text.WriteString(comment(enum) + "\n")
		for i := range enum.Values().Len() {
			value := enum.Values().Get(i)
			fmt.Fprintf(&text, "\n- `%s`: %s", value.Name(), comment(value))
		}
		at(schemas, name)["description"] = text.String()
	}
}

// comment gives the comment above d, on one line.
func comment(d protoreflect.Descriptor) string {
	location := d.ParentFile().SourceLocations().ByDescriptor(d)
	return strings.Join(strings.Fields(location.LeadingComments), " ")
}

// mergePatch applies a JSON merge patch (RFC 7396 section 2).
func mergePatch(target, patch object) object {
	merged := maps.Clone(target)
	if merged == nil {
		merged = make(object)
	}
	for key, value := range patch {
		switch value := value.(type) {
		case nil:
			delete(merged, key)
		case object:
			old, _ := merged[key].(object)
			merged[key] = mergePatch(old, value)
		default:
			merged[key] = value
		}
	}
	return merged
}

// check finds what a patch leaves behind that has fallen out of step with the
// proto files: an operation that is only half there, or a reference to nothing.
func check(doc object) error {
	var errs []error
	for path, item := range at(doc, "paths") {
		for verb, operation := range item.(object) {
			for _, key := range []string{"operationId", "responses", "summary", "tags"} {
				if operation.(object)[key] == nil {
					errs = append(errs, fmt.Errorf("%s %s has no %s", verb, path, key))
				}
			}
		}
	}
	schemas := at(doc, "components", "schemas")
	for _, name := range slices.Sorted(maps.Keys(references(doc))) {
		if schemas[strings.TrimPrefix(name, "#/components/schemas/")] == nil {
			errs = append(errs, fmt.Errorf("%s is not there", name))
		}
	}
	return errors.Join(errs...)
}

// references gives everything that a $ref within v points to.
func references(v any) map[string]bool {
	found := make(map[string]bool)
	switch v := v.(type) {
	case object:
		if name, ok := v["$ref"].(string); ok {
			found[name] = true
		}
		for _, below := range v {
			maps.Copy(found, references(below))
		}
	case []any:
		for _, below := range v {
			maps.Copy(found, references(below))
		}
	}
	return found
}

func marshal(doc object) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(doc); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}
