package imapwire

import "hash/maphash"

const (
	// recentStrings is the number of strings that are remembered, a power of two.
	recentStrings = 512
	// maxRecent is the length of the longest of them.
	maxRecent = 48
)

// recent remembers the short strings read last. Answers of a server repeat the
// same few: flags, media types, charsets, the names and addresses of people who
// write to each other. Each of them is allocated once.
type recent [recentStrings]string

var recentSeed = maphash.MakeSeed()

// string returns b as a string.
func (r *recent) string(b []byte) string {
	if len(b) > maxRecent {
		return string(b)
	}
	s := &r[maphash.Bytes(recentSeed, b)%recentStrings]
	if *s != string(b) {
		*s = string(b)
	}
	return *s
}
