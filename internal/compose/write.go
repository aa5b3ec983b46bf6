package compose

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"path"
	"strings"

	gomessage "github.com/emersion/go-message"
	"github.com/emersion/go-message/mail"
	"github.com/emersion/go-message/textproto"

	"github.com/postern-mail/postern/internal/message"
)

// maxPlainLine is the longest line that is written as it is (RFC 5322 section
// 2.1.1).
const maxPlainLine = 998

// Write writes a message. Check must have found nothing wrong with it. It fails as
// w or the content of an attachment does; what was written by then is no message.
func (m *Message) Write(ctx context.Context, w io.Writer) (Info, error) {
	counted := &counter{w: w, header: true}
	text, err := m.text()
	if err != nil {
		return Info{}, err
	}
	header, err := m.header()
	if err != nil {
		return Info{}, err
	}
	tree := m.tree(text)
	if err := tree.settle(ctx); err != nil {
		return Info{}, err
	}
	if err := tree.write(ctx, counted, header.Header); err != nil {
		return Info{}, err
	}
	return counted.Info, nil
}

// text is the plain form of the body.
func (m *Message) text() (string, error) {
	if m.Text != "" || m.HTML == "" {
		return m.Text, nil
	}
	text, _, err := message.HTMLToText(strings.NewReader(m.HTML), MaxBody)
	if err != nil {
		return "", fmt.Errorf("make text of the HTML: %w", err)
	}
	return text, nil
}

// header makes the fields of the message. go-message writes the last one first.
func (m *Message) header() (mail.Header, error) {
	var h mail.Header
	for i := len(m.Headers) - 1; i >= 0; i-- {
		field := m.Headers[i]
		h.Add(field.Name, encodeText(field.Value))
	}
	if len(m.References) > 0 {
		h.SetMsgIDList("References", m.References)
	}
	if len(m.InReplyTo) > 0 {
		h.SetMsgIDList("In-Reply-To", m.InReplyTo)
	}
	h.Set("Subject", encodeText(m.Subject))
	lists := m.lists()
	for i := len(lists) - 1; i >= 0; i-- {
		l := lists[i]
		if len(l.addresses) == 0 || l.header == "Bcc" && !m.KeepBcc {
			continue
		}
		if err := setAddresses(&h, l.header, l.addresses); err != nil {
			return h, err
		}
	}
	if err := setAddresses(&h, "From", []Address{m.From}); err != nil {
		return h, err
	}
	h.SetDate(m.Date)
	h.SetMessageID(m.MessageID)
	h.Set("MIME-Version", "1.0")
	return h, nil
}

// wordBytes is how much of a text goes into one encoded word (RFC 2047 section 2).
const wordBytes = 45

// encodeText writes text for a field of the header. ASCII text that looks like an
// encoded word would be read as one, and is encoded itself.
func encodeText(text string) string {
	if !isASCII(text) || !strings.Contains(text, "=?") {
		return mime.QEncoding.Encode("utf-8", text)
	}
	var words []string
	for len(text) > 0 {
		n := min(wordBytes, len(text))
		words = append(words, "=?us-ascii?b?"+base64.StdEncoding.EncodeToString([]byte(text[:n]))+"?=")
		text = text[n:]
	}
	return strings.Join(words, " ")
}

func setAddresses(h *mail.Header, name string, addresses []Address) error {
	list := make([]string, len(addresses))
	for i, a := range addresses {
		wire, _, err := Wire(a.Address)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		list[i] = displayName(a.Name) + "<" + wire + ">"
	}
	h.Set(name, strings.Join(list, ", "))
	return nil
}

// displayName writes a name in front of an address.
func displayName(name string) string {
	switch {
	case name == "":
		return ""
	case isASCII(name):
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `" `
	}
	// Within a phrase Q allows few characters (RFC 2047 section 5.3); B has no others.
	return mime.BEncoding.Encode("utf-8", name) + " "
}

