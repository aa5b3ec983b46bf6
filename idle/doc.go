// Package idle watches the registered mailboxes and puts what changes in them
// into the event log.
//
// A [Supervisor] runs one owner per account. An owner is one goroutine that
// holds one IMAP connection, with INBOX open and IDLE on, and everything it
// knows about the account's folders; nobody else touches either. Whatever
// happens (a push, a poll, a reconnection, a restart) is only a hint to look.
// A look fetches what is new since the last one, package diff names the
// changes, and the owner appends them to the log and moves on. There is no
// second way to announce mail.
//
// What an owner knows about a folder is what the log has been told, no more.
// So the log is enough to know it again: an owner that takes an account loads
// the folders' last snapshots, replays the account's events behind them, and
// only then looks at the server.
package idle
