// Package dovecottest starts a private Dovecot for tests: a real IMAP server
// with its own directory, certificate and ports on 127.0.0.1, which needs
// nothing but Debian's dovecot-imapd installed and ends with the test binary. With
// dovecot-lmtpd and dovecot-submissiond it takes mail as well ([LMTP], [Submission]).
//
//	srv := dovecottest.Shared(t)
//	username, password := srv.User(t)
//	srv.Deliver(t, username, "INBOX", raw)
//
// [Shared] gives one server to all tests of a package, which keep out of each
// other's way by having a fresh user each. [Start] gives a test a server of its
// own, which it may configure, stop and restart.
//
// Every user name exists and has the same password. What a test puts into a
// mailbox goes through go-imap's client ([Server.Client], [Server.Deliver]),
// never through the client under test.
package dovecottest
