package message

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestDecodeTextLimit(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, raw, label string
		limit            int
		want             string
		truncated        bool
	}{
		{"fits", "abc", "utf-8", 3, "abc", false},
		{"a byte too long", "abcd", "utf-8", 3, "abc", true},
		{"within a rune", "aéé", "utf-8", 4, "aé", true},
		{"grows in UTF-8", "\xe9\xe9\xe9", "latin1", 4, "éé", true},
		{"shrinks in UTF-8", "+AGEAYgBj-", "utf-7", 3, "abc", false},
		{"nothing", "", "utf-8", 3, "", false},
		{"no room", "abc", "utf-8", 0, "", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := DecodeText(strings.NewReader(tt.raw), tt.label, tt.limit)
			if err != nil || got.Content != tt.want || got.Truncated != tt.truncated {
				t.Errorf("got %q, %t, %v", got.Content, got.Truncated, err)
			}
		})
	}
}

func TestDecodeTextReadsNoMoreThanItNeeds(t *testing.T) {
	t.Parallel()
	src := &countingReader{r: strings.NewReader(strings.Repeat("x", 10<<20))}
	if _, err := DecodeText(src, "utf-8", 1000); err != nil {
		t.Fatal(err)
	}
	if src.n > 256<<10 {
		t.Errorf("read %d bytes for a text of 1000", src.n)
	}
}

func TestDecodeTextKeepsWhatItHas(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	got, err := DecodeText(io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(broken)), "utf-8", 100)
	if !errors.Is(err, broken) || got.Content != "abc" {
		t.Errorf("got %q, %v", got.Content, err)
	}
}

func TestUnflow(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, in string
		delSp    bool
		want     string
	}{
		{"fixed", "a\nb\n", false, "a\nb\n"},
		{"flowed", "a \nb \nc\nd\n", false, "a b c\nd\n"},
		{"DelSp", "a \nb\n", true, "ab\n"},
		{"stuffed", " From\n  x\n", false, "From\n x\n"},
		{"quoted", "> a \n> b\n", false, "> a b\n"},
		{"quotes of other depth do not join", "> a \n>> b\nc\n", false, "> a \n>> b\nc\n"},
		{"stuffed quotes", ">> a \n>> b\n> c\n", false, ">> a b\n> c\n"},
		{"signature", "a \n-- \nAnn\n", false, "a \n-- \nAnn\n"},
		{"no line end", "a \nb ", false, "a b "},
		{"empty quoted line", "> a\n>\n> b\n", false, "> a\n>\n> b\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := unflow(tt.in, tt.delSp); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestHTMLToText(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, in, want string }{
		{"text", "a b", "a b"},
		{"blanks", " a \n\t b ", "a b"},
		{"entities", "a&nbsp;&amp;&#x20ac;&lt;b&gt;", "a\u00a0&€<b>"},
		{"inline elements", "uses <b>91</b> <i>%</i>.", "uses 91 %."},
		{"paragraphs", "<p>a</p><p>b</p>", "a\n\nb"},
		{"divs", "<div>a</div><div><div>b</div></div>c", "a\nb\nc"},
		{"breaks", "a<br>b<br/><br>c", "a\nb\n\nc"},
		{"many breaks", "a<br><br><br><br><br>b", "a\n\n\nb"},
		{"headings", "<h1>a</h1>b", "a\n\nb"},
		{"scripts and styles", "<style>p{}</style>a<script>if (1<2) {}</script>b<title>c</title>", "ab"},
		{"comments", "a<!-- <p>no</p> -->b", "ab"},
		{"list", "a<ul><li>b</li><li>c</li></ul>d", "a\n\n- b\n- c\n\nd"},
		{"list without end tags", "<ul><li>b<li>c</ul>", "- b\n- c"},
		{"list with paragraphs", "<ul><li><p>b</p></li><li><p>c</p></li></ul>", "- b\n\n- c"},
		{"numbers", "<ol><li>b</li><li>c</li></ol>", "1. b\n2. c"},
		{"nested list", "<ul><li>a<ol><li>b</li></ol></li><li>c</li></ul>", "- a\n  1. b\n- c"},
		{"empty item", "<ul><li></li><li>b</li></ul>", "- \n- b"},
		{"link", `<a href="https://example.com/x">here</a>.`, "here <https://example.com/x>."},
		{"link that is its text", `<a href="https://example.com/">example.com</a>`, "example.com"},
		{"mail link", `<a href="mailto:a@example.com">write</a>`, "write <a@example.com>"},
		{"script link", `<a href="javascript:alert(1)">x</a>`, "x"},
		{"anchor", `<a href="#top">x</a><a name="y">z</a>`, "xz"},
		{"image", `<img src="x" alt="Logo">`, "Logo"},
		{"linked image", `<a href="https://example.com/x"><img alt="Logo"></a>`, "Logo <https://example.com/x>"},
		{"tracking pixel", `a<img src="https://example.com/p" alt="">b`, "ab"},
		{"quote", "a<blockquote>b<br>c</blockquote>d", "a\n\n> b\n> c\n\nd"},
		{"nested quote", "<blockquote>a<blockquote>b</blockquote></blockquote>", "> a\n>\n>> b"},
		{"table", "<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\nc"},
		{"pre", "<pre>a  b\n  c</pre>", "a  b\n  c"},
		{"rule", "a<hr>b", "a\n---\nb"},
		{"unclosed", "<p>a<b>b", "ab"},
		{"broken tags", "a < b <> </> <", "a < b <> <"},
		{"select", "a<select><option>no</select>b", "ab"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, truncated, err := HTMLToText(strings.NewReader(tt.in), 1000)
			if got != tt.want || truncated || err != nil {
				t.Errorf("got %q, %t, %v; want %q", got, truncated, err, tt.want)
			}
		})
	}
}

