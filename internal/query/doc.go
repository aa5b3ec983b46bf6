// Package query owns the filter language of lists: AIP-160, parsed into a
// tree, and the part of it that becomes an IMAP SEARCH.
//
// The grammar is AIP-160's, so OR binds tighter than AND and than mere
// juxtaposition: "a b OR c" is a AND (b OR c). Terms are field, operator and
// value; a bare value searches everything. "-" and NOT negate. A value with
// spaces or special characters stands in quotes. "from:(ann OR bob)" gives
// both the field.
//
// Nothing is ever ignored: what is not understood is a [*SyntaxError], what
// cannot be searched is an [*UnsupportedError], and both tell where.
package query
