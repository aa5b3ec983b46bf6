package template

import (
	"fmt"
	"net/url"
	"reflect"
)

// functions are ours, in place of those of text/template.
var functions = map[string]any{"index": index, "urlquery": urlquery}

// builtins are those of text/template that a template may use. What makes text of
// its arguments (print, printf, html, js) is not among them: repeated, it makes text
// that outgrows any memory. Nor is call.
var builtins = map[string]any{
	"and": true, "or": true, "not": true, "len": true, "slice": true,
	"eq": true, "ne": true, "lt": true, "le": true, "gt": true, "ge": true,
}

// index finds an item of a list or a value by its key. Unlike that of text/template
// it fails for a key that is not there.
func index(in any, keys ...any) (any, error) {
	for _, key := range keys {
		switch from := in.(type) {
		case map[string]any:
			name, ok := key.(string)
			if !ok {
				return nil, fmt.Errorf("%v is not a name", key)
			}
			if in, ok = from[name]; !ok {
				return nil, &missingError{key: name}
			}
		case []any:
			n, ok := whole(key)
			if !ok || n < 0 || n >= int64(len(from)) {
				return nil, fmt.Errorf("there is no item %v in a list of %d", key, len(from))
			}
			in = from[n]
		default:
			return nil, fmt.Errorf("%T has no items", in)
		}
	}
	return in, nil
}

func whole(key any) (int64, bool) {
	v := reflect.ValueOf(key)
	if !v.IsValid() || !v.CanInt() {
		return 0, false
	}
	return v.Int(), true
}

// maxQuery bounds a value in a query, in bytes: escaped again and again it grows.
const maxQuery = 4 << 10

// urlquery makes a value fit to stand in the query of a URL.
func urlquery(value any) (string, error) {
	text := fmt.Sprint(value)
	if len(text) > maxQuery {
		return "", fmt.Errorf("a value of %d bytes is too large for a URL", len(text))
	}
	return url.QueryEscape(text), nil
}
