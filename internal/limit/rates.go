package limit

import (
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Rates has a token bucket for each key. A bucket that has filled up again says as
// much as none, so such buckets are dropped, and nobody can tell.
type Rates struct {
	perSecond rate.Limit
	burst     int
	most      int

	mu      sync.Mutex
	buckets map[string]*rate.Limiter
	// sweepAt is how many buckets there are when full ones are dropped next, and
	// sweepAfter when that is at the earliest.
	sweepAt    int
	sweepAfter time.Time
}

const (
	// minSweep is the number of buckets below which none is dropped.
	minSweep = 1024
	// sweepPause is how long it is at least from one look at all buckets to the next.
	sweepPause = time.Second
	// samples is among how many buckets the one is chosen that makes room.
	samples = 8
)

// NewRates gives each key so many events per second, and after a rest those of a
// number of seconds at once. A rate that is not positive lets all pass. At most
// `most` keys are remembered: beyond that, those that lately asked for the least
// are forgotten, which is in their favour.
func NewRates(perSecond float64, seconds, most int) *Rates {
	return &Rates{
		perSecond: rate.Limit(perSecond), burst: max(1, int(math.Ceil(perSecond*float64(seconds)))), most: most,
		buckets: make(map[string]*rate.Limiter), sweepAt: minSweep,
	}
}

// Take takes one event of a key. When there is none left, it takes nothing and
// says how long it is until there will be one.
func (r *Rates) Take(key string, now time.Time) (wait time.Duration, ok bool) {
	if r.perSecond <= 0 {
		return 0, true
	}
	bucket := r.bucket(key, now)
	if bucket.AllowN(now, 1) {
		return 0, true
	}
	lacks := 1 - bucket.TokensAt(now)
	return max(0, time.Duration(lacks/float64(r.perSecond)*float64(time.Second))), false
}

// PerSecond is the rate.
func (r *Rates) PerSecond() float64 { return float64(r.perSecond) }

// Len is how many keys are remembered.
func (r *Rates) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.buckets)
}

func (r *Rates) bucket(key string, now time.Time) *rate.Limiter {
	r.mu.Lock()
	defer r.mu.Unlock()
	if b := r.buckets[key]; b != nil {
		return b
	}
	r.makeRoom(now)
	b := rate.NewLimiter(r.perSecond, r.burst)
	r.buckets[key] = b
	return b
}

// makeRoom drops the buckets that are full, and one more if that makes no room. The
// next sweep comes when there are twice as many as are left, so that the work is
// shared out among those who came in between.
func (r *Rates) makeRoom(now time.Time) {
	if len(r.buckets) >= min(r.sweepAt, r.most) && !now.Before(r.sweepAfter) {
		for key, b := range r.buckets {
			if b.TokensAt(now) >= float64(r.burst) {
				delete(r.buckets, key)
			}
		}
		r.sweepAt, r.sweepAfter = max(minSweep, 2*len(r.buckets)), now.Add(sweepPause)
	}
	if len(r.buckets) >= r.most {
		r.evict(now)
	}
}

// evict drops the fullest bucket of a few.
func (r *Rates) evict(now time.Time) {
	fullest, most, seen := "", math.Inf(-1), 0
	for key, b := range r.buckets { // the order of a map is random
		if left := b.TokensAt(now); left > most {
			fullest, most = key, left
		}
		if seen++; seen == samples {
			break
		}
	}
	delete(r.buckets, fullest)
}
