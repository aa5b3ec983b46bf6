package compose_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/mail"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postern-mail/postern/internal/compose"
	"github.com/postern-mail/postern/internal/message"
)

var noon = time.Date(2026, 11, 27, 12, 0, 0, 0, time.FixedZone("", 3600))

func content(text string) func(context.Context) (io.ReadCloser, error) {
	return func(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
}

// simple is the least that a message has.
func simple() *compose.Message {
	return &compose.Message{
		From: compose.Address{Name: "Ann Lee", Address: "ann@example.org"}, To: []compose.Address{{Address: "bob@example.com"}},
		Subject: "Hello", Text: "Hi Bob\n", MessageID: "1@example.org", Date: noon,
	}
}

func write(t *testing.T, m *compose.Message) (string, compose.Info) {
	t.Helper()
	if wrong := m.Check(); len(wrong) > 0 {
		t.Fatalf("it cannot be written: %+v", wrong)
	}
	var out bytes.Buffer
	info, err := m.Write(t.Context(), &out)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size != int64(out.Len()) {
		t.Errorf("size %d, want %d", info.Size, out.Len())
	}
	return out.String(), info
}

// part is a leaf of a message, decoded.
type part struct{ Path, Type, Name, ContentID, Content string }

func read(t *testing.T, raw string) (*message.Message, []part) {
	t.Helper()
	var parts []part
	m, err := message.Walk(strings.NewReader(raw), message.Limits{}, func(p *message.Part, body io.Reader) error {
		if body == nil || p.IsMultipart() {
			return nil
		}
		decoded, err := io.ReadAll(message.DecodePart(body, p.Encoding))
		parts = append(parts, part{p.Path, p.Type, p.Filename, p.ContentID, string(decoded)})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Defects) > 0 || len(m.Header.Defects) > 0 {
		t.Errorf("defects %v %v in:\n%s", m.Defects, m.Header.Defects, raw)
	}
	return m, parts
}

func TestASimpleMessageIsPlain(t *testing.T) {
	t.Parallel()
	raw, info := write(t, simple())
	want := "Mime-Version: 1.0\r\nMessage-Id: <1@example.org>\r\nDate: Fri, 27 Nov 2026 12:00:00 +0100\r\n" +
		"From: \"Ann Lee\" <ann@example.org>\r\nTo: <bob@example.com>\r\nSubject: Hello\r\n"
	if !strings.HasSuffix(raw, "\r\n\r\nHi Bob\r\n") || info.EightBit || info.UTF8 {
		t.Errorf("%+v:\n%s", info, raw)
	}
	for line := range strings.SplitSeq(want, "\r\n") {
		if !strings.Contains(raw, line) {
			t.Errorf("%q is not in:\n%s", line, raw)
		}
	}
}

func TestPartsAreArrangedAsMailProgramsExpect(t *testing.T) {
	t.Parallel()
	picture := compose.Attachment{Filename: "logo.png", ContentID: "logo", Inline: true, Open: content("PNG")}
	file := compose.Attachment{Filename: "Bericht für März.pdf", Open: content("%PDF")}
	invitation := &compose.Invitation{Method: "request", Content: "BEGIN:VCALENDAR\nEND:VCALENDAR\n"}
	for name, test := range map[string]struct {
		change func(*compose.Message)
		want   []string
	}{
		"text":                         {func(*compose.Message) {}, []string{"text/plain"}},
		"nothing":                      {func(m *compose.Message) { m.Text = "" }, []string{"text/plain"}},
		"both":                         {func(m *compose.Message) { m.HTML = "<p>Hi" }, []string{"multipart/alternative", " text/plain", " text/html"}},
		"HTML":                         {func(m *compose.Message) { m.Text, m.HTML = "", "<p>Hi" }, []string{"multipart/alternative", " text/plain", " text/html"}},
		"pictures":                     {func(m *compose.Message) { m.HTML = "<img src=cid:logo>"; m.Attachments = []compose.Attachment{picture} }, []string{"multipart/related", " multipart/alternative", "  text/plain", "  text/html", " image/png"}},
		"a picture that no HTML shows": {func(m *compose.Message) { m.Attachments = []compose.Attachment{picture} }, []string{"multipart/mixed", " text/plain", " image/png"}},
		"files":                        {func(m *compose.Message) { m.Attachments = []compose.Attachment{file, file} }, []string{"multipart/mixed", " text/plain", " application/pdf", " application/pdf"}},
		"calendar":                     {func(m *compose.Message) { m.Invitation = invitation }, []string{"multipart/alternative", " text/plain", " text/calendar"}},
		"all": {func(m *compose.Message) {
			m.HTML, m.Attachments, m.Invitation = "<p>Hi", []compose.Attachment{file, picture}, invitation
		}, []string{"multipart/mixed", " multipart/related", "  multipart/alternative", "   text/plain", "   text/html", "   text/calendar", "  image/png", " application/pdf"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := simple()
			test.change(m)
			raw, _ := write(t, m)
			got, _ := read(t, raw)
			var outline []string
			var walk func(*message.Part, string)
			walk = func(p *message.Part, indent string) {
				outline = append(outline, indent+p.Type)
				for _, child := range p.Children {
					walk(child, indent+" ")
				}
			}
			walk(got.Root, "")
			if difference := cmp.Diff(test.want, outline); difference != "" {
				t.Errorf("(-want +got):\n%s\n%s", difference, raw)
			}
		})
	}
}

// Every name of a field that is taken can be written, whatever the value.
func TestLongNamesOfFields(t *testing.T) {
	t.Parallel()
	for length := 50; length < 100; length++ {
		for _, value := range []string{"1", " 1", "a b", strings.Repeat("x", 900), strings.Repeat("word ", 300), "ü"} {
			m := simple()
			m.Headers = []compose.Header{{Name: strings.Repeat("x", length), Value: value}}
			if wrong := m.Check(); len(wrong) > 0 {
				if length <= 60 {
					t.Errorf("%d characters: %v", length, wrong)
				}
				continue
			}
			if _, err := m.Write(t.Context(), io.Discard); err != nil {
				t.Errorf("%d characters are taken, and cannot be written with %.20q: %v", length, value, err)
			}
		}
	}
}

// A message that is attached goes out as it is, unless the wire does not carry it.
func TestAttachedMessagesThatCannotGoAsTheyAre(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		content, want string
	}{
		"short lines":      {"Subject: a\r\n\r\n" + strings.Repeat("x", 998) + "\r\n", "message/rfc822"},
		"a long line":      {"Subject: a\r\n\r\n" + strings.Repeat("x", 999) + "\r\n", "application/octet-stream"},
		"a NUL":            {"Subject: a\r\n\r\nx\x00y\r\n", "application/octet-stream"},
		"lines of old Mac": {"Subject: a\r\r" + strings.Repeat("x\r", 999), "message/rfc822"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw, _ := write(t, &compose.Message{
				From: compose.Address{Address: "ann@example.org"}, Text: "See below.", MessageID: "1@example.org", Date: noon,
				Attachments: []compose.Attachment{{Filename: "a.eml", ContentType: "message/rfc822", Open: content(test.content)}},
			})
			for line := range strings.SplitSeq(raw, "\r\n") {
				if len(line) > 998 || strings.ContainsAny(line, "\r\n\x00") {
					t.Errorf("the line %.100q", line)
				}
			}
			if !strings.Contains(raw, "Content-Type: "+test.want+"\r\n") {
				t.Errorf("it is not written as %s:\n%s", test.want, raw)
			}
		})
	}
}

