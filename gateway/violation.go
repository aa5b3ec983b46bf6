package gateway

import (
	"strings"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// spokenPatterns says in words what the patterns in the proto files ask for.
// [resourceForm] does so for those of resource names.
var spokenPatterns = map[string]string{
	`^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`: "must be 1 to 63 letters, digits, - and _, with a letter or digit first",
	`^[a-z][a-z0-9_-]{0,62}$`:          "must be 1 to 63 lower-case letters, digits, - and _, with a letter first",
	`^[A-Za-z0-9_-]*$`:                 "must be of letters, digits, - and _",
	`^[a-z_]{1,32}\.[a-z_]{1,32}$`:     "must be a type of event such as message.created",
	`^[^\s@]+@[^\s@]+$`:                "must be an address such as ann@example.com",
	`^[^\s/@]*$`:                       "must be a host's name or address, without scheme, port and path",
	`^[^\x00\r\n]*$`:                   "must have no line break and no NUL",
	`^[!-~]*$`:                         "must be of printable ASCII characters without spaces",
	`^[!-~]{0,100}$`:                   "must be at most 100 printable ASCII characters without spaces",
	`^sha256/[A-Za-z0-9+/]{43}=$`:      "must be sha256/ and the base64 of a SHA-256, as accounts:verify shows it",
	`^[A-Za-z-]{1,32}$`:                "must be 1 to 32 letters and -",
	`^[A-Za-z.]*$`:                     "must be a method such as TokenService.CreateToken, or a service such as TokenService",
	`^[A-Z_]*$`:                        "must be a code such as PERMISSION_DENIED",
	`^[a-z]{1,32}(:[a-z]{1,32})?$`:     "must be a scope such as messages:read",
}

// violationText says what is wrong with a field of a request. The library quotes
// regular expressions and numbers of enum values where people want words.
func violationText(request protoreflect.MessageDescriptor, v *protovalidate.Violation) string {
	said := v.Proto.GetMessage()
	switch v.Proto.GetRuleId() {
	case "string.pattern":
		if words := patternText(v.RuleValue.String()); words != "" {
			said = words
		}
		if v.FieldValue.String() == "" {
			said = "is missing: it " + said
		}
	case "enum.in":
		if v.FieldDescriptor != nil && v.FieldDescriptor.Enum() != nil {
			said = "must be one of " + strings.Join(enumNames(v.FieldDescriptor.Enum(), v.RuleValue.List()), ", ")
		}
	case "required":
		if members := oneofMembers(request, v); len(members) > 0 {
			said = "one of " + strings.Join(members, " and ") + " must be given"
		}
	}
	return said
}

// patternText gives the words for a pattern, or nothing.
func patternText(pattern string) string {
	if words, ok := spokenPatterns[pattern]; ok {
		return words
	}
	if form := resourceForm(pattern); form != "" {
		return "must be of the form " + form
	}
	return ""
}

// resourceForm turns the pattern of a resource name into the form that people
// know: accounts/…/folders/…. Other patterns it does not know.
func resourceForm(pattern string) string {
	rest, ok := strings.CutPrefix(strings.TrimSuffix(pattern, "$"), "^")
	if !ok {
		return ""
	}
	var form []string
	// A slash is in none of the classes, so it parts the name's elements.
	for _, element := range strings.Split(rest, "/") {
		switch {
		case strings.HasPrefix(element, "["):
			form = append(form, "…")
		case strings.ContainsAny(element, `[](){}\.*+?|^$`), element == "":
			return ""
		default:
			form = append(form, element)
		}
	}
	if len(form) < 2 {
		return ""
	}
	return strings.Join(form, "/")
}

// enumNames gives the names of those values that a list has; zero stands for
// none, which nobody writes.
func enumNames(enum protoreflect.EnumDescriptor, list protoreflect.List) []string {
	var names []string
	for i := range list.Len() {
		number := protoreflect.EnumNumber(list.Get(i).Int())
		if value := enum.Values().ByNumber(number); value != nil && number != 0 {
			names = append(names, string(value.Name()))
		}
	}
	return names
}

// oneofMembers gives the fields of the oneof that a violation is about.
func oneofMembers(request protoreflect.MessageDescriptor, v *protovalidate.Violation) []string {
	at := request
	elements := v.Proto.GetField().GetElements()
	for i, element := range elements {
		name := protoreflect.Name(element.GetFieldName())
		if i == len(elements)-1 {
			oneof := at.Oneofs().ByName(name)
			if oneof == nil {
				return nil
			}
			var members []string
			for j := range oneof.Fields().Len() {
				members = append(members, string(oneof.Fields().Get(j).Name()))
			}
			return members
		}
		field := at.Fields().ByName(name)
		if field == nil || field.Message() == nil {
			return nil
		}
		at = field.Message()
	}
	return nil
}
