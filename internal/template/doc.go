// Package template is mail with blanks: a subject, a text and HTML in the language
// of Go's templates, and the [Store] that keeps those that have a name.
//
// Templates are written by strangers, so they can only put values in: what reaches
// out, grows without bound or runs for long is refused when a template is parsed, or
// ends with an error when it is filled in. There are no calls of other templates, few
// functions, and each step of a run is counted. A value that is missing is an error
// and not an empty place. HTML is escaped by what surrounds a value (html/template).
package template
