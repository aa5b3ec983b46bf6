// Package safehtml makes the HTML of strangers safe to show within a page of
// ours: what is not known to be harmless is left out.
//
// It works in two passes. The first is bluemonday's, which lets pass only the
// elements and attributes of a policy. The second knows about mail: it points
// images at the parts of the message, keeps remote ones out if it is told to,
// filters styles, hardens links, and closes what was left open, so that the
// result cannot reach out of the element that it is put into.
package safehtml

import (
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// Options say what becomes of images, and how long the result may be.
type Options struct {
	// Image gives the URL of the image with that Content-ID, or "" if the
	// message has none. nil means that it has none at all.
	Image func(contentID string) string
	// BlockRemote leaves images out that would be loaded from elsewhere.
	BlockRemote bool
	// Limit is in bytes, but for the end tags of what it cuts off.
	Limit int
}

// Result is HTML that can be shown.
type Result struct {
	HTML string
	// Remote says that there are images that would be loaded from elsewhere, or
	// were, before they were left out.
	Remote bool
	// Truncated says that there was more than the limit.
	Truncated bool
}

// Sanitize makes a document or a fragment of HTML in UTF-8 safe. The result is
// a fragment.
func Sanitize(page string, o Options) Result {
	w := writer{Options: o, open: make(map[string]int)}
	z := html.NewTokenizer(policy().SanitizeReader(strings.NewReader(page)))
	for {
		kind := z.Next()
		if kind == html.ErrorToken {
			break // The end: a string has no other errors.
		}
		if w.b.Len() > o.Limit {
			w.Truncated = true
			break
		}
		switch kind {
		case html.TextToken:
			w.text(z.Raw())
		case html.StartTagToken, html.SelfClosingTagToken:
			w.start(z.Token())
		case html.EndTagToken:
			name, _ := z.TagName()
			w.end(string(name))
		}
	}
	w.closeDownTo(0)
	w.HTML = w.b.String()
	return w.Result
}

// writer is the second pass.
type writer struct {
	Options
	Result

	b strings.Builder
	// stack has the elements that are open, and open how many there are of
	// each name.
	stack []string
	open  map[string]int
}

// text writes a run of text as the first pass has escaped it.
func (w *writer) text(raw []byte) {
	room := max(w.Limit-w.b.Len(), 0)
	if len(raw) <= room {
		w.b.Write(raw)
		return
	}
	// A cut must not split a character or what stands for one.
	cut := strings.ToValidUTF8(string(raw[:room]), "")
	if i := strings.LastIndexByte(cut, '&'); i >= 0 && !strings.Contains(cut[i:], ";") {
		cut = cut[:i]
	}
	w.b.WriteString(cut)
	w.Truncated = true
}

func (w *writer) start(t html.Token) {
	kept := t.Attr[:0]
	for _, a := range t.Attr {
		keep := true
		switch {
		case a.Key == "style":
			a.Val = filterStyle(a.Val)
			keep = a.Val != ""
		case t.DataAtom == atom.Img && a.Key == "src":
			a.Val = w.image(a.Val)
			keep = a.Val != ""
		case t.DataAtom == atom.A && a.Key == "href":
			keep = hasScheme(a.Val, "http", "https", "mailto", "tel")
		}
		if keep {
			kept = append(kept, a)
		}
	}
	t.Attr = kept
	if t.DataAtom == atom.A && len(kept) > 0 {
		// The page that is opened must not get hold of ours, nor learn its
		// address, which may name the message.
		t.Attr = append(t.Attr, html.Attribute{Key: "target", Val: "_blank"}, html.Attribute{Key: "rel", Val: "noopener noreferrer nofollow"})
	}
	if !unclosed[t.DataAtom] {
		if len(w.stack) >= maxDepth {
			return // Its content stays.
		}
		w.stack = append(w.stack, t.Data)
		w.open[t.Data]++
	}
	t.Type = html.StartTagToken // a slash in it closes nothing, but in XML
	w.b.WriteString(t.String())
}

// maxDepth bounds the elements that are open at a time. Browsers stop nesting
// at 512.
const maxDepth = 250

// unclosed are the elements that have no end tag, or can do without.
var unclosed = map[atom.Atom]bool{
	atom.Br: true, atom.Hr: true, atom.Img: true, atom.Col: true, atom.Wbr: true,
	atom.P: true, atom.Li: true, atom.Dt: true, atom.Dd: true,
}

// end closes the element of that name and those within it. An end tag without a
// beginning is left out: it would close an element of the page around.
func (w *writer) end(name string) {
	if unclosed[atom.Lookup([]byte(name))] {
		w.b.WriteString("</" + name + ">")
		return
	}
	if w.open[name] == 0 {
		return
	}
	depth := len(w.stack) - 1
	for w.stack[depth] != name {
		depth--
	}
	w.closeDownTo(depth)
}

func (w *writer) closeDownTo(depth int) {
	for len(w.stack) > depth {
		last := len(w.stack) - 1
		name := w.stack[last]
		w.stack = w.stack[:last]
		w.open[name]--
		w.b.WriteString("</" + name + ">")
	}
}

// image gives the URL under which an image is to be loaded, or "".
func (w *writer) image(src string) string {
	switch {
	case hasScheme(src, "cid"):
		if w.Image == nil {
			return ""
		}
		return w.Image(contentID(src[len("cid:"):]))
	case hasScheme(src, "data"):
		return src // Of a type that the first pass has found to be a picture.
	case hasScheme(src, "http", "https"):
		w.Remote = true
		if !w.BlockRemote {
			return src
		}
	}
	return ""
}

func hasScheme(url string, schemes ...string) bool {
	scheme, _, ok := strings.Cut(url, ":")
	if !ok {
		return false
	}
	for _, s := range schemes {
		if strings.EqualFold(scheme, s) {
			return true
		}
	}
	return false
}
