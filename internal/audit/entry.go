package audit

import (
	"strings"
	"time"
)

// Entry is one call.
type Entry struct {
	// Sequence is the entry's place in the log; 0 for one that is not in it.
	Sequence uint64    `json:"-"`
	Time     time.Time `json:"time"`
	Node     string    `json:"node,omitempty"`
	// Principal is who called; empty for somebody who did not show who they are.
	Principal string `json:"principal,omitempty"`
	// Method is such as TokenService.CreateToken.
	Method string `json:"method,omitempty"`
	// Resources are the names of what the call was about, and Account the id of the
	// account among them.
	Resources []string `json:"resources,omitempty"`
	Account   string   `json:"account,omitempty"`
	// Code is that of the answer, such as OK, and Reason that of its error.
	Code      string        `json:"code,omitempty"`
	Reason    string        `json:"reason,omitempty"`
	RequestID string        `json:"request_id,omitempty"`
	Remote    string        `json:"remote,omitempty"`
	Duration  time.Duration `json:"duration,omitempty"`
	// Begun says that it is a watch that has begun; another entry follows at its end.
	Begun bool `json:"begun,omitempty"`
	// Suppressed is how many calls of nobody in particular were refused since the
	// last such entry and have none of their own, and Lost how many entries could not
	// be stored before this one.
	Suppressed uint64 `json:"suppressed,omitempty"`
	Lost       uint64 `json:"lost,omitempty"`
}

// Query chooses entries. What is empty is not asked for.
type Query struct {
	Principal string
	Account   string
	// Method is that of the entry, or a service alone: TokenService.
	Method string
	// Code is that of the answer.
	Code string
	// Start is the time of the first entries wanted, End that of the first that are
	// not any more.
	Start, End time.Time
}

// chooses reports whether an entry is asked for.
func (q *Query) chooses(e *Entry) bool {
	switch {
	case q.Principal != "" && q.Principal != e.Principal,
		q.Account != "" && q.Account != e.Account,
		q.Code != "" && q.Code != e.Code,
		!q.Start.IsZero() && e.Time.Before(q.Start),
		!q.End.IsZero() && !e.Time.Before(q.End):
		return false
	}
	return q.Method == "" || q.Method == e.Method || strings.HasPrefix(e.Method, q.Method+".")
}
