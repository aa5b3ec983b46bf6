// Package gmailtest is an IMAP server for tests that speaks Gmail's dialect, as
// Google documents it and as clients have met it: Gmail itself cannot be reached
// by a test. It keeps real state: one set of messages with labels, of which
// folders are views.
//
//   - A message is stored once. It lies in a folder because it has the folder's
//     label; in All Mail because it is neither spam nor trash.
//   - COPY adds a label, and EXPUNGE takes the folder's label away: only in Spam
//     and Trash does it delete. By default setting \Deleted expunges at once
//     (auto-expunge), see [KeepDeleted].
//   - X-GM-LABELS leaves out the label of the selected folder, has system labels
//     as quoted strings with a backslash, and names beyond ASCII in modified
//     UTF-7.
//   - LIST tells special folders by attributes; [Gmail] cannot be selected.
//   - SEARCH finds whole words, not parts of them.
//   - HIGHESTMODSEQ can run ahead of what can be seen, see [Server.Hold].
//   - There is CONDSTORE and no QRESYNC, and 15 connections at most.
//
// COMPRESS=DEFLATE, which Gmail has, is missing.
package gmailtest