// node is a part of a message: a multipart, or a leaf with content.
type node struct {
	contentType string
	params      map[string]string
	children    []*node

	encoding    string
	disposition string
	filename    string
	contentID   string
	open        func(ctx context.Context) (io.ReadCloser, error)
}

// tree arranges what the message has: mixed(related(alternative(text, html,
// calendar), pictures), files), without the levels that hold only one part.
func (m *Message) tree(text string) *node {
	var alternatives []*node
	if text != "" || m.HTML == "" {
		alternatives = append(alternatives, textNode("text/plain", text))
	}
	if m.HTML != "" {
		alternatives = append(alternatives, textNode("text/html", m.HTML))
	}
	if m.Invitation != nil {
		calendar := textNode("text/calendar", m.Invitation.Content)
		calendar.params["method"] = strings.ToUpper(m.Invitation.Method)
		alternatives = append(alternatives, calendar)
	}
	body := group("alternative", alternatives)
	pictures, files := []*node{body}, []*node(nil)
	for i := range m.Attachments {
		a := &m.Attachments[i]
		if a.Inline && m.HTML != "" {
			pictures = append(pictures, a.node())
		} else {
			files = append(files, a.node())
		}
	}
	related := group("related", pictures)
	if len(related.children) > 0 && related.contentType == "multipart/related" {
		related.params["type"] = body.contentType // RFC 2387 section 3.1
	}
	return group("mixed", append([]*node{related}, files...))
}

// group puts parts under one, unless there is only one.
func group(subtype string, parts []*node) *node {
	if len(parts) == 1 {
		return parts[0]
	}
	return &node{contentType: "multipart/" + subtype, params: map[string]string{}, children: parts}
}

