package main

import (
	"math/rand/v2"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"
)

// hostilePieces are what breaks mail when it gets through, and what is told apart
// from it with difficulty.
var hostilePieces = []string{
	// Ends of lines, of headers and of messages, in all the ways that some program
	// takes for one.
	"\r\n", "\n", "\r", "\x00", "\r\n\r\n", "\r\n.\r\n", "\n.\n", "\r.\r", "\n.\r\n", "\r\n..\r\n", "\v", "\f", "\x1a", "\x1b[2K", "\x7f", "\b",
	"\u0085", "\u2028", "\u2029", "\u00a0", "\ufeff", "\ufffd", "\x01", "\u009b",
	// Folding: what continues a field, and what does not.
	"\r\n ", "\r\n\t", "\n ", "\r\n \r\n", " \r\n", "\t", " ", "  ", strings.Repeat(" ", 80), strings.Repeat("a ", 600), strings.Repeat("x", 1100),
	// What would be a field or a command of its own.
	"Bcc: eve@example.net", "\r\nBcc : eve@example.net\r\n", "\r\nResent-Bcc: eve@example.net\r\n", "\r\nBcc: eve@example.net", "\r\nX-Injected: 1\r\n", "\nTo: eve@example.net\n", "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x",
	"RCPT TO:<eve@example.net>", "\r\nRCPT TO:<eve@example.net>\r\n", "DATA", "\r\n.\r\nMAIL FROM:<eve@example.net>", "QUIT", " NOTIFY=NEVER", " SMTPUTF8", " SIZE=1",
	"ORCPT=rfc822;eve@example.net", "%0d%0aBcc:eve@example.net", "\\r\\nBcc: eve@example.net", "&#13;&#10;Bcc:", "+0D+0A", "${IFS}",
	// Encoded words, whole, broken and nested.
	"=?utf-8?q?=0D=0ABcc:_eve@example.net?=", "=?utf-8?b?DQpCY2M6IGV2ZUBleGFtcGxlLm5ldA==?=", "=?utf-8?q?", "?=", "=?us-ascii?q?a?= =?us-ascii?q?b?=",
	"=?utf-7?q?+AA0ACg-?=", "=?iso-2022-jp?b?GyRC?=", "=?x?y?z?=", "=\r\n", "=0A", "=3D",
	// The syntax of addresses and parameters.
	"<", ">", "\"", "\\", ",", ";", ":", "@", "(", ")", "[", "]", "'", "`", "|", "/", "..", ".", "-", "--", "=", "*", "%", "+", "#", "!", "{", "}", "~", "^", "&", "$",
	"bob@example.com", "eve@example.net", "<eve@example.net>", ", eve@example.net", "\", eve@example.net, \"", "Group: eve@example.net, bob@example.com;", "undisclosed-recipients:;",
	"@relay.example.net:eve@example.net", "eve%example.net@", "eve!", "\"a b\"@example.com", "(comment)", "@[127.0.0.1]", "@[IPv6:::1]", "@", "a@b@c", "@example.com>, <eve@example.net",
	"bob@example.com.", "bob@-example.com", "bob@localhost", "\"\\\"\"@example.com", "\"@\"@example.com", "<>", "postmaster",
	"; filename=\"evil.exe\"", "\"; name=\"evil", "filename*=utf-8''%0d%0aX:1", "text/html", "multipart/mixed", "message/rfc822", "text/plain; charset=\"x\r\nX: 1\"", "boundary=", "../../etc/passwd",
	"C:\\x", "{{.name}}", "{{", "}}", "{{printf \"%c\" 10}}", "</script><script>alert(1)</script>", "javascript:alert(1)", "<img src=x onerror=y>", "https://example.com/?a=b&c=d#e", "mailto:eve@example.net",
	// Scripts, look-alikes, and what has no width.
	"ü", "é", "漢字", "п\u0430ypal", "ex\u0430mple.com", "e\u0301\u0302\u0303\u0304", "👩‍👩‍👧‍👦", "🏳️‍🌈", "\u202e", "\u2066", "\u200b", "\u200d", "\u00ad", "\u200f", "ß", "İ", "ſ", "K",
	"bob@exämple.com", "bob@例え.jp", "bob@xn--exmple-cua.com", "bob@xn--a.com", "用户@例え.jp", "@faß.de", "\ue000", "\U0010ffff", "\ufdd0", "\U000e0041", "。", "＠", "．", "｡", "：", "\uff0d\uff0d",
	"a", "b", "0", "Bob", "Re: ", "BEGIN:VCALENDAR", "END:VCALENDAR", "METHOD:CANCEL",
}

