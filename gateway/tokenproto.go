package gateway

import (
	"maps"
	"strings"
	"time"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/access"
	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/token"
)

var tokenFields = (&posternv1.Token{}).ProtoReflect().Descriptor()

// settableToken are the fields that an update may change.
var settableToken = []string{"display_name", "scopes", "accounts", "account_labels", "expire_time"}

func tokenID(name string) string { return strings.TrimPrefix(name, "tokens/") }

// tokenProto is a token as it is answered: without its secret, of which nothing is
// known.
func tokenProto(t *token.Token) *posternv1.Token {
	return &posternv1.Token{
		Name: t.Principal(), DisplayName: t.DisplayName,
		Scopes: scopesProto(t.Scopes), Accounts: accountNames(t.Accounts), AccountLabels: maps.Clone(t.Labels),
		ExpireTime: timeProto(t.ExpireTime), State: tokenState(t.State(time.Now())), Creator: t.Creator,
		CreateTime: timeProto(t.CreateTime), UpdateTime: timeProto(t.UpdateTime),
		RevokeTime: timeProto(t.RevokeTime), LastUseTime: timeProto(t.LastUseTime), Etag: t.Etag,
	}
}

func tokenState(state token.State) posternv1.Token_State {
	switch state {
	case token.Expired:
		return posternv1.Token_EXPIRED
	case token.Revoked:
		return posternv1.Token_REVOKED
	}
	return posternv1.Token_ACTIVE
}

// withToken is a token with its secret, for the one answer that shows it.
func withToken(t *token.Token, secret token.Secret) *posternv1.Token {
	out := tokenProto(t)
	out.Token = secret.Text().Reveal()
	return out
}

func scopesProto(scopes []access.Scope) []string {
	out := make([]string, len(scopes))
	for i, scope := range scopes {
		out[i] = string(scope)
	}
	return out
}

func accountNames(ids []string) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = event.AccountName(id)
	}
	return out
}

// applyToken sets what can be set of a token.
func applyToken(t *token.Token, in *posternv1.Token) error {
	t.DisplayName, t.Labels = in.GetDisplayName(), in.GetAccountLabels()
	t.Scopes, t.Accounts = nil, nil
	for _, text := range in.GetScopes() {
		scope := access.Scope(text)
		if !scope.Valid() {
			return refuseField("token.scopes", reasonArgumentInvalid, "There is no scope %q; there are: %s.",
				said(text), strings.Join(scopesProto(access.Scopes()), ", "))
		}
		t.Scopes = append(t.Scopes, scope)
	}
	if len(t.Scopes) == 0 {
		return refuseField("token.scopes", reasonArgumentInvalid, "The token would have no scopes: revoke it instead.")
	}
	for _, name := range in.GetAccounts() {
		t.Accounts = append(t.Accounts, accountID(name))
	}
	t.ExpireTime = time.Time{}
	if in.GetExpireTime() != nil {
		if !in.GetExpireTime().IsValid() {
			return refuseField("token.expire_time", reasonArgumentInvalid, "The expiry is no time between the years 1 and 9999.")
		}
		t.ExpireTime = in.GetExpireTime().AsTime().Truncate(time.Microsecond) // as it is stored
	}
	return nil
}

// checkExpiry refuses an expiry that is over.
func checkExpiry(expires time.Time) error {
	if expires.After(time.Now()) {
		return nil
	}
	return refuseField("token.expire_time", reasonArgumentInvalid, "The expiry has passed already; it is %s now.",
		time.Now().UTC().Format(time.RFC3339))
}
