package main

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	netmail "net/mail"
	"net/textproto"
	"regexp"
	"slices"
	"strconv"
	"strings"

	gomessage "github.com/emersion/go-message"
	_ "github.com/emersion/go-message/charset"
	"golang.org/x/net/idna"
	"google.golang.org/protobuf/proto"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
)

// judge compares what a socket heard with what was asked for.
func (w *injector) judge(request proto.Message, asked *posternv1.Submission) {
	h := w.socket.take()
	faults := h.faults
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	if len(h.messages) != 1 {
		fault("%d messages were sent", len(h.messages))
	} else {
		judgeEnvelope(h.commands, asked, fault)
		judgeMessage(h.messages[0], asked, fault)
	}
	if len(faults) > 0 {
		w.fault(request, "%s\n%q\n%.3000s", strings.Join(faults, "\n"), h.commands, strings.Join(h.messages, "\n-----\n"))
	}
}

var (
	// A quoted local part may have brackets, and a parameter, too.
	mailCommand = regexp.MustCompile(`^MAIL FROM:<((?:"(?:[^"\\]|\\.)*")?[^<>"]*)>((?: [A-Z0-9]+(?:=[!-*,-<>-~+]+)?)*)\r\n$`)
	rcptCommand = regexp.MustCompile(`^RCPT TO:<((?:"(?:[^"\\]|\\.)*")?[^<>"]*)>((?: [A-Z0-9]+(?:=[!-*,-<>-~+]+)?)*)\r\n$`)
)

// judgeEnvelope checks that the message went from and to whom it should, and that
// there were no other commands than these.
func judgeEnvelope(commands []string, asked *posternv1.Submission, fault func(string, ...any)) {
	var from, to []string
	for _, c := range commands {
		switch {
		case strings.HasPrefix(c, "MAIL"):
			if found := mailCommand.FindStringSubmatch(c); found != nil {
				from = append(from, canonicalAddress(found[1]))
				if id := asked.GetDsn().GetEnvelopeId(); id != "" && !strings.Contains(found[2]+" ", " ENVID="+xtext(id)+" ") {
					fault("the envelope id %q in %q", id, c)
				}
				continue
			}
			fault("the command %q", c)
		case strings.HasPrefix(c, "RCPT"):
			if found := rcptCommand.FindStringSubmatch(c); found != nil {
				to = append(to, canonicalAddress(found[1]))
				continue
			}
			fault("the command %q", c)
		case !slices.Contains([]string{"EHLO", "AUTH", "DATA\r\n", "RSET\r\n", "NOOP\r\n"}, strings.SplitN(c, " ", 2)[0]):
			fault("the command %q", c)
		}
	}
	sender := asked.GetEnvelope().GetMailFrom()
	if sender == "" {
		sender = asked.GetFrom().GetAddress()
	}
	if sender != "" && (len(from) != 1 || from[0] != canonicalAddress(sender)) {
		fault("sent from %q, want %q", from, canonicalAddress(sender))
	}
	var want []string
	if want = asked.GetEnvelope().GetRcptTo(); len(want) == 0 {
		for _, list := range [][]*posternv1.Address{asked.GetTo(), asked.GetCc(), asked.GetBcc()} {
			want = append(want, addressesOf(list)...)
		}
	}
	want = slices.Clone(want)
	for i := range want {
		want[i] = canonicalAddress(want[i])
	}
	slices.Sort(want)
	slices.Sort(to)
	if want = slices.Compact(want); !slices.Equal(to, want) {
		fault("sent to %q, want %q", to, want)
	}
}

