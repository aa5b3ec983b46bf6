package gateway

import (
	"fmt"
	"slices"
	"strings"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/query"
)

// accountMatch turns the filter of a list of accounts into a function. It
// knows two fields: state, and labels with "labels.team = x" for a value and
// "labels:team" for the key alone.
func accountMatch(filter string) (func(*account.Account) bool, error) {
	e, err := query.Parse(filter)
	if err != nil {
		return nil, err
	}
	return matchAccount(e)
}

type accountPredicate = func(*account.Account) bool

func matchAccount(e query.Expr) (accountPredicate, error) {
	switch e := e.(type) {
	case query.And:
		parts, err := matchAccounts(e)
		return func(a *account.Account) bool {
			return !slices.ContainsFunc(parts, func(p accountPredicate) bool { return !p(a) })
		}, err
	case query.Or:
		parts, err := matchAccounts(e)
		return func(a *account.Account) bool {
			return slices.ContainsFunc(parts, func(p accountPredicate) bool { return p(a) })
		}, err
	case query.Not:
		part, err := matchAccount(e.Expr)
		return func(a *account.Account) bool { return !part(a) }, err
	case query.Term:
		return matchTerm(e)
	}
	return nil, fmt.Errorf("filter has an unknown node %T", e)
}

func matchAccounts(list []query.Expr) ([]accountPredicate, error) {
	parts := make([]accountPredicate, len(list))
	for i, e := range list {
		var err error
		if parts[i], err = matchAccount(e); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

func matchTerm(t query.Term) (accountPredicate, error) {
	equal := t.Op == "=" || t.Op == ":"
	if !equal && t.Op != "!=" {
		return nil, t.Syntax("write a field, = or != and a value, such as state = CONNECTED")
	}
	key, labelled := strings.CutPrefix(t.Field, "labels.")
	switch {
	case t.Field == "state":
		if _, ok := posternv1.Account_State_value[t.Value]; !ok {
			return nil, t.Syntax("there is no state %q", t.Value)
		}
		return func(a *account.Account) bool { return (string(a.Status.State) == t.Value) == equal }, nil
	case labelled:
		return func(a *account.Account) bool {
			value, ok := a.Labels[key]
			return (ok && value == t.Value) == equal
		}, nil
	case t.Field == "labels" && t.Op == ":":
		return func(a *account.Account) bool { _, ok := a.Labels[t.Value]; return ok }, nil
	}
	return nil, t.Syntax("there is no field %q to filter on; there are state and labels", t.Field)
}
