// Package imapconn holds sessions with IMAP servers: [Dial] connects, secures
// and logs in; a [Conn] has a method for each command; a [Pool] keeps a few
// connections of an account for its requests. The wire itself is imapwire's.
//
// # The model
//
// A Conn is synchronous. It has no goroutine and no timer of its own: a command
// writes, then reads responses until its completion, in the goroutine of the
// caller, one at a time. A connection at rest costs its TLS state and a few
// hundred bytes, for the read buffer is borrowed while there is something to
// read.
//
// What a server tells without being asked is summed up in [Updates], a hint that
// something has changed. [Conn.Idle] waits for such a hint.
//
// # Time
//
// Every command ends: by its completion, by its context, or because the server
// was silent for longer than the command time-out. All of that is done with
// deadlines on the network connection, which other goroutines (the context's,
// Interrupt's) put into the past. A command that is cut short closes the
// connection, for nobody knows what the server made of it. A wait of Idle that
// is cut short does not, because nothing was under way.
//
// # Round trips
//
// Commands that may be in flight together (RFC 9051 section 5.5) go out in one
// write: a page of messages on a warm connection ([Conn.Page]), many STATUS
// ([Conn.StatusAll]), and DONE, a command and IDLE ([Conn.QueueIdle]).
//
// # Errors
//
// A refusal by the server is an [*Error], and the connection goes on. All else
// that can go wrong with a server has a type of its own and closes the
// connection: [*AuthError], [*TLSError], [*ByeError], [*ProtocolError],
// [*TimeoutError], [*CanceledError], [*NetworkError]; after that there is
// [*ClosedError]. [RetryAfter] tells what is worth another attempt, and when.
package imapconn