// xtext encodes an envelope id (RFC 3461 section 4).
func xtext(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		if c < '!' || c > '~' || c == '+' || c == '=' {
			fmt.Fprintf(&b, "+%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func addressesOf(list []*posternv1.Address) (addresses []string) {
	for _, a := range list {
		addresses = append(addresses, a.GetAddress())
	}
	return addresses
}

// canonicalAddress is an address as it means: the local part without quotes, the
// domain in ASCII.
func canonicalAddress(address string) string {
	address = strings.TrimSpace(address)
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return address
	}
	local, domain := address[:at], address[at+1:]
	if strings.HasPrefix(local, `"`) {
		var plain strings.Builder
		for i := 1; i < len(local)-1; i++ {
			if local[i] == '\\' {
				i++
			}
			plain.WriteByte(local[i])
		}
		local = plain.String()
	}
	if ascii, err := idna.Lookup.ToASCII(domain); err == nil {
		domain = ascii
	}
	return strconv.Quote(local) + "@" + strings.ToLower(domain)
}

// blindCopies are fields that nobody but their sender is to see, with the space that
// RFC 5322 section 4.5 once allowed.
var blindCopies = regexp.MustCompile(`(?im)^(resent-)?bcc[ \t]*:`)

var fieldStart = regexp.MustCompile(`^([!-9;-~]+):(.*)$`)

// fields takes the header of a message apart, by hand.
func fields(text string, fault func(string, ...any)) (names []string, first map[string]string) {
	header, _, ended := strings.Cut(text, "\r\n\r\n")
	if !ended {
		fault("the header does not end")
	}
	first = map[string]string{}
	last := ""
	for line := range strings.SplitSeq(header, "\r\n") {
		if found := fieldStart.FindStringSubmatch(line); found != nil {
			last = textproto.CanonicalMIMEHeaderKey(found[1])
			names = append(names, last)
			first[last] = strings.TrimPrefix(found[2], " ")
			continue
		}
		if last == "" || !strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "\t") {
			fault("the line %q in the header", line)
			continue
		}
		first[last] += line // unfolded (RFC 5322 section 2.2.3)
	}
	return names, first
}

// judgeMessage checks that the header has the fields that were asked for and those
// that every message has, once each, with their values, and that the body has the
// parts.
func judgeMessage(text string, asked *posternv1.Submission, fault func(string, ...any)) {
	header, _, _ := strings.Cut(text, "\r\n\r\n")
	if found := blindCopies.FindString(header); found != "" {
		fault("the header has %q", found)
	}
	if len(asked.GetRaw()) > 0 {
		return // what else is in its header is its sender's own
	}
	names, values := fields(text, fault)
	parsed, err := netmail.ReadMessage(strings.NewReader(text))
	if err != nil {
		fault("net/mail cannot read it: %v", err)
		return
	}
	want := []string{"Mime-Version", "Message-Id", "Date", "From", "Subject", "Content-Type"}
	for name, list := range map[string][]*posternv1.Address{"To": asked.GetTo(), "Cc": asked.GetCc(), "Reply-To": asked.GetReplyTo()} {
		if len(list) > 0 {
			want = append(want, name)
			judgeAddresses(name, values[name], list, fault)
		}
	}
	if asked.GetFrom() != nil {
		judgeAddresses("From", values["From"], []*posternv1.Address{asked.GetFrom()}, fault)
	}
	for _, h := range asked.GetHeaders() {
		name := textproto.CanonicalMIMEHeaderKey(h.GetName())
		want = append(want, name)
		judgeText(name, values[name], h.GetValue(), fault)
	}
	if asked.GetUnsubscribe() != nil {
		want = append(want, "List-Unsubscribe", "List-Unsubscribe-Post")
	}
	names = slices.DeleteFunc(names, func(name string) bool { return name == "Content-Transfer-Encoding" })
	slices.Sort(names)
	slices.Sort(want)
	if !slices.Equal(names, want) {
		fault("the header has %q, want %q", names, want)
	}
	if n := len(parsed.Header["Content-Transfer-Encoding"]); len(parsed.Header)-min(n, 1) != len(want) {
		fault("net/mail sees the fields %q", parsed.Header)
	}
	if asked.GetSubject() != "" {
		judgeText("Subject", values["Subject"], asked.GetSubject(), fault)
	}
	judgeParts(text, asked, fault)
}

// sameWords compares texts but for how much white space is between words, which
// folding does not keep.
func sameWords(a, b string) bool {
	return strings.Join(strings.Fields(a), " ") == strings.Join(strings.Fields(b), " ")
}

func judgeText(name, value, want string, fault func(string, ...any)) {
	got, err := new(mime.WordDecoder).DecodeHeader(value)
	if err != nil || !sameWords(got, want) {
		fault("%s is %q, as %q, want %q (%v)", name, got, value, want, err)
	}
}

