package safehtml

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// mutating is HTML that parsers read in different ways, or in another way the
// second time. Much of it is from the public collections of what has got past
// sanitisers.
var mutating = []string{
	`<form><math><mtext></form><form><mglyph><svg><mtext><style><path id="</style><img onerror=alert(1) src>">`,
	`<math><mtext><table><mglyph><style><math href="javascript:alert(1)">x</math>`,
	`<math><annotation-xml encoding="text/html"><style><img src=x onerror=alert(1)></style></annotation-xml></math>`,
	`<svg><annotation-xml><foreignobject><style><!--</style><p id="--><img src='x' onerror='alert(1)'>">`,
	`<svg><title><style></title><img src=x onerror=alert(1)></style></svg>`, `<svg><desc><style></desc><img src=x onerror=alert(1)>`,
	`<svg><foreignObject><math><mi><style><img src=x onerror=alert(1)>`, `<svg></p><title><a id="</title><img src=x onerror=alert(1)>">`,
	`<noembed><img title="</noembed><img src=x onerror=alert(1)>"></noembed>`, `<noframes><img title="</noframes><img src=x onerror=alert(1)>"></noframes>`,
	`<noscript><style></noscript><img src=x onerror=alert(1)></style>`, `<iframe><img title="</iframe><img src=x onerror=alert(1)>"></iframe>`,
	`<xmp><svg></xmp><img src=x onerror=alert(1)>`, `<plaintext><img title="</plaintext><img src=x onerror=alert(1)>">`,
	`<select><template><style><!--</style><a rel="--></style></template></select><img id=x onerror=alert(1) src>">x</a>`,
	`<select><style><img src=x onerror=alert(1)></style></select>`, `<select><iframe><select><img src=x onerror=alert(1)>`,
	`<table><caption><svg><title><table><style><img src=x onerror=alert(1)></style>`, `<table><td><table><td><form><svg><style><img src=x onerror=alert(1)>`,
	`<a href="https://example.com/&quot;><img src=x onerror=alert(1)>">x</a>`, `<a title="&quot; onmouseover=alert(1) x=&quot;" href="https://example.com">x</a>`,
	`<img alt="` + "`" + `><script>alert(1)</script>" src="https://127.0.0.1:9/x">`, `<img src="https://127.0.0.1:9/` + "`" + ` onerror=alert(1) x=">`,
	`<p title="--><img src=x onerror=alert(1)>">x</p>`, `<p title="]]><img src=x onerror=alert(1)>">x</p>`, `<!-- <img title="--><img src=x onerror=alert(1)>"> -->`,
	`<!--><img src=x onerror=alert(1)>`, `<!---><img src=x onerror=alert(1)>`, `<!--x--!><img src=x onerror=alert(1)>`, `<? ><img src=x onerror=alert(1)> ?>`, `</ ><img src=x onerror=alert(1)>`,
	`<a/href="https://example.com"/onclick=alert(1)>x</a>`, `<p/style="color:red"onclick=alert(1)>x`, "<p\x0conclick=alert(1)>x", "<\x00script>alert(1)</script>", "<scr\x00ipt>alert(1)</script>",
	"<p style=\"font-family:'\\27;background:\\75rl(https://evil.example)'\">x</p>", `<p style="font-family:&quot;</style><img src=x onerror=alert(1)>&quot;">x</p>`,
	"<a href=\"https://example.com\u2028\">x</a>", "<a href=\"\u00a0javascript:alert(1)\">x</a>", "<a href=\"java&NewLine;script:alert(1)\">x</a>", "<a href=\"java&Tab;script&colon;alert(1)\">x</a>",
	`<font color="red&#x22; onmouseover=&#x22;alert(1)">x</font>`, `<td width="1&quot; onclick=&quot;alert(1)">x</td>`, `<img width=1 height=1 src="data:image/png;base64,AA&quot; onerror=&quot;alert(1)">`,
	`<img src="data:image/png;base64,PHN2Zz4=" onload=alert(1)>`, `<img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">`, `<img src="DATA:IMAGE/SVG+XML,<svg onload=alert(1)>">`,
	strings.Repeat("<div>", 600) + `<svg><style><img src=x onerror=alert(1)>`, strings.Repeat("<table><td>", 300) + `<img src=x onerror=alert(1)>`,
	strings.Repeat("<b><i>", 100) + "</b>" + `<a href="javascript:alert(1)">x</a>`, `<b><p><b><p><b></b></p></b><img src=x onerror=alert(1)>`,
	`<ruby><rt><math><rp><style><img src=x onerror=alert(1)></style>`, `<dl><dt><svg><dd><style><img src=x onerror=alert(1)></style></dd></svg></dl>`,
	`<frameset><noframes><img src=x onerror=alert(1)></noframes></frameset>`, `<body><body onload=alert(1)>`, `<html><html onclick=alert(1)>`, `<head><base href="//evil.example">`,
	`<isindex prompt="<img src=x onerror=alert(1)>">`, `<listing>&lt;img src=x onerror=alert(1)&gt;</listing>`, `<pre>&lt;img src=x onerror=alert(1)&gt;</pre>`, `&lt;img src=x onerror=alert(1)&gt;`,
	`<a href="https://example.com" style="color:red" id=x name=y class=z target=_self rel=opener>x</a>`,
}

