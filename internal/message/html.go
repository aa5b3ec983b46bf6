package message

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"github.com/postern-mail/postern/internal/message/charset"
)

const (
	// maxHTMLToken bounds one tag or run of text; pictures in data: URLs make
	// long ones. What is longer ends the text.
	maxHTMLToken = 4 << 20
	// htmlPrescan is how far browsers look for <meta charset>.
	htmlPrescan = 1024
	// maxHTMLDepth bounds the lists and quotes that are kept track of.
	maxHTMLDepth = 20
)

// sniffHTML finds the charset that a document declares about itself, if the
// header says nothing.
func sniffHTML(r io.Reader, label string) (io.Reader, string) {
	if charset.Known(label) && charset.Canonical(label) != "us-ascii" {
		return r, label
	}
	br := bufio.NewReaderSize(r, 4*htmlPrescan)
	head, _ := br.Peek(htmlPrescan)
	if declared := metaCharset(head); charset.Known(declared) && !strings.HasPrefix(charset.Canonical(declared), "utf-16") {
		return br, declared // A meta that can be read as ASCII is not in UTF-16.
	}
	return br, label
}

// metaCharset reads <meta charset> and its older form with http-equiv.
func metaCharset(head []byte) string {
	z := html.NewTokenizer(bytes.NewReader(head))
	for {
		switch z.Next() {
		case html.ErrorToken:
			return ""
		case html.StartTagToken, html.SelfClosingTagToken:
			name, more := z.TagName()
			if atom.Lookup(name) != atom.Meta {
				continue
			}
			for more {
				var key, val []byte
				key, val, more = z.TagAttr()
				switch string(key) {
				case "charset":
					return string(val)
				case "content":
					if c := parseValue(string(val), "").params["charset"]; c != "" {
						return c
					}
				}
			}
		}
	}
}

// HTMLToText reads HTML in UTF-8 as plain text of at most limit bytes:
// paragraphs, lists, quotes, the addresses of links; no scripts, no styles. It
// streams. The error is r's.
func HTMLToText(r io.Reader, limit int) (text string, truncated bool, err error) {
	z := html.NewTokenizer(r)
	z.SetMaxBuf(maxHTMLToken)
	w := htmlWriter{limit: limit}
	for !w.full() {
		switch z.Next() {
		case html.ErrorToken:
			err = z.Err()
			if errors.Is(err, io.EOF) {
				err = nil
			}
			if errors.Is(err, html.ErrBufferExceeded) {
				err, truncated = nil, true
			}
			return w.finish(), truncated, err
		case html.TextToken:
			if w.skip == 0 {
				w.text(z.Text())
			}
		case html.StartTagToken:
			w.start(z, false)
		case html.SelfClosingTagToken:
			w.start(z, true)
		case html.EndTagToken:
			name, _ := z.TagName()
			w.end(atom.Lookup(name))
		}
	}
	return w.finish(), true, nil
}

// htmlWriter writes text as the tags come, without building a tree.
type htmlWriter struct {
	b     strings.Builder
	limit int

	skip   atom.Atom // the element whose content is not text
	pre    int
	breaks int  // line ends owed before the next text
	space  bool // a blank owed
	inLine bool // something stands on the line
	marked bool // the mark of a list item does, and waits for its text
	cell   bool // a cell of the row has come

	quotes     int
	lineQuotes int   // those of the line written last
	lists      []int // the number of the next item; -1 for bullets
	href       string
	link       int // where the text of the link begins
}

// full: limit bytes and what a pending link may still add.
func (w *htmlWriter) full() bool { return w.b.Len() > w.limit }

func (w *htmlWriter) finish() string {
	return strings.TrimRight(truncate(w.b.String(), w.limit), " \n")
}

// text writes a run of text, blanks folded but for <pre>. The tokenizer's
// Text has entities decoded.
func (w *htmlWriter) text(raw []byte) {
	s := string(raw)
	if w.pre > 0 {
		for i, line := range strings.Split(normaliseLines(s), "\n") {
			if i > 0 {
				w.lineBreak()
			}
			if line != "" {
				w.write(line)
			}
		}
		return
	}
	for len(s) > 0 && !w.full() {
		i := strings.IndexAny(s, " \t\n\r\f")
		if i < 0 {
			w.write(s)
			return
		}
		if i > 0 {
			w.write(s[:i])
		}
		w.space = true
		s = strings.TrimLeft(s[i:], " \t\n\r\f")
	}
}

// write puts the owed line ends, quote marks and blank before s.
func (w *htmlWriter) write(s string) {
	if w.marked {
		w.marked, w.breaks, w.space = false, 0, false
	}
	if w.b.Len() > 0 {
		for ; w.breaks > 0; w.breaks-- {
			w.b.WriteByte('\n')
			if w.breaks > 1 {
				// An empty line between two depths of quoting is of neither.
				w.b.WriteString(strings.Repeat(">", min(w.quotes, w.lineQuotes)))
			}
			w.inLine = false
		}
	}
	w.breaks = 0
	if !w.inLine && w.quotes > 0 {
		w.b.WriteString(strings.Repeat(">", w.quotes) + " ")
	}
	if w.space && w.inLine {
		w.b.WriteByte(' ')
	}
	w.space, w.inLine, w.lineQuotes = false, true, w.quotes
	w.b.WriteString(s)
}

