// Package audit keeps who did what and when, and what came of it, in a JetStream
// stream. It has neither what mail says nor any secret.
//
// Nothing waits for it: entries go into the stream a moment after the call that they
// are about. Where the stream cannot be written they wait in memory, and when that is
// full they are counted, which the next entry that is stored says.
package audit