// judge is a page that puts each result into an element of its own, the way a page of
// mail would, reads it back and puts it in once more. A script that runs, an element
// or attribute that could run one, and what ends up beside its element are told.
const judge = `<!doctype html><meta charset="utf-8"><body><script>
const bad = [], where = {};
let current = "";
window.alert = () => bad.push("a script ran after " + current);
window.onerror = (text) => bad.push("error: " + text);
const results = %s, forbidden = %s;
const around = document.body.childElementCount + results.length * 2;
function look(root, n) {
  for (const e of root.querySelectorAll("*")) {
    if (forbidden.includes(e.localName) || e.namespaceURI !== "http://www.w3.org/1999/xhtml") bad.push(n + ": <" + e.localName + ">");
    for (const a of e.attributes) {
      if (a.name.startsWith("on") || ["id", "name", "class", "srcset", "srcdoc", "action", "formaction", "background"].includes(a.name)) bad.push(n + ": " + a.name);
    }
    if (e.href !== undefined && e.getAttribute("href") !== null && !/^(https?|mailto|tel):/.test(e.href)) bad.push(n + ": link to " + e.href);
    for (const p of e.style ? e.style : []) if (/url|expression|position/i.test(p + e.style.getPropertyValue(p))) bad.push(n + ": style " + p);
  }
}
results.forEach((html, n) => {
  current = "" + n;
  for (let round = 0; round < 2; round++) {
    const root = document.createElement("div");
    document.body.append(root);
    root.innerHTML = html;
    if (round) root.innerHTML = root.innerHTML;
    root.querySelectorAll("*").forEach((e) => { if (e.localName !== "a") e.click(); e.dispatchEvent(new MouseEvent("mouseover")); e.dispatchEvent(new FocusEvent("focus")); });
    look(root, n);
  }
});
current = "all of them";
if (document.body.childElementCount !== around) bad.push("the page has " + document.body.childElementCount + " elements, not " + around);
setTimeout(() => fetch("/verdict", { method: "POST", body: JSON.stringify({ looked: results.length, bad }) }), 1000);
</script>`

// What the first oracle of these tests, a parser in Go, finds harmless is put into a
// real browser, which has the last word.
func TestSanitizeInBrowser(t *testing.T) {
	t.Parallel()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("this test needs Chromium: %v", err)
	}
	var in, out []string
	for _, page := range slices.Concat(hostile, mutating) {
		for _, page := range []string{page, "<table><tr><td>" + page + "</td></tr></table><p>after</p>", page + page} {
			in = append(in, page)
			out = append(out, sanitize(page).HTML)
		}
	}
	results, err := json.Marshal(out) // which escapes < and >, so it cannot end the script
	if err != nil {
		t.Fatal(err)
	}
	forbidden, err := json.Marshal(strings.Fields("script style svg math iframe frame object embed form input button select textarea base meta link template noscript audio video area map"))
	if err != nil {
		t.Fatal(err)
	}
	type verdict struct {
		Looked int
		Bad    []string
	}
	told := make(chan verdict, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/":
			w.Header().Set("Content-Type", "text/html")
			_, _ = fmt.Fprintf(w, judge, results, forbidden)
		case "/verdict":
			var v verdict
			if err := json.NewDecoder(r.Body).Decode(&v); err != nil {
				v.Bad = []string{err.Error()}
			}
			select {
			case told <- v:
			default:
			}
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	run := exec.CommandContext(t.Context(), chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-port=0",
		"--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1", // what a result would load, it does not
		"--user-data-dir="+t.TempDir(), server.URL)
	// It has processes of its own, which end with it only if they are told to.
	run.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(-run.Process.Pid, syscall.SIGKILL); _ = run.Wait() })
	select {
	case v := <-told:
		if v.Looked != len(out) {
			t.Errorf("the browser has looked at %d of %d results", v.Looked, len(out))
		}
		for _, bad := range v.Bad {
			t.Error(bad)
			var n int
			if _, err := fmt.Sscanf(bad, "%d:", &n); err == nil {
				t.Errorf("%q became %q", in[n], out[n])
			}
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("the browser tells nothing")
	}
}