// block owes n line ends: 1 for a new line, 2 for an empty line between.
func (w *htmlWriter) block(n int) {
	if n == 0 {
		return
	}
	if w.inLine || w.breaks > 0 {
		w.breaks = max(w.breaks, n)
	}
	w.space = false
}

// lineBreak is <br>, which counts each time; more than two say nothing more.
func (w *htmlWriter) lineBreak() {
	if w.b.Len() > 0 && w.breaks < 3 {
		w.breaks++
	}
	w.space = false
}

func (w *htmlWriter) start(z *html.Tokenizer, selfClosing bool) {
	name, hasAttr := z.TagName()
	tag := atom.Lookup(name)
	if w.skip != 0 {
		return
	}
	switch tag {
	case atom.Script, atom.Style, atom.Title, atom.Noscript, atom.Iframe, atom.Textarea, atom.Noembed, atom.Noframes:
		w.skip = tag // Raw text up to the end tag, even behind "<script/>".
	case atom.Svg, atom.Select, atom.Template:
		if !selfClosing {
			w.skip = tag
		}
	case atom.Br:
		w.lineBreak()
	case atom.Hr:
		w.block(1)
		w.write("---")
		w.block(1)
	case atom.Img:
		if alt := strings.TrimSpace(attribute(z, hasAttr, "alt")); alt != "" {
			w.text([]byte(alt))
		}
	case atom.A:
		w.endLink()
		w.href, w.link = attribute(z, hasAttr, "href"), w.b.Len()
	case atom.Ul, atom.Ol:
		w.block(w.listSpacing())
		next := -1
		if tag == atom.Ol {
			next = 1
		}
		if len(w.lists) < maxHTMLDepth {
			w.lists = append(w.lists, next)
		}
	case atom.Li:
		w.item()
	case atom.Blockquote:
		w.block(2)
		w.quotes = min(w.quotes+1, maxHTMLDepth)
	case atom.Pre:
		w.block(2)
		w.pre++
	case atom.Tr:
		w.block(1)
		w.cell = false
	case atom.Td, atom.Th:
		if w.cell && w.inLine {
			w.space = true
		}
		w.cell = true
	default:
		w.block(spacing(tag))
	}
}

func (w *htmlWriter) end(tag atom.Atom) {
	if w.skip != 0 {
		if tag == w.skip {
			w.skip = 0
		}
		return
	}
	switch tag {
	case atom.A:
		w.endLink()
	case atom.Ul, atom.Ol:
		if len(w.lists) > 0 {
			w.lists = w.lists[:len(w.lists)-1]
		}
		w.block(w.listSpacing())
	case atom.Blockquote:
		w.block(2)
		w.quotes = max(w.quotes-1, 0)
	case atom.Pre:
		w.pre = max(w.pre-1, 0)
		w.block(2)
	default:
		w.block(spacing(tag))
	}
}

// spacing is how many line ends an element puts around itself; 0 for those
// within a line.
func spacing(tag atom.Atom) int {
	switch tag {
	case atom.P, atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6, atom.Table, atom.Dl, atom.Figure, atom.Fieldset:
		return 2
	case atom.Div, atom.Tr, atom.Section, atom.Article, atom.Header, atom.Footer, atom.Nav, atom.Aside, atom.Main, atom.Address,
		atom.Center, atom.Form, atom.Dt, atom.Dd, atom.Li, atom.Body, atom.Caption, atom.Thead, atom.Tbody, atom.Tfoot, atom.Option, atom.Details, atom.Summary:
		return 1
	}
	return 0
}

// listSpacing sets a list apart from text, but not from the list it is in.
func (w *htmlWriter) listSpacing() int {
	if len(w.lists) == 0 {
		return 2
	}
	return 1
}

func (w *htmlWriter) item() {
	w.marked = false // An empty item keeps its mark.
	w.block(1)
	depth := len(w.lists)
	mark := "- "
	if depth > 0 && w.lists[depth-1] > 0 {
		mark = strconv.Itoa(w.lists[depth-1]) + ". "
		w.lists[depth-1]++
	}
	w.write(strings.Repeat("  ", max(depth-1, 0)) + mark)
	w.marked = true
}

// endLink writes the address of a link behind its text, unless the text says
// it already.
func (w *htmlWriter) endLink() {
	href := strings.TrimSpace(w.href)
	w.href = ""
	if href == "" || w.link > w.b.Len() {
		return
	}
	shown := w.b.String()[w.link:]
	lower := strings.ToLower(href[:min(len(href), 8)])
	switch {
	case strings.HasPrefix(lower, "mailto:"):
		href = href[len("mailto:"):]
	case !strings.HasPrefix(lower, "http:") && !strings.HasPrefix(lower, "https:") && !strings.HasPrefix(lower, "tel:") && !strings.HasPrefix(lower, "ftp:"):
		return // Anchors, javascript:, cid:.
	}
	bare := strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(href, "https://"), "http://"), "/")
	if strings.TrimSpace(shown) == "" || strings.Contains(shown, bare) {
		return
	}
	w.space = true
	w.write("<" + cleanText(href) + ">")
}

func attribute(z *html.Tokenizer, more bool, name string) string {
	for more {
		var key, val []byte
		key, val, more = z.TagAttr()
		if string(key) == name {
			return string(val)
		}
	}
	return ""
}
