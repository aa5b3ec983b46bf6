// Package message turns mail into structs: bytes and IMAP data in, readable
// mail out. It holds no connection and does no I/O but reading what it is
// given.
//
// There are two ways in. A list or a get of a message on a sane server starts
// from ENVELOPE and BODYSTRUCTURE ([FromEnvelope]), whose [Part] tree says
// which sections to fetch; these are read with [ParseHeader], [DecodePart],
// [ReadText] and [ReadHTML]. A whole raw message, because the server's
// BODYSTRUCTURE is broken or because there is no server, goes through [Walk],
// which gives the same tree with the same part numbers.
//
// Nothing here fails because mail is malformed: it is repaired and the repair
// is named in a list of [Defect]. Everything is bounded in memory and linear
// in time, whoever wrote the message. Errors are those of the reader that the
// caller gave.
package message
