package access

import "slices"

// Grant is what somebody may do, and with which accounts. The zero value may do
// nothing.
type Grant struct {
	Scopes []Scope
	// Accounts are the ids of the accounts that the grant is bound to, whether
	// there are such accounts or not, and Labels those that an account has to
	// have, all of them. Where both are given, an account that either names is
	// meant. A grant with neither is bound to none: it holds for all accounts,
	// and for what belongs to no account.
	Accounts []string
	Labels   map[string]string
}

// Everything is the grant of who may do all with all accounts.
func Everything() Grant { return Grant{Scopes: []Scope{Admin}} }

// Has reports whether the grant has a scope.
func (g Grant) Has(scope Scope) bool {
	return slices.ContainsFunc(g.Scopes, func(s Scope) bool { return s.Holds(scope) })
}

// Bound reports whether the grant holds for some accounts only.
func (g Grant) Bound() bool { return len(g.Accounts) > 0 || len(g.Labels) > 0 }

// SeesAll reports whether every account exists for who has the grant. A grant
// without scopes sees none, so that where nobody said who calls nothing is shown.
func (g Grant) SeesAll() bool { return len(g.Scopes) > 0 && !g.Bound() }

// Sees reports whether an account with that id and those labels exists for who
// has the grant.
func (g Grant) Sees(id string, labels map[string]string) bool {
	switch {
	case len(g.Scopes) == 0:
		return false
	case !g.Bound() || slices.Contains(g.Accounts, id):
		return true
	}
	return g.SeesLabelled(labels)
}

// SeesLabelled reports whether the labels are enough for any account that has them to
// exist for who has the grant, whatever its id.
func (g Grant) SeesLabelled(labels map[string]string) bool {
	return len(g.Scopes) > 0 && len(g.Labels) > 0 && HasLabels(labels, g.Labels)
}

// Covers reports whether the other grant allows nothing that this one does not.
// It looks at the grants alone and not at which accounts have which labels, so
// that it stays right when those change.
func (g Grant) Covers(other Grant) bool {
	for _, scope := range other.Scopes {
		if !g.Has(scope) {
			return false
		}
	}
	if !g.Bound() {
		return true
	}
	if !other.Bound() {
		return false
	}
	for _, id := range other.Accounts {
		if !slices.Contains(g.Accounts, id) {
			return false
		}
	}
	// More labels mean fewer accounts.
	return len(other.Labels) == 0 || len(g.Labels) > 0 && HasLabels(other.Labels, g.Labels)
}

// HasLabels reports whether the labels hold all that are wanted.
func HasLabels(labels, wanted map[string]string) bool {
	for key, value := range wanted {
		if got, ok := labels[key]; !ok || got != value {
			return false
		}
	}
	return true
}
