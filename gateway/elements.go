package gateway

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

const (
	// maxElements bounds a list of a request: the contract lets none have more.
	// maxAllElements bounds all of its lists together, and maxViolations how many
	// faults of a request are told. A request of a few megabytes could have a million,
	// of which each costs time to find and a few hundred bytes to tell.
	maxElements    = 1000
	maxAllElements = 10_000
	maxViolations  = 1000
)

// countElements refuses a request with too many elements before any of them is
// looked at.
func countElements(m protoreflect.Message) error {
	total := 0
	return countIn(m, "", &total)
}

func countIn(m protoreflect.Message, path string, total *int) (err error) {
	if strings.HasPrefix(string(m.Descriptor().FullName()), "google.protobuf.") {
		return nil // the caller's own values, for which there are no rules
	}
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		at := path + string(field.Name())
		switch {
		case field.IsMap():
			err = enough(at, value.Map().Len(), total)
		case field.IsList():
			list := value.List()
			if err = enough(at, list.Len(), total); err != nil || field.Kind() != protoreflect.MessageKind {
				break
			}
			for i := 0; i < list.Len() && err == nil; i++ {
				err = countIn(list.Get(i).Message(), at+".", total)
			}
		case field.Kind() == protoreflect.MessageKind:
			err = countIn(value.Message(), at+".", total)
		}
		return err == nil
	})
	return err
}

func enough(field string, n int, total *int) error {
	if n > maxElements {
		return refuseField(field, reasonArgumentInvalid, "The request is not valid: %s: must have no more than %d elements, and has %d.", field, maxElements, n)
	}
	if *total += n; *total > maxAllElements {
		return refuseField(field, reasonArgumentInvalid, "The request is not valid: its lists have more than %d elements together.", maxAllElements)
	}
	return nil
}