// These stand for what no string of Go's JSON has: half of a surrogate pair as an
// escape, and a byte that is not UTF-8.
const (
	loneSurrogate = "\uf0001"
	brokenByte    = "\uf0002"
)

// isBroken reports whether a text has one of these.
func isBroken(text string) bool {
	return strings.Contains(text, loneSurrogate) || strings.Contains(text, brokenByte)
}

// hostile makes a string of such pieces. good is what the field is made for, which
// is there, too, as often as not: most fields take nothing else.
func hostile(random *rand.Rand, good string) string {
	var b strings.Builder
	for range 1 + random.IntN(4) {
		switch random.IntN(40) {
		case 0:
			b.WriteString(pickOne(random, loneSurrogate, brokenByte))
		case 1:
			b.WriteString(strings.Repeat(pickOne(random, hostilePieces...), 1+random.IntN(200)))
		case 2:
			b.WriteRune(rune(random.IntN(0x110000))) // surrogates become U+FFFD
		default:
			b.WriteString(pickOne(random, hostilePieces...))
		}
	}
	text := b.String()
	switch random.IntN(4) {
	case 0:
		return text
	case 1:
		return good + text
	case 2:
		return text + good
	default:
		at := random.IntN(len(good) + 1)
		return good[:at] + text + good[at:]
	}
}

// hostileField is a field of a request that holds a string.
type hostileField struct {
	// name is its path, such as "submission.to.name".
	name string
	path []protoreflect.FieldDescriptor
}

// stringFields finds all fields of a message that hold strings or bytes, in whatever
// depth, so that none that is added later can be forgotten.
func stringFields(of protoreflect.MessageDescriptor) []hostileField {
	var found []hostileField
	var walk func(md protoreflect.MessageDescriptor, name string, path []protoreflect.FieldDescriptor)
	walk = func(md protoreflect.MessageDescriptor, name string, path []protoreflect.FieldDescriptor) {
		for i := range md.Fields().Len() {
			fd := md.Fields().Get(i)
			path := append(path[:len(path):len(path)], fd)
			name := strings.TrimPrefix(name+"."+string(fd.Name()), ".")
			switch {
			case fd.Kind() == protoreflect.StringKind, fd.Kind() == protoreflect.BytesKind:
				found = append(found, hostileField{name, path})
			case fd.Message() == nil:
			case fd.Message().FullName() == "google.protobuf.Struct":
				found = append(found, hostileField{name + ".key", path}, hostileField{name + ".value", path})
			default:
				walk(fd.Message(), name, path)
			}
		}
	}
	walk(of, "", nil)
	return found
}

// holder goes down to the message that has the field; lists get a first element.
func (f *hostileField) holder(root proto.Message) protoreflect.Message {
	m := root.ProtoReflect()
	for _, fd := range f.path[:len(f.path)-1] {
		switch {
		case !fd.IsList():
			m = m.Mutable(fd).Message()
		case m.Get(fd).List().Len() == 0:
			m = m.Mutable(fd).List().AppendMutable().Message()
		default:
			m = m.Mutable(fd).List().Get(0).Message()
		}
	}
	return m
}

func (f *hostileField) isBytes() bool {
	return f.path[len(f.path)-1].Kind() == protoreflect.BytesKind
}

// get is the field's value, empty where it has none.
func (f *hostileField) get(root proto.Message) string {
	fd := f.path[len(f.path)-1]
	value := f.holder(root).Get(fd)
	switch {
	case fd.IsList() && value.List().Len() == 0, fd.Message() != nil:
		return ""
	case fd.IsList():
		return value.List().Get(0).String()
	case fd.Kind() == protoreflect.BytesKind:
		return string(value.Bytes())
	}
	return value.String()
}

// set puts a string into the field.
func (f *hostileField) set(root proto.Message, text string) {
	fd := f.path[len(f.path)-1]
	m := f.holder(root)
	switch {
	case fd.Message() != nil: // the variables of a template
		name, value := "name", text
		if strings.HasSuffix(f.name, ".key") {
			name, value = text, "Bob"
		}
		variables, _ := m.Mutable(fd).Message().Interface().(*structpb.Struct)
		variables.Fields = map[string]*structpb.Value{"name": structpb.NewStringValue("Bob"), name: structpb.NewStringValue(value)}
	case fd.IsList():
		list := m.Mutable(fd).List()
		list.Truncate(0)
		list.Append(protoreflect.ValueOfString(text))
	case fd.Kind() == protoreflect.BytesKind:
		m.Set(fd, protoreflect.ValueOfBytes([]byte(text)))
	default:
		m.Set(fd, protoreflect.ValueOfString(text))
	}
}
