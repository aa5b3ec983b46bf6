package gateway

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
)

// maskPath is a path of a field mask in its one spelling: the fields' names in
// the proto file. Behind a map of strings one more segment, a key, is allowed.
type maskPath []string

// wholeMask is the mask "*", which names every field.
const wholeMask = "*"

// readPaths resolves a mask over the fields of message. Paths may be written
// in either form of the names, because REST takes masks as they are in the
// query. The whole mask is nil; field is the request's field, for errors.
func readPaths(mask *fieldmaskpb.FieldMask, message protoreflect.MessageDescriptor, field string) ([]maskPath, error) {
	var paths []maskPath
	for _, text := range mask.GetPaths() {
		if text == wholeMask {
			if len(mask.GetPaths()) > 1 {
				return nil, refuseField(field, reasonArgumentInvalid, "The mask has %q beside other paths: it stands alone.", wholeMask)
			}
			return nil, nil
		}
		path, ok := resolvePath(text, message)
		if !ok {
			return nil, refuseField(field, reasonArgumentInvalid, "The mask names %q, which is not a field of %s.", said(text), message.Name())
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// updatePaths are the fields of a resource that an update is to change, of those that
// are settable. The others are the server's, and a mask that names them changes nothing
// (AIP-203).
func updatePaths(mask *fieldmaskpb.FieldMask, resource proto.Message, settable []string) ([]maskPath, error) {
	paths, err := namedPaths(mask, resource, settable)
	return slices.DeleteFunc(paths, func(p maskPath) bool { return !slices.Contains(settable, p[0]) }), err
}

// namedPaths are the fields of a resource that an update names: those of its mask, all
// settable ones for the whole mask, and without a mask those that are set (AIP-134).
func namedPaths(mask *fieldmaskpb.FieldMask, resource proto.Message, settable []string) ([]maskPath, error) {
	m := resource.ProtoReflect()
	if len(mask.GetPaths()) == 0 {
		return populated(m), nil
	}
	paths, err := readPaths(mask, m.Descriptor(), "update_mask")
	if err != nil || paths != nil {
		return paths, err
	}
	for _, field := range settable {
		paths = append(paths, maskPath{field})
	}
	return paths, nil
}

// populated lists what is set in a message, down to single fields: a server of
// which only the password is given keeps its host (AIP-134).
func populated(m protoreflect.Message) []maskPath {
	var paths []maskPath
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		name := string(field.Name())
		if field.Message() == nil || field.IsList() || field.IsMap() || field.Message().FullName().Parent() == "google.protobuf" {
			paths = append(paths, maskPath{name})
			return true
		}
		for _, below := range populated(value.Message()) {
			paths = append(paths, append(maskPath{name}, below...))
		}
		return true
	})
	return paths
}

func resolvePath(text string, message protoreflect.MessageDescriptor) (maskPath, bool) {
	var path maskPath
	segments := strings.Split(text, ".")
	for i, segment := range segments {
		if message == nil {
			return nil, false
		}
		field := message.Fields().ByName(protoreflect.Name(segment))
		if field == nil {
			field = message.Fields().ByJSONName(segment)
		}
		if field == nil {
			return nil, false
		}
		path = append(path, string(field.Name()))
		switch {
		case field.IsMap():
			// The rest is a key, dots and all.
			if key := strings.Join(segments[i+1:], "."); key != "" {
				path = append(path, key)
			}
			return path, field.MapKey().Kind() == protoreflect.StringKind
		case field.IsList():
			message = nil
		default:
			message = field.Message()
		}
	}
	return path, true
}

// names reports whether the mask names the field, or something in it, or the
// message around it.
func names(paths []maskPath, field ...string) bool {
	return slices.ContainsFunc(paths, func(p maskPath) bool {
		n := min(len(p), len(field))
		return slices.Equal(p[:n], field[:n])
	})
}

// keep clears everything in m that no path names. No paths keep everything.
func keep(m proto.Message, paths []maskPath) {
	if len(paths) > 0 {
		keepFields(m.ProtoReflect(), paths)
	}
}

func keepFields(m protoreflect.Message, paths []maskPath) {
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		below, whole := descend(paths, string(field.Name()))
		switch {
		case whole:
		case len(below) == 0:
			m.Clear(field)
		case field.IsMap():
			keepKeys(value.Map(), below)
		default:
			keepFields(value.Message(), below)
		}
		return true
	})
}

func keepKeys(m protoreflect.Map, paths []maskPath) {
	m.Range(func(key protoreflect.MapKey, _ protoreflect.Value) bool {
		if _, whole := descend(paths, key.String()); !whole {
			m.Clear(key)
		}
		return true
	})
}

// descend gives what is left of the paths below a field, and whether the
// field as a whole is named.
func descend(paths []maskPath, field string) (below []maskPath, whole bool) {
	for _, p := range paths {
		if p[0] != field {
			continue
		}
		if len(p) == 1 {
			return nil, true
		}
		below = append(below, p[1:])
	}
	return below, false
}

// overwrite sets what the path names in dst to what it is in src. What is not
// set in src is cleared in dst (AIP-134).
func overwrite(dst, src protoreflect.Message, path maskPath) {
	field := dst.Descriptor().Fields().ByName(protoreflect.Name(path[0]))
	switch {
	case len(path) == 1:
		if src.Has(field) {
			dst.Set(field, src.Get(field))
		} else {
			dst.Clear(field)
		}
	case field.IsMap():
		key := protoreflect.ValueOfString(path[1]).MapKey()
		if src.Get(field).Map().Has(key) {
			dst.Mutable(field).Map().Set(key, src.Get(field).Map().Get(key))
		} else if dst.Has(field) {
			dst.Mutable(field).Map().Clear(key)
		}
	default:
		overwrite(dst.Mutable(field).Message(), src.Get(field).Message(), path[1:])
	}
}
