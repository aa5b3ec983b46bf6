package account

import "slices"

// Filter chooses accounts. The zero Filter chooses all.
type Filter struct {
	// States are the states to choose from; none means any.
	States []State
	// Labels must all be there with these values.
	Labels map[string]string
	// Match, if set, must hold as well. It must not change or keep the account.
	Match func(*Account) bool
}

func (f *Filter) matches(a *Account) bool {
	if len(f.States) > 0 && !slices.Contains(f.States, a.Status.State) {
		return false
	}
	for key, value := range f.Labels {
		if got, ok := a.Labels[key]; !ok || got != value {
			return false
		}
	}
	return f.Match == nil || f.Match(a)
}

// Labels gives the labels of an account, from memory alone: an account that
// another node has just made may be missing. They must not be changed.
func (r *Registry) Labels(id string) (labels map[string]string, ok bool) {
	e, ok := r.cache.get(id)
	if !ok {
		return nil, false
	}
	return e.account.Labels, true
}

// List gives the accounts with an id above after that the filter chooses, in
// the order of their ids, and at most limit of them. More says whether there
// are further ones.
func (r *Registry) List(filter Filter, after string, limit int) (accounts []*Account, more bool) {
	return r.cache.list(&filter, after, limit)
}

func (c *cache) list(filter *Filter, after string, limit int) (accounts []*Account, more bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	at, found := slices.BinarySearch(c.ids, after)
	if found {
		at++
	}
	for _, id := range c.ids[at:] {
		a := c.joined(id)
		if !filter.matches(a) {
			continue
		}
		if len(accounts) == limit {
			return accounts, true
		}
		accounts = append(accounts, a.Clone())
	}
	return accounts, false
}
