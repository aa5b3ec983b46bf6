// Package sandbox is a mailbox to play with: an IMAP server in this process, on
// loopback, with sample mail in several languages, and an SMTP server beside it
// that delivers into it; for the demo and for quick tests.
//
// The IMAP server is go-imap's in-memory server with its rough edges filed
// off. It has IDLE, UIDPLUS, MOVE, SPECIAL-USE, LIST-STATUS and ESEARCH, and neither
// CONDSTORE nor QRESYNC nor NOTIFY: a gateway that works here and with Dovecot
// has met both kinds of server.
//
// What go-imap v2.0.0-beta.8 does wrong and this package works around:
//
//   - Special uses are forgotten by CREATE and so never listed; LIST does not
//     say which folders have children ([session.List]).
//   - What changed between a client's last command and its IDLE is not pushed
//     until the next change comes ([session.Idle]).
//   - MOVE reports each message's removal twice, once with a wrong number
//     ([session.Move]).
//   - UID FETCH answers "* 0 FETCH" for a message that arrived a moment ago
//     ([session.announced]).
//   - Two connections that copy between two mailboxes in opposite directions
//     wait for each other for ever ([session.Copy]).
//   - A COPY of nothing answers a COPYUID that does not parse ([session.Copy]).
//   - EXAMINE is as good as SELECT for changing mail ([session.Select]).
//   - RENAME leaves child folders behind, and INBOX can be deleted (account).
//   - Closing the server misses connections that were just accepted
//     (listener).
//   - Envelopes lack senders whose names are not in UTF-8 (the import of
//     go-message/charset).
//
// What remains: it writes system flags in lower case, which is legal since
// flags are case-insensitive (RFC 9051 section 2.3.2), and it holds a mailbox's
// lock while it writes a FETCH response, so that a client which does not read
// what it asked for holds up everyone else in that mailbox. Where a client has
// enabled UTF8=ACCEPT it still escapes ampersands in the names of folders, as
// modified UTF-7 does, and refuses one that is not.
package sandbox
