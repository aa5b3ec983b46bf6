package safehtml

import "strings"

const (
	// maxStyle bounds a style attribute in bytes.
	maxStyle = 16 << 10
	// maxValue bounds one value in it.
	maxValue = 500
)

// filterStyle keeps those declarations of a style attribute that can only
// change how the element itself looks. What is left is put together anew, so
// what was taken out cannot have an effect on it.
func filterStyle(style string) string {
	if len(style) > maxStyle {
		return ""
	}
	var kept []string
	for declaration := range strings.SplitSeq(style, ";") {
		name, value, ok := strings.Cut(declaration, ":")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		if ok && properties[name] && harmless(name, strings.ToLower(value)) {
			kept = append(kept, name+": "+value)
		}
	}
	return strings.Join(kept, "; ")
}

// harmless looks at a value in lower case. There is no URL in it, nothing that
// is computed, no escape and no comment that could hide either, and nothing
// that moves the element out of its place.
func harmless(name, value string) bool {
	if value == "" || len(value) > maxValue {
		return false
	}
	for i := range len(value) {
		c := value[i]
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		case strings.IndexByte(` #.,%-+!'"()/`, c) >= 0:
		default:
			return false
		}
	}
	if strings.Count(value, "'")%2 != 0 || strings.Count(value, `"`)%2 != 0 {
		return false // A semicolon within quotes has split it.
	}
	if name == "display" && !displays[value] {
		return false
	}
	if strings.HasPrefix(name, "margin") && strings.Contains(value, "-") {
		return false
	}
	return onlyColors(value)
}

// onlyColors: the functions in the value are those that give a colour.
func onlyColors(value string) bool {
	for {
		before, after, found := strings.Cut(value, "(")
		if !found {
			return true
		}
		name := before[strings.LastIndexAny(before, " ,/)")+1:]
		switch name {
		case "rgb", "rgba", "hsl", "hsla":
		default:
			return false
		}
		value = after
	}
}

// properties change how an element looks and not where on the page it is: there
// is no position, no transform, no z-index.
var properties = set(`
	color background-color background font font-family font-size font-style font-variant font-weight
	line-height letter-spacing word-spacing text-align text-decoration text-indent text-transform vertical-align
	white-space word-break word-wrap overflow-wrap direction
	margin margin-top margin-right margin-bottom margin-left
	padding padding-top padding-right padding-bottom padding-left
	border border-top border-right border-bottom border-left border-color border-style border-width border-radius
	border-top-color border-right-color border-bottom-color border-left-color
	border-top-style border-right-style border-bottom-style border-left-style
	border-top-width border-right-width border-bottom-width border-left-width
	border-collapse border-spacing caption-side empty-cells table-layout
	width height min-width max-width min-height max-height
	display float clear list-style-type list-style-position`)

// displays are what an element may be shown as.
var displays = set(`none block inline inline-block list-item table inline-table table-row table-cell table-caption
	table-row-group table-header-group table-footer-group table-column table-column-group`)

func set(words string) map[string]bool {
	s := make(map[string]bool)
	for word := range strings.FieldsSeq(words) {
		s[word] = true
	}
	return s
}
