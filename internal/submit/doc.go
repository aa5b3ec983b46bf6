// Package submit is the outbox: it keeps mail that the API has taken until the
// account's SMTP server has answered for each recipient, and says what became of
// it.
//
// A [Store] keeps submissions in the KV buckets postern_submissions,
// postern_submissions_1 and so on, each submission in the one that its id says, with
// its message if that is small. Larger ones are in the stream POSTERN_OUTBOX. What is
// stored is synced, so an answered request is never lost. The syncing is what takes
// the time: a small message costs five of them, and several buckets sync side by side.
// The keys of the buckets are
//
//	submission.<account>.<id>  the submission; see [Submission]
//	open.<account>.<id>        that something is left to do for it: to send it, or
//	                           to tell of it. Written before the submission.
//	sent.<account>.<hash>      which submission a Message-ID or envelope id is of,
//	                           for those that do not say it themselves
//	block.<account>.<id>       an address that gets no mail from the account
//	upload.<account>.<id>      a file that is to become an attachment, for a day
//
// of which the last three are in the first bucket only.
//
// An [Outbox] sends. It runs on one node at a time; what keeps a former one from
// sending a message a second time is the compare-and-set with which every step is
// written. The last of these steps is written when all of a message has been sent
// but its final dot: a process that dies before it has certainly not sent the
// message, and only between it and the server's reply is there doubt. What is in
// doubt is looked for in the Sent folder, and if it is not there it is
// [Uncertain], which is held and never sent again by itself.
//
// The outbox does not announce anything. Each step that the world is to hear of
// is a [Transition] of the submission, and the owner of the account's event log
// tells of those it has not told of yet, as it does of the changes in a mailbox.
package submit
