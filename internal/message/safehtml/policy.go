package safehtml

import (
	"net/url"
	"regexp"
	"strings"
	"sync"

	"github.com/microcosm-cc/bluemonday"
)

// Values of attributes. Everything that is not of this form is left out.
var (
	length    = regexp.MustCompile(`^\s*[0-9]{1,5}(\.[0-9]{1,4})?(px|%|pt|em)?\s*$`)
	number    = regexp.MustCompile(`^-?[0-9]{1,5}$`)
	color     = regexp.MustCompile(`^(#?[0-9A-Fa-f]{3,8}|[A-Za-z]{3,24})$`)
	word      = regexp.MustCompile(`^[A-Za-z-]{1,24}$`)
	fonts     = regexp.MustCompile(`^[A-Za-z0-9 ,'"_-]{1,200}$`)
	fontSize  = regexp.MustCompile(`^[+-]?[0-9]{1,2}$`)
	language  = regexp.MustCompile(`^[A-Za-z0-9-]{1,35}$`)
	listType  = regexp.MustCompile(`^([1AaIi]|disc|circle|square)$`)
	direction = regexp.MustCompile(`(?i)^(ltr|rtl|auto)$`)
)

// policy is what the first pass lets through. There are no names and ids, with
// which a message could pose as a part of the page around it, no classes, which
// are the page's, and no relative URLs, which would lead into it.
var policy = sync.OnceValue(func() *bluemonday.Policy {
	p := bluemonday.NewPolicy()
	p.AllowElements(
		"a", "abbr", "address", "article", "aside", "b", "bdi", "bdo", "big", "blockquote", "br", "caption", "center", "cite",
		"code", "col", "colgroup", "dd", "del", "dfn", "div", "dl", "dt", "em", "figcaption", "figure", "font", "footer",
		"h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "i", "img", "ins", "kbd", "li", "main", "mark", "nav", "ol", "p", "pre",
		"q", "rp", "rt", "ruby", "s", "samp", "section", "small", "span", "strike", "strong", "sub", "sup", "table", "tbody",
		"td", "tfoot", "th", "thead", "time", "tr", "tt", "u", "ul", "var", "wbr",
	)
	p.AllowNoAttrs().Globally()
	// What is in these is no text for readers.
	p.SkipElementsContent("title", "svg", "math", "template", "select", "textarea", "audio", "video", "canvas", "applet", "xmp", "plaintext")

	p.AllowAttrs("style").Globally() // Filtered by the second pass.
	p.AllowAttrs("title").Globally()
	p.AllowAttrs("dir").Matching(direction).Globally()
	p.AllowAttrs("lang").Matching(language).Globally()
	p.AllowAttrs("align", "valign").Matching(word).Globally()
	p.AllowAttrs("bgcolor", "bordercolor").Matching(color).OnElements("table", "tbody", "thead", "tfoot", "tr", "td", "th")
	p.AllowAttrs("width", "height").Matching(length).OnElements("table", "tr", "td", "th", "col", "colgroup", "img", "hr")
	p.AllowAttrs("border", "cellpadding", "cellspacing", "hspace", "vspace").Matching(length).OnElements("table", "img")
	p.AllowAttrs("colspan", "rowspan", "span").Matching(number).OnElements("td", "th", "col", "colgroup")
	p.AllowAttrs("nowrap").OnElements("td", "th")
	p.AllowAttrs("scope", "rules", "frame").Matching(word).OnElements("table", "td", "th")
	p.AllowAttrs("color").Matching(color).OnElements("font", "hr")
	p.AllowAttrs("face").Matching(fonts).OnElements("font")
	p.AllowAttrs("size").Matching(fontSize).OnElements("font", "hr")
	p.AllowAttrs("start", "value").Matching(number).OnElements("ol", "li")
	p.AllowAttrs("type").Matching(listType).OnElements("ol", "ul", "li")
	p.AllowAttrs("alt", "src").OnElements("img")
	p.AllowAttrs("href").OnElements("a")

	p.RequireParseableURLs(true)
	p.AllowRelativeURLs(false)
	p.AllowURLSchemes("http", "https", "mailto", "tel", "cid")
	p.AllowURLSchemeWithCustomPolicy("data", picture)
	return p
})

// pictureData are the pictures that browsers only paint. SVG can do more.
var pictureData = regexp.MustCompile(`^image/(png|gif|jpeg|jpg|webp|bmp);base64,[A-Za-z0-9+/=\s]*$`)

func picture(u *url.URL) bool {
	return u.RawQuery == "" && u.Fragment == "" && pictureData.MatchString(strings.ToLower(u.Opaque[:min(len(u.Opaque), 32)]))
}

// contentID takes the escapes of a cid: URL off (RFC 2392).
func contentID(s string) string {
	if plain, err := url.PathUnescape(s); err == nil {
		return plain
	}
	return s
}