func TestWhatIsWrittenCanBeRead(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("word ", 1000)
	m := &compose.Message{
		From: compose.Address{Name: "Zoë “Z” Okafor, Ph.D. 🐙", Address: "zoe@bücher.example"},
		To:   []compose.Address{{Name: "", Address: "bob@example.com"}, {Name: `Quote " and \ slash`, Address: `"odd one"@example.com`}},
		Cc:   []compose.Address{{Name: "Иван Иванов", Address: "ivan@example.com"}}, Bcc: []compose.Address{{Address: "secret@example.com"}},
		ReplyTo: []compose.Address{{Address: "list@example.com"}},
		Subject: "Grüße 🎉 " + strings.Repeat("sehr lang ", 50), Text: "Grüße\n.\nFrom here on\n" + long + "\n", HTML: "<p>Grüße</p>",
		Headers: []compose.Header{{Name: "X-Order", Value: "4711"}, {Name: "X-Note", Value: "schön =?utf-8?q?x?="}, {Name: "List-Unsubscribe", Value: "<https://example.org/u?x=1>"}, {Name: "X-Looks", Value: "=?utf-8?q?like_a_word?="}},
		Attachments: []compose.Attachment{
			{Filename: "Prüfung 書類.txt", ContentType: "text/plain; charset=iso-8859-1", Open: content("Pr\xfcfung\n")},
			{Filename: "mail.eml", ContentType: "message/rfc822", Open: content("Subject: inner\nX: 1\n\nGr\xc3\xbc\xc3\x9fe\n")},
			{Open: content(strings.Repeat("\x00\xff", 1000))},
			{Filename: "=?utf-8?b?DQpCY2M6IGV2ZQ==?= ü.txt", ContentType: "text/plain", Open: content("x")},
		},
		MessageID: "2@example.org", InReplyTo: []string{"1@example.org"}, References: []string{"0@example.org", "1@example.org"}, Date: noon,
	}
	raw, info := write(t, m)
	if !info.EightBit || info.UTF8 {
		t.Errorf("info %+v: the attached message has 8-bit lines, the header has none", info)
	}
	for line := range strings.SplitSeq(raw, "\r\n") {
		if len(line) > 998 || strings.ContainsAny(line, "\r\n") {
			t.Errorf("a line of %d bytes: %.100q", len(line), line)
		}
	}
	if strings.Contains(raw, "secret@example.com") {
		t.Error("Bcc is told to everybody")
	}
	got, parts := read(t, raw)
	envelope, defects := got.Header.Envelope()
	if len(defects) > 0 {
		t.Errorf("defects %v", defects)
	}
	if envelope.Subject != strings.TrimRight(m.Subject, " ") && envelope.Subject != m.Subject {
		t.Errorf("subject %q", envelope.Subject)
	}
	if a := envelope.From[0]; a.Name != m.From.Name || a.Address != "zoe@xn--bcher-kva.example" {
		t.Errorf("from %+v", a)
	}
	if a := envelope.To[1]; a.Name != m.To[1].Name || a.Address != m.To[1].Address {
		t.Errorf("to %+v", a)
	}
	if fmt.Sprint(envelope.InReplyTo)+envelope.MessageID != "[1@example.org]2@example.org" {
		t.Errorf("ids %+v", envelope)
	}
	for _, h := range m.Headers {
		if value := got.Header.Get(h.Name); value != h.Value {
			t.Errorf("%s: %q, want %q", h.Name, value, h.Value)
		}
	}
	want := []part{
		{"1.1", "text/plain", "", "", strings.ReplaceAll(m.Text, "\n", "\r\n")},
		{"1.2", "text/html", "", "", m.HTML + "\r\n"},
		{"2", "text/plain", "Prüfung 書類.txt", "", "Pr\xfcfung\n"},
		{"4", "application/octet-stream", "", "", strings.Repeat("\x00\xff", 1000)},
		{"5", "text/plain", "=?utf-8?b?DQpCY2M6IGV2ZQ==?= ü.txt", "", "x"},
	}
	parts = slices.DeleteFunc(parts, func(p part) bool { return strings.HasPrefix(p.Path, "3") })
	if difference := cmp.Diff(want, parts); difference != "" {
		t.Errorf("parts (-want +got):\n%s", difference)
	}
	if !strings.Contains(raw, "charset=iso-8859-1") || !strings.Contains(raw, "Subject: inner\r\nX: 1\r\n\r\nGrüße\r\n") {
		t.Errorf("the files are changed:\n%.3000s", raw)
	}
	if parsed, err := mail.ReadMessage(strings.NewReader(raw)); err != nil {
		t.Errorf("net/mail: %v", err)
	} else if _, err := parsed.Header.AddressList("To"); err != nil {
		t.Errorf("net/mail: %v", err)
	}
}

