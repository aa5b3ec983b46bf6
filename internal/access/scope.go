package access

import "slices"

// Scope names something that a caller may do: a kind of resource and a verb.
type Scope string

// The scopes. Who may write is answered with what was written, so a scope that
// changes something holds the one that reads it.
const (
	// AccountsRead sees the accounts, their settings without secrets, and their state.
	AccountsRead Scope = "accounts:read"
	// AccountsWrite registers, changes, pauses and deletes accounts.
	AccountsWrite Scope = "accounts:write"
	// MessagesRead reads folders, messages, threads and drafts.
	MessagesRead Scope = "messages:read"
	// MessagesWrite changes folders, messages and drafts.
	MessagesWrite Scope = "messages:write"
	// SubmissionsRead sees what was sent and what became of it, and the blocklists.
	SubmissionsRead Scope = "submissions:read"
	// SubmissionsSend sends mail, and keeps the blocklists.
	SubmissionsSend Scope = "submissions:send"
	// TemplatesRead sees the templates of mail, which belong to no account.
	TemplatesRead Scope = "templates:read"
	// TemplatesWrite changes them.
	TemplatesWrite Scope = "templates:write"
	// EventsRead lists and watches events, which tell who writes to whom about what.
	EventsRead Scope = "events:read"
	// WebhooksAdmin manages webhooks.
	WebhooksAdmin Scope = "webhooks:admin"
	// TokensAdmin makes and revokes API tokens that may do no more than their maker.
	TokensAdmin Scope = "tokens:admin"
	// Admin holds every other scope, and what concerns the gateway itself.
	Admin Scope = "admin"
)

// holds says which scopes another one holds, besides itself.
var holds = map[Scope][]Scope{
	AccountsRead:    nil,
	AccountsWrite:   {AccountsRead},
	MessagesRead:    nil,
	MessagesWrite:   {MessagesRead},
	SubmissionsRead: nil,
	SubmissionsSend: {SubmissionsRead, TemplatesRead},
	TemplatesRead:   nil,
	TemplatesWrite:  {TemplatesRead},
	EventsRead:      nil,
	WebhooksAdmin:   nil,
	TokensAdmin:     nil,
	Admin:           nil,
}

// Scopes lists all scopes in alphabetical order.
func Scopes() []Scope {
	all := make([]Scope, 0, len(holds))
	for scope := range holds {
		all = append(all, scope)
	}
	slices.Sort(all)
	return all
}

// Valid reports whether there is such a scope.
func (s Scope) Valid() bool {
	_, ok := holds[s]
	return ok
}

// Holds reports whether whoever has s has other too.
func (s Scope) Holds(other Scope) bool {
	return s == other || s == Admin && other.Valid() || slices.Contains(holds[s], other)
}
