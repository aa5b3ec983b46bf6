// Package thread groups messages into conversations by what their headers say,
// for servers that do not: the REFERENCES algorithm of RFC 5256, which is Jamie
// Zawinski's, with subjects as the last resort. It is pure.
package thread
