package gateway

import (
	"net/http"
	"path"
	"regexp"
	"slices"
	"strings"
)

// pathVariable is a variable of a route's template with its own pattern.
var pathVariable = regexp.MustCompile(`\{[^=}]+=([^}]+)\}`)

// allowedMethods lists the methods of the routes that take a path, for the
// header Allow that belongs to a 405 (RFC 9110 section 15.5.6).
func allowedMethods(urlPath string) string {
	var methods []string
	add := func(route string) {
		method, template, _ := strings.Cut(route, " ")
		// A * of a template is one element of the path, as in path.Match.
		if ok, err := path.Match(pathVariable.ReplaceAllString(template, "$1"), urlPath); ok && err == nil {
			methods = append(methods, method)
		}
	}
	for route := range routes() {
		add(route)
	}
	for route := range handWritten {
		add(route)
	}
	// HEAD is taken wherever GET is, but for a watch, which has no end.
	if slices.Contains(methods, http.MethodGet) && urlPath != watchPath {
		methods = append(methods, http.MethodHead)
	}
	slices.Sort(methods)
	return strings.Join(slices.Compact(methods), ", ")
}
