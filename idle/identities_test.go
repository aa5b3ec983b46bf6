package idle

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/emersion/go-imap/v2"
)

// The packed identities behave as a map would that forgets its lowest UID.
func TestIdentities(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 3))
		var packed identities
		plain := map[imap.UID]string{}
		lowest := func() (low imap.UID) {
			for uid := range plain {
				if low == 0 || uid < low {
					low = uid
				}
			}
			return low
		}
		for range 3000 {
			uid := imap.UID(random.IntN(800) + 1)
			if random.IntN(4) == 0 {
				packed.forget(uid)
				delete(plain, uid)
				continue
			}
			id := fmt.Sprintf("M%0*d", random.IntN(40)+1, random.IntN(1000))
			packed.set(uid, id)
			delete(plain, uid)
			if len(plain) < maxIdentities || uid > lowest() {
				if len(plain) == maxIdentities {
					delete(plain, lowest())
				}
				plain[uid] = id
			}
		}
		packed.set(900, "")
		packed.set(901, string(make([]byte, maxEmailID+1)))
		list := packed.list()
		if len(list) != len(plain) {
			t.Fatalf("seed %d: %d are remembered, want %d", seed, len(list), len(plain))
		}
		for _, m := range list {
			if plain[m.UID] != m.EmailID || packed.get(m.UID) != m.EmailID {
				t.Fatalf("seed %d: UID %d is %q, want %q", seed, m.UID, m.EmailID, plain[m.UID])
			}
		}
		if size := len(packed.text); size > 3*maxIdentities*41 {
			t.Errorf("seed %d: the ids take %d bytes", seed, size)
		}
		wanted := map[string]bool{list[0].EmailID: true}
		if found := packed.among(wanted); len(found) == 0 || found[0].EmailID != list[0].EmailID {
			t.Errorf("seed %d: among gives %+v", seed, found)
		}
	}
}