func textNode(contentType, text string) *node {
	// A lone CR or LF would be content; on the wire lines end in CRLF.
	text = strings.NewReplacer("\r\n", "\r\n", "\r", "\r\n", "\n", "\r\n").Replace(text)
	if text != "" && !strings.HasSuffix(text, "\r\n") {
		text += "\r\n"
	}
	n := &node{contentType: contentType, params: map[string]string{"charset": "utf-8"}, encoding: "quoted-printable"}
	if isPlain(text) {
		n.encoding = "7bit"
	}
	n.open = func(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
	return n
}

// isPlain reports whether text may be written as it is.
func isPlain(text string) bool {
	if !isASCII(text) {
		return false
	}
	for line := range strings.SplitSeq(text, "\r\n") {
		if len(line) > maxPlainLine {
			return false
		}
	}
	return true
}

// MediaType is the type of the content: as given, or by the name of the file.
func (a *Attachment) MediaType() string {
	if a.ContentType != "" {
		return a.ContentType
	}
	if byName := mime.TypeByExtension(strings.ToLower(path.Ext(a.Filename))); byName != "" {
		return byName
	}
	return "application/octet-stream"
}

func (a *Attachment) node() *node {
	n := &node{encoding: "base64", disposition: "attachment", filename: a.Filename, contentID: a.ContentID, open: a.Open}
	if a.Inline {
		n.disposition = "inline"
	}
	var err error
	if n.contentType, n.params, err = mime.ParseMediaType(a.MediaType()); err != nil {
		n.contentType, n.params = "application/octet-stream", map[string]string{}
	}
	if strings.EqualFold(n.contentType, "message/rfc822") {
		n.encoding = "8bit" // RFC 2046 section 5.2.1 allows no other
	}
	return n
}

// settle decides how a message that is attached is written. RFC 2046 section 5.2.1 has
// it written as it is; what the wire does not carry so, for its lines are too long or
// it has NULs, is a file like any other.
func (n *node) settle(ctx context.Context) error {
	for _, child := range n.children {
		if err := child.settle(ctx); err != nil {
			return err
		}
	}
	if n.encoding != "8bit" {
		return nil
	}
	content, err := n.open(ctx)
	if err != nil {
		return err
	}
	defer content.Close()
	clean, err := fitsWire(content)
	if err == nil && !clean {
		n.contentType, n.params, n.encoding = "application/octet-stream", map[string]string{}, "base64"
	}
	return err
}

// write writes a part with all below it, with the fields given before its own.
func (n *node) write(ctx context.Context, w io.Writer, header gomessage.Header) error {
	multipart := n.describe(&header, w)
	if err := textproto.WriteHeader(w, header.Header); err != nil {
		return err
	}
	return n.fill(ctx, w, multipart)
}

// describe puts the fields of MIME into a header, and returns what writes the
// children, nil for a leaf.
func (n *node) describe(header *gomessage.Header, w io.Writer) *textproto.MultipartWriter {
	if n.contentID != "" {
		header.Set("Content-ID", "<"+n.contentID+">")
	}
	if n.disposition != "" {
		params := map[string]string{}
		switch {
		case !isASCII(n.filename), strings.Contains(n.filename, "=?"):
			// RFC 2231 section 4. Encoded words have no place here (RFC 2047 section
			// 5), but many programs decode what looks like one.
			params["filename*"] = "utf-8''" + percentEncode(n.filename)
		case n.filename != "":
			params["filename"] = n.filename
		}
		header.SetContentDisposition(n.disposition, params)
	}
	if n.encoding != "" {
		header.Set("Content-Transfer-Encoding", n.encoding)
	}
	if len(n.children) == 0 {
		header.SetContentType(n.contentType, n.params)
		return nil
	}
	multipart := textproto.NewMultipartWriter(w)
	n.params["boundary"] = multipart.Boundary()
	header.SetContentType(n.contentType, n.params)
	return multipart
}

// percentEncode writes the bytes that are not letters or digits as two digits each.
func percentEncode(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		if '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// fill writes what comes behind the header.
func (n *node) fill(ctx context.Context, w io.Writer, multipart *textproto.MultipartWriter) error {
	if multipart == nil {
		return n.content(ctx, w)
	}
	for _, child := range n.children {
		// A part is written at once and in order, so the writer below it is w.
		var header gomessage.Header
		inner := child.describe(&header, w)
		part, err := multipart.CreatePart(header.Header)
		if err != nil {
			return err
		}
		if err := child.fill(ctx, part, inner); err != nil {
			return err
		}
	}
	return multipart.Close()
}

// content writes a leaf.
func (n *node) content(ctx context.Context, w io.Writer) error {
	content, err := n.open(ctx)
	if err != nil {
		return err
	}
	defer content.Close()
	switch n.encoding {
	case "base64":
		wrapped := &lineWriter{w: w}
		encoder := base64.NewEncoder(base64.StdEncoding, wrapped)
		if _, err := io.Copy(encoder, content); err != nil {
			return err
		}
		if err := encoder.Close(); err != nil {
			return err
		}
		return wrapped.end()
	case "quoted-printable":
		encoder := quotedprintable.NewWriter(w)
		if _, err := io.Copy(encoder, content); err != nil {
			return err
		}
		return encoder.Close()
	}
	_, err = io.Copy(w, CRLF(content))
	return err
}

// counter counts what is written, and notes what is not ASCII.
type counter struct {
	w io.Writer
	Info
	header bool
	last   [3]byte
}

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	rest := p
	if c.header {
		rest = c.scanHeader(p)
	}
	c.EightBit = c.EightBit || bytes.ContainsFunc(rest, func(r rune) bool { return r >= 0x80 })
	n, err := c.w.Write(p)
	c.Size += int64(n)
	return n, err
}

// scanHeader looks for the empty line that ends the header, and returns what is
// behind it.
func (c *counter) scanHeader(p []byte) []byte {
	for i, b := range p {
		c.UTF8 = c.UTF8 || b >= 0x80
		if b == '\n' && string(c.last[:]) == "\r\n\r" {
			c.header = false
			return p[i+1:]
		}
		c.last = [3]byte{c.last[1], c.last[2], b}
	}
	return nil
}
