// Package eximtest starts a private Exim for tests: a real mail server with its own
// directory, certificate and ports on 127.0.0.1, which needs nothing but Debian's
// exim4 installed, runs as an ordinary user, and ends with the test binary.
//
//	mail := dovecottest.Start(t, dovecottest.LMTP())
//	mta := eximtest.Start(t, eximtest.Config{LMTP: mail.LMTPPort()})
//
// It takes mail from whoever logs in after STARTTLS, under any name with the one
// password, and delivers it by LMTP, or else into files. What a recipient's address
// begins with says what else may become of it: "refused@…" is refused by 550,
// "later@…" by 451, and "gone@…" is taken and comes back, whatever the domain.
package eximtest
