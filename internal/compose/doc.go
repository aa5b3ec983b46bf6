// Package compose writes mail: it makes the bytes of a message (RFC 5322, MIME) out
// of its structure, in one pass and constant memory. go-message does the writing;
// this package decides what is written, and refuses what must not be.
//
// It is pure: attachments are read where the caller says, and the time and the
// Message-ID are the caller's.
package compose
