package keyring

import "time"

// SetSettle shortens how long a key is the next one before it seals.
func (r *Ring) SetSettle(d time.Duration) { r.settle = d }
