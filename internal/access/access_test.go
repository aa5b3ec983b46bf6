package access_test

import (
	"testing"

	"github.com/postern-mail/postern/internal/access"
)

func TestScopes(t *testing.T) {
	t.Parallel()
	for _, scope := range access.Scopes() {
		if !scope.Holds(scope) || !access.Admin.Holds(scope) || !scope.Valid() {
			t.Errorf("%s does not hold itself, or admin does not hold it", scope)
		}
		if scope != access.Admin && scope.Holds(access.Admin) {
			t.Errorf("%s holds admin", scope)
		}
	}
	for _, one := range []struct {
		scope, other access.Scope
		want         bool
	}{
		{access.MessagesWrite, access.MessagesRead, true},
		{access.MessagesRead, access.MessagesWrite, false},
		{access.SubmissionsSend, access.MessagesRead, false},
		{access.Admin, "mail:burn", false},
		{"mail:burn", access.Admin, false},
	} {
		if got := one.scope.Holds(one.other); got != one.want {
			t.Errorf("%s holds %s: %t, want %t", one.scope, one.other, got, one.want)
		}
	}
}

func TestSees(t *testing.T) {
	t.Parallel()
	sales := map[string]string{"team": "sales"}
	cases := map[string]struct {
		grant  access.Grant
		id     string
		labels map[string]string
		want   bool
	}{
		"bound to none":              {access.Grant{}, "ann", nil, true},
		"bound by id":                {access.Grant{Accounts: []string{"ann"}}, "ann", nil, true},
		"bound to another id":        {access.Grant{Accounts: []string{"ann"}}, "bob", nil, false},
		"bound by label":             {access.Grant{Labels: sales}, "ann", map[string]string{"team": "sales", "x": "y"}, true},
		"bound by another value":     {access.Grant{Labels: sales}, "ann", map[string]string{"team": "law"}, false},
		"bound by a missing label":   {access.Grant{Labels: map[string]string{"team": ""}}, "ann", nil, false},
		"bound by both, has one":     {access.Grant{Accounts: []string{"bob"}, Labels: sales}, "ann", sales, true},
		"bound by both, has none":    {access.Grant{Accounts: []string{"bob"}, Labels: sales}, "ann", nil, false},
		"has no labels, bound by id": {access.Grant{Accounts: []string{"bob"}}, "ann", sales, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.grant.Sees(c.id, c.labels) || c.grant.SeesAll() {
				t.Error("who may do nothing sees an account")
			}
			c.grant.Scopes = []access.Scope{access.AccountsRead}
			if got := c.grant.Sees(c.id, c.labels); got != c.want {
				t.Errorf("sees %s: %t, want %t", c.id, got, c.want)
			}
			if c.grant.SeesAll() == c.grant.Bound() {
				t.Error("sees all though it is bound, or does not though it is not")
			}
		})
	}
}

func TestCovers(t *testing.T) {
	t.Parallel()
	read := []access.Scope{access.MessagesRead}
	sales := map[string]string{"team": "sales"}
	cases := map[string]struct {
		grant, other access.Grant
		want         bool
	}{
		"everything covers all": {access.Everything(), access.Grant{Scopes: access.Scopes(), Accounts: []string{"ann"}}, true},
		"a narrower scope":      {access.Grant{Scopes: []access.Scope{access.MessagesWrite}}, access.Grant{Scopes: read}, true},
		"a wider scope":         {access.Grant{Scopes: read}, access.Grant{Scopes: []access.Scope{access.MessagesWrite}}, false},
		"fewer accounts":        {access.Grant{Scopes: read, Accounts: []string{"a", "b"}}, access.Grant{Scopes: read, Accounts: []string{"b"}}, true},
		"another account":       {access.Grant{Scopes: read, Accounts: []string{"a"}}, access.Grant{Scopes: read, Accounts: []string{"b"}}, false},
		"no accounts are all":   {access.Grant{Scopes: read, Accounts: []string{"a"}}, access.Grant{Scopes: read}, false},
		"more labels":           {access.Grant{Scopes: read, Labels: sales}, access.Grant{Scopes: read, Labels: map[string]string{"team": "sales", "eu": "yes"}}, true},
		"other labels":          {access.Grant{Scopes: read, Labels: sales}, access.Grant{Scopes: read, Labels: map[string]string{"team": "law"}}, false},
		"labels for an id":      {access.Grant{Scopes: read, Accounts: []string{"a"}}, access.Grant{Scopes: read, Labels: sales}, false},
		"an id for labels":      {access.Grant{Scopes: read, Labels: sales}, access.Grant{Scopes: read, Accounts: []string{"a"}}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := c.grant.Covers(c.other); got != c.want {
				t.Errorf("covers: %t, want %t", got, c.want)
			}
		})
	}
}