func TestHTMLToTextBounds(t *testing.T) {
	t.Parallel()
	got, truncated, err := HTMLToText(strings.NewReader(strings.Repeat("é ", 1000)), 101)
	if len(got) > 101 || !truncated || err != nil {
		t.Errorf("%d bytes, %t, %v", len(got), truncated, err)
	}
	// A picture in an attribute that is beyond any reason.
	page := "before<img src='data:" + strings.Repeat("A", maxHTMLToken+1) + "'>after"
	got, truncated, err = HTMLToText(strings.NewReader(page), 1000)
	if got != "before" || !truncated || err != nil {
		t.Errorf("%q, %t, %v", got, truncated, err)
	}
}

func TestSnippet(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, in, want string }{
		{"plain", "Hello\n\n  world\t!", "Hello world !"},
		{"quoted history", "Yes.\n\nOn Mon, 23 Nov 2026 at 10:00, Bob <b@example.org> wrote:\n> No?\n", "Yes."},
		{"German history", "Ja.\n\nAm 23.11.2026 um 10:00 schrieb Bob <b@example.org>:\n> Nein?\n", "Ja."},
		{"Russian history", "Да.\n\nПн, 23 нояб. 2026 г. в 10:00, Bob <b@example.org> написал(а):\n> Нет?\n", "Да."},
		{"quotes between", "> one?\nYes.\n> two?\nNo.", "Yes. No."},
		{"Outlook history", "Yes.\n\n-----Original Message-----\nFrom: Bob\n", "Yes."},
		{"forward without a word", "---------- Forwarded message ---------\nFrom: Bob\nSubject: x\n", "From: Bob Subject: x"},
		{"only quotes", "> one\n> > two", "one two"},
		{"signature", "Hi\n-- \nAnn", "Hi"},
		{"rulers", "*****\nNews\n=====\nText", "News Text"},
		{"padding", "Preview \u200c\u00a0\u034f\u200c\u00a0\u034f text", "Preview text"},
		{"emoji with joiner", "👩\u200d🚀 hi", "👩\u200d🚀 hi"},
		{"direction marks", "a\u202ebc", "abc"},
		{"empty", "", ""},
		{"long", strings.Repeat("word ", 100), strings.TrimSpace(strings.Repeat("word ", 36)) + "…"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := Snippet(tt.in); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