func judgeAddresses(name, value string, want []*posternv1.Address, fault func(string, ...any)) {
	got, err := netmail.ParseAddressList(value)
	if err != nil {
		fault("%s: net/mail cannot read %q: %v", name, value, err)
		return
	}
	if len(got) != len(want) {
		fault("%s has %d addresses, want %d: %q", name, len(got), len(want), value)
		return
	}
	for i, a := range got {
		// net/mail gives the local part without quotes.
		at := strings.LastIndexByte(a.Address, '@')
		if address := strconv.Quote(a.Address[:at]) + "@" + strings.ToLower(a.Address[at+1:]); address != canonicalAddress(want[i].GetAddress()) {
			fault("%s has the address %q, want %q", name, address, canonicalAddress(want[i].GetAddress()))
		}
		if !sameWords(a.Name, want[i].GetName()) {
			fault("%s has the name %q, want %q", name, a.Name, want[i].GetName())
		}
	}
}

// wirePart is a part of a message as it was read.
type wirePart struct {
	kind, filename, id string
	content            []byte
}

// partFields are those that a part's header may have.
var partFields = []string{"Content-Type", "Content-Transfer-Encoding", "Content-Disposition", "Content-Id"}

// judgeParts checks the parts of a message, by go-message.
func judgeParts(text string, asked *posternv1.Submission, fault func(string, ...any)) {
	entity, err := gomessage.Read(strings.NewReader(text))
	if err != nil {
		fault("go-message cannot read it: %v", err)
		return
	}
	var parts []wirePart
	err = entity.Walk(func(path []int, e *gomessage.Entity, err error) error {
		if err != nil {
			return err
		}
		for field := e.Header.Fields(); len(path) > 0 && field.Next(); {
			if name := textproto.CanonicalMIMEHeaderKey(field.Key()); !slices.Contains(partFields, name) {
				fault("a part has the field %s: %q", name, field.Value())
			}
		}
		kind, _, err := e.Header.ContentType()
		if err != nil || strings.HasPrefix(kind, "multipart/") {
			return err
		}
		p := wirePart{kind: kind, id: strings.Trim(e.Header.Get("Content-Id"), "<>")}
		// go-message decodes what looks like an encoded word even here.
		if _, params, err := mime.ParseMediaType(e.Header.Get("Content-Disposition")); err == nil {
			p.filename = params["filename"]
		}
		p.content, err = io.ReadAll(e.Body)
		parts = append(parts, p)
		return err
	})
	if err != nil {
		fault("go-message cannot read the parts: %v", err)
		return
	}
	if asked.GetText() != "" && (len(parts) == 0 || parts[0].kind != "text/plain" || !sameLines(parts[0].content, asked.GetText())) {
		fault("the text is not %q in %q", asked.GetText(), parts)
	}
	judgeOther(parts, asked, fault)
}

// judgeOther checks the parts that are not text: there are as many as were asked for.
func judgeOther(parts []wirePart, asked *posternv1.Submission, fault func(string, ...any)) {
	want := 1 // text
	if asked.GetHtml() != "" || asked.GetTo() != nil && asked.GetSubject() == "" && asked.GetAttachments() == nil {
		want++
	}
	if asked.GetText() == "" && asked.GetHtml() == "" && asked.GetCalendar() == nil && asked.GetAttachments() == nil {
		return // a template: what it made is not known here
	}
	if asked.GetAttachments() == nil {
		return
	}
	if asked.GetCalendar() != nil {
		want++
	}
	want += len(asked.GetAttachments())
	if len(parts) != want {
		fault("there are %d parts, want %d: %.1000q", len(parts), want, parts)
		return
	}
	if html := parts[1]; html.kind != "text/html" || !sameLines(html.content, asked.GetHtml()) {
		fault("the HTML is %q, want %q", html.content, asked.GetHtml())
	}
	file, a := parts[len(parts)-1], asked.GetAttachments()[0]
	if file.id != a.GetContentId() || !sameWords(file.filename, a.GetFilename()) {
		fault("the attachment is %q with the id %q, want %q, %q", file.filename, file.id, a.GetFilename(), a.GetContentId())
	}
	if file.kind != "message/rfc822" && !bytes.Equal(file.content, a.GetContent()) {
		fault("the attachment has %q, want %q", file.content, a.GetContent())
	}
}

// sameLines compares texts but for how their lines end.
func sameLines(got []byte, want string) bool {
	lines := func(s string) string {
		return strings.TrimRight(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(s), "\n")
	}
	return lines(string(got)) == lines(want)
}
