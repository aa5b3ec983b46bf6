package submit

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Submissions are spread over shards, each a bucket of its own: what is stored is
// synced, and a stream syncs one message at a time, but several streams do so side by
// side. The id of a submission says which shard it is in.
const shardCount = 4

var idEncoding = base32.HexEncoding.WithPadding(base32.NoPadding)

// idLength is that of an id. Those that earlier versions gave lack the last character
// and are all in the first shard.
const idLength = 24

// NewID gives an id for a new submission. The order of ids is that of time: 48 bits
// of milliseconds, then 64 random ones, and the shard.
func NewID(now time.Time) string {
	var id [15]byte
	binary.BigEndian.PutUint64(id[:8], uint64(now.UnixMilli())<<16)
	rand.Read(id[6:]) // never fails, see its documentation
	return strings.ToLower(idEncoding.EncodeToString(id[:14])) + strconv.Itoa(int(id[14])%shardCount)
}

// MergedID gives the id of the n-th of the submissions that were planned together
// under an id of [NewID]. It is the same at each attempt to create them, and their
// order is that of n.
func MergedID(plan string, n int) string { return fmt.Sprintf("%s-%03d", plan, n) }

// shardOf is the shard of a submission: those that were planned together are in all.
func shardOf(id string) int {
	plan, merged, _ := strings.Cut(id, "-")
	if len(plan) != idLength || plan[idLength-1] < '0' || plan[idLength-1] >= '0'+shardCount {
		return 0
	}
	n, _ := strconv.Atoi(merged) // 0 for one by itself
	return (int(plan[idLength-1]-'0') + max(n, 0)) % shardCount
}

// NewMessageID gives a Message-ID for the message of a submission, without angle
// brackets. It leads to the submission when mail comes back, but not to others that
// were planned with it.
func NewMessageID(id, domain string) string {
	secret := strings.ToLower(rand.Text()[:12])
	if strings.Contains(id, "-") { // nobody is to see how many there are
		return secret + strings.ToLower(rand.Text()) + "@" + domain
	}
	return id + "." + secret + "@" + domain
}

// idIn is the id of the submission that a Message-ID leads to, if it is one of
// NewMessageID.
func idIn(messageID string) (id string, ok bool) {
	local, _, _ := strings.Cut(messageID, "@")
	id, _, ok = strings.Cut(local, ".")
	return id, ok && len(id) == idLength
}

// timeLength is how many characters of an id are of its time alone.
const timeLength = 9

// olderThan reports whether an id was given before a point in time.
func olderThan(id string, t time.Time) bool {
	return id[:min(len(id), timeLength)] < NewID(t)[:timeLength]
}
