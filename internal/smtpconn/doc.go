// Package smtpconn holds sessions with SMTP submission servers (RFC 6409):
// connecting, TLS, login, and handing over messages.
//
// go-smtp's client does the talking. It knows no contexts and no bounds on what
// a server says, so a [Conn] adds both: whatever is called ends with its
// context, by closing the connection, and a server that talks without end is cut
// off. What may have happened to a message when something breaks is told apart
// with care: see [Conn.Send].
//
// Errors of the network, of TLS and of the login have the types of imapconn,
// which the account's IMAP server fails with, too.
package smtpconn