func TestInternationalAddressesNeedUTF8(t *testing.T) {
	t.Parallel()
	m := simple()
	m.To = []compose.Address{{Address: "jörg@bücher.example"}}
	raw, info := write(t, m)
	if !info.UTF8 || !strings.Contains(raw, "<jörg@xn--bcher-kva.example>") {
		t.Errorf("%+v\n%s", info, raw)
	}
}

func TestDraftsKeepBcc(t *testing.T) {
	t.Parallel()
	m := simple()
	m.Bcc, m.KeepBcc = []compose.Address{{Address: "secret@example.com"}}, true
	if raw, _ := write(t, m); !strings.Contains(raw, "Bcc: <secret@example.com>\r\n") {
		t.Errorf("no Bcc in:\n%s", raw)
	}
}

func TestWhatMustNotBeWrittenIsNamed(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*compose.Message)
		field  string
	}{
		"no sender":       {func(m *compose.Message) { m.From.Address = "" }, "from.address"},
		"line break":      {func(m *compose.Message) { m.Subject = "a\r\nBcc: eve@example.com" }, "subject"},
		"bare LF":         {func(m *compose.Message) { m.From.Name = "a\nb" }, "from.name"},
		"NUL":             {func(m *compose.Message) { m.Text = "a\x00b" }, "text"},
		"line separator":  {func(m *compose.Message) { m.Subject = "a\u2028b" }, "subject"},
		"not UTF-8":       {func(m *compose.Message) { m.HTML = "\xff" }, "html"},
		"two addresses":   {func(m *compose.Message) { m.To[0].Address = "a@example.com, b@example.com" }, "to[0].address"},
		"a name in it":    {func(m *compose.Message) { m.To[0].Address = "Bob <b@example.com>" }, "to[0].address"},
		"out of brackets": {func(m *compose.Message) { m.To[0].Address = "a@example.com> SIZE=1" }, "to[0].address"},
		"no domain":       {func(m *compose.Message) { m.To[0].Address = "root" }, "to[0].address"},
		"header name":     {func(m *compose.Message) { m.Headers = []compose.Header{{Name: "X Y", Value: "z"}} }, "headers[0].name"},
		"header of ours":  {func(m *compose.Message) { m.Headers = []compose.Header{{Name: "bcc", Value: "z"}} }, "headers[0].name"},
		"MIME header":     {func(m *compose.Message) { m.Headers = []compose.Header{{Name: "Content-Type", Value: "z"}} }, "headers[0].name"},
		"header value":    {func(m *compose.Message) { m.Headers = []compose.Header{{Name: "X-Y", Value: "a\rb"}} }, "headers[0].value"},
		"a word too long": {func(m *compose.Message) { m.Subject = strings.Repeat("x", 901) }, "subject"},
		"content id":      {func(m *compose.Message) { m.Attachments = []compose.Attachment{{ContentID: "a>b", Open: content("")}} }, "attachments[0].content_id"},
		"media type": {func(m *compose.Message) {
			m.Attachments = []compose.Attachment{{ContentType: "pdf", Open: content("")}}
		}, "attachments[0].content_type"},
		"a part with parts": {func(m *compose.Message) {
			m.Attachments = []compose.Attachment{{ContentType: "multipart/mixed", Open: content("")}}
		}, "attachments[0].content_type"},
		"references": {func(m *compose.Message) { m.References = []string{"a> <b"} }, "references"},
		"method": {func(m *compose.Message) {
			m.Invitation = &compose.Invitation{Method: "A;B", Content: "BEGIN:VCALENDAR"}
		}, "calendar.method"},
		"too many": {func(m *compose.Message) {
			m.Bcc = slices.Repeat([]compose.Address{{Address: "a@example.com"}}, compose.MaxRecipients)
		}, "to"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := simple()
			test.change(m)
			wrong := m.Check()
			if len(wrong) != 1 || wrong[0].Field != test.field {
				t.Errorf("%+v, want one for %s", wrong, test.field)
			}
		})
	}
}

