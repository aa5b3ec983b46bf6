package account

import "time"

// SetSaveTimeout shortens how long a refreshed token is tried to be stored.
func (c *Connector) SetSaveTimeout(d time.Duration) { c.tokens.saveTimeout = d }
