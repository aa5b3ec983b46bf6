// Package imapwire reads and writes the IMAP wire protocol as a client does:
// framing, bounded tokens, the grammar of responses, the encoding of commands.
// It is pure: it knows an io.Reader and byte slices, no network, no clock, no
// state of a session. It speaks in the types of go-imap's root package.
//
// # Reading
//
// A [Decoder] is pulled. [Decoder.Next] reads the head of a response; for data
// it stops in front of the payload, which the method of that name reads
// ([Decoder.Fetch], [Decoder.List], [Decoder.Search], ...). What a caller does
// not read, the following Next skips, so an unknown response costs nothing:
//
//	for {
//		resp, err := dec.Next()
//		switch {
//		case err != nil && dec.Err() != nil:
//			return err // the connection is of no more use
//		case err != nil:
//			continue // one line was nonsense
//		case resp.Tag == tag:
//			return resp.Status
//		case resp.Name == "FETCH":
//			msg, err := dec.Fetch(resp, nil)
//		}
//	}
//
// # Faults of the other side
//
// Servers are strangers. Two rules hold for every method:
//
//   - Whatever arrives is bounded by [Limits], before memory is spent on it.
//   - An error is either of the line ([SyntaxError], or a [LimitError] of one
//     value), and then Next goes on with the line that follows, or it is of the
//     stream (a read error, a line without an end), and then [Decoder.Err]
//     returns it and so does every later call.
//
// A line that went wrong is left by the rule of [Decoder.SkipLine], which
// knows literals: it ends at the first line end that no literal announcement
// "{n}" precedes, and announced literals are consumed by count. Quotes play no
// part in it, for a quoted string cannot hold a line end (RFC 9051 section 9,
// QUOTED-CHAR), and a stray quote is what most often brings a line down.
//
// # Writing
//
// An [Encoder] builds one or several commands in memory and hands them out as
// [Segment] values: bytes to send, and where to wait for the server's
// continuation first. Large literals are streamed from a reader.
package imapwire