// Ten thousand random strings in every field: what is not refused adds no field to
// the header, and is read again as it was written.
func TestNothingBreaksOut(t *testing.T) {
	t.Parallel()
	const seed = 20261127
	random := rand.New(rand.NewPCG(seed, 1))
	pieces := []string{"\r", "\n", "\r\n", "\x00", "\u2028", "\x85", "\xff", "<", ">", "@", ",", ";", ":", `"`, `\`, "(", ")", " ", "\t", "=?utf-8?q?=0A?=",
		"Bcc: eve@example.com", "example.com", "a", "ü", "🐙", ".", "--", "\r\n\r\n", "=0A", "%0A", "\u202e", "[", "]"}
	text := func() string {
		var b strings.Builder
		for range random.IntN(6) {
			b.WriteString(pieces[random.IntN(len(pieces))])
		}
		return b.String()
	}
	fields := map[string]func(*compose.Message, string){
		"from":    func(m *compose.Message, s string) { m.From.Address = s },
		"name":    func(m *compose.Message, s string) { m.From.Name = s },
		"to":      func(m *compose.Message, s string) { m.To[0].Address = "a" + s + "@example.com" },
		"domain":  func(m *compose.Message, s string) { m.To[0].Address = "a@" + s },
		"to name": func(m *compose.Message, s string) { m.To[0].Name = s },
		"subject": func(m *compose.Message, s string) { m.Subject = s },
		"text":    func(m *compose.Message, s string) { m.Text = s },
		"header":  func(m *compose.Message, s string) { m.Headers = []compose.Header{{Name: "X-A", Value: s}} },
		"field":   func(m *compose.Message, s string) { m.Headers = []compose.Header{{Name: s, Value: "x"}} },
		"id":      func(m *compose.Message, s string) { m.MessageID = "a" + s },
		"refs":    func(m *compose.Message, s string) { m.References = []string{"a" + s} },
		"filename": func(m *compose.Message, s string) {
			m.Attachments = []compose.Attachment{{Filename: s, Open: content(s)}}
		},
		"type": func(m *compose.Message, s string) {
			m.Attachments = []compose.Attachment{{ContentType: "text/x" + s, Open: content("")}}
		},
		"cid": func(m *compose.Message, s string) {
			m.Attachments = []compose.Attachment{{ContentID: s, Open: content("")}}
		},
		"method": func(m *compose.Message, s string) {
			m.Invitation = &compose.Invitation{Method: s, Content: "BEGIN:VCALENDAR"}
		},
	}
	names := []string{
		"Content-Transfer-Encoding", "Content-Type", "Date", "From", "In-Reply-To", "Message-Id", "Mime-Version", "References", "Subject", "To", "X-A",
		"Content-Disposition", "Content-Id",
	}
	written := 0
	for name, set := range fields {
		for range 10_000 / len(fields) {
			s := text()
			m := simple()
			set(m, s)
			if len(m.Check()) > 0 {
				continue
			}
			written++
			var out bytes.Buffer
			if _, err := m.Write(t.Context(), &out); err != nil {
				t.Fatalf("seed %d: %s %q: %v", seed, name, s, err)
			}
			parsed, err := mail.ReadMessage(bytes.NewReader(out.Bytes()))
			if err != nil {
				t.Fatalf("seed %d: %s %q: %v in:\n%s", seed, name, s, err, out.String())
			}
			for field, values := range parsed.Header {
				if !slices.Contains(names, field) && name != "field" || len(values) != 1 {
					t.Fatalf("seed %d: %s %q made the field %s: %q", seed, name, s, field, values)
				}
			}
			if to, err := parsed.Header.AddressList("To"); err != nil || len(to) != 1 {
				t.Fatalf("seed %d: %s %q: to %v, %v", seed, name, s, to, err)
			}
		}
	}
	if written < 1000 {
		t.Errorf("only %d messages were written", written)
	}
}

func TestAnAttachmentThatFailsFailsTheMessage(t *testing.T) {
	t.Parallel()
	m := simple()
	m.Attachments = []compose.Attachment{{Open: func(context.Context) (io.ReadCloser, error) { return nil, io.ErrUnexpectedEOF }}}
	if _, err := m.Write(t.Context(), io.Discard); err != io.ErrUnexpectedEOF {
		t.Errorf("error %v", err)
	}
}

func TestAddressesOnTheWire(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"ann@example.com":              "ann@example.com",
		" ann@example.com":             "",
		"ann@example.com ":             "",
		`"odd one"@example.com`:        `"odd one"@example.com`,
		`"ann"@example.com`:            "ann@example.com",
		"ann@BÜCHER.example":           "ann@xn--bcher-kva.example",
		"jörg@example.com":             "jörg@example.com",
		"ann@[192.0.2.1]":              "ann@[192.0.2.1]",
		"ann@example。com":              "ann@example.com",
		"ann@example.com。":             "",
		"ann@ example.com":             "",
		"ann @example.com":             "",
		"ann@example.com (work)":       "",
		"\u00a0ann@example.com":        "",
		"an\u200bn@example.com":        "",
		"\u202eann@example.com":        "",
		"ann@example.com, eve@x.org":   "",
		"Group: ann@example.com;":      "",
		"@relay.example:ann@x.org":     "",
		"ann":                          "",
		"ann@example.com>\r\nRCPT TO:": "",
	} {
		if wire, _, err := compose.Wire(address); wire != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v, want %q", address, wire, err, want)
		}
	}
}

func FuzzWire(f *testing.F) {
	for _, seed := range []string{"ann@example.com", `"odd one"@example.com`, "jörg@bücher.example", "a@[192.0.2.1]", "ann@example.net。", "a@b@c", "<a@b>", "a@b (c)"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, address string) {
		wire, utf8Needed, err := compose.Wire(address)
		if err != nil {
			return
		}
		if strings.ContainsAny(wire, "\r\n\x00") {
			t.Errorf("%q goes on the wire as %q", address, wire)
		}
		again, utf8Again, err := compose.Wire(wire)
		if err != nil || again != wire || utf8Again != utf8Needed {
			t.Errorf("%q is %q, and that %q, %v", address, wire, again, err)
		}
	})
}
