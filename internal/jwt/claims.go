package jwt

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/go-jose/go-jose/v4/json" // it refuses objects that have a key twice

	"github.com/postern-mail/postern/internal/access"
)

// claims are what a token says, as JSON values.
type claims map[string]any

// identity is who a token is for, what they may do, and until when.
type identity struct {
	subject string
	grant   access.Grant
	end     time.Time
}

// maxSubject is OpenID Connect's bound (Core 1.0 section 2).
const maxSubject = 255

// anyAccount is how a token names all accounts.
const anyAccount = "accounts/-"

// read takes the claims of a token whose signature is right. The problem says what
// keeps them from being taken, as [access.InvalidError] has it.
func (a *Authenticator) read(typ string, payload []byte, certificate *x509.Certificate, now time.Time) (who identity, problem string) {
	if !accessType(typ) {
		return who, fmt.Sprintf("is of the type %q and not an access token", shorten(typ))
	}
	var c claims
	if err := json.Unmarshal(payload, &c); err != nil || c == nil {
		return who, "has claims that cannot be read"
	}
	if problem := a.addressed(c); problem != "" {
		return who, problem
	}
	if who.end, problem = a.timely(c, now); problem != "" {
		return who, problem
	}
	if problem := bound(c["cnf"], certificate); problem != "" {
		return who, problem
	}
	who.subject, _ = c["sub"].(string)
	if who.subject == "" || len(who.subject) > maxSubject || strings.ContainsFunc(who.subject, unicode.IsControl) {
		return who, "has no subject (sub) of use"
	}
	who.grant, problem = a.granted(c)
	return who, problem
}

// accessType reports whether typ can be that of an access token (RFC 9068 section
// 2.1). Issuers sign other things with the same keys, such as notices of a logout
// (RFC 8725 section 3.11).
func accessType(typ string) bool {
	typ = strings.TrimPrefix(strings.ToLower(typ), "application/")
	return typ == "" || typ == "jwt" || typ == "at+jwt"
}

// addressed checks from whom and for whom a token is.
func (a *Authenticator) addressed(c claims) (problem string) {
	if issuer, _ := c["iss"].(string); issuer != a.cfg.Issuer {
		return "is of another issuer (iss)"
	}
	audiences, ok := texts(c["aud"])
	if one, single := c["aud"].(string); single { // RFC 7519 section 4.1.3
		audiences, ok = []string{one}, true
	}
	if !ok || !slices.ContainsFunc(audiences, func(s string) bool { return slices.Contains(a.cfg.Audiences, s) }) {
		return "is for another audience (aud)"
	}
	return ""
}

// timely checks the times of a token and gives its end, which has the leeway in it.
func (a *Authenticator) timely(c claims, now time.Time) (end time.Time, problem string) {
	expires, there, ok := date(c, "exp")
	if !there || !ok {
		return end, "has no end (exp)"
	}
	end = expires.Add(a.cfg.Leeway)
	if !now.Before(end) {
		return end, "has expired (exp)"
	}
	if end.Sub(now) > a.cfg.MaxLifetime+2*a.cfg.Leeway {
		return end, fmt.Sprintf("ends more than %s from now (exp), which is more than is taken here", a.cfg.MaxLifetime)
	}
	for name, problem := range map[string]string{"nbf": "is not valid yet (nbf)", "iat": "was issued in the future (iat)"} {
		at, there, ok := date(c, name)
		if there && (!ok || now.Add(a.cfg.Leeway).Before(at)) {
			return end, problem
		}
	}
	return end, ""
}

// date reads a NumericDate (RFC 7519 section 2): seconds, perhaps with a fraction.
func date(c claims, name string) (at time.Time, there, ok bool) {
	value, there := c[name]
	seconds, ok := value.(float64)
	if !ok || math.IsNaN(seconds) || math.Abs(seconds) > 1e11 {
		return at, there, false
	}
	return time.Unix(int64(math.Floor(seconds)), 0), true, true
}

// bound checks the claim that a token is only for who holds a key besides (RFC 7800).
// That of a client certificate can be seen (RFC 8705 section 3.1). A token that is
// bound in any other way, such as by DPoP, must not pass for one that is not.
func bound(confirmation any, certificate *x509.Certificate) (problem string) {
	if confirmation == nil {
		return ""
	}
	members, _ := confirmation.(map[string]any)
	thumbprint, _ := members["x5t#S256"].(string)
	if thumbprint == "" || len(members) != 1 {
		return "is bound to a key (cnf) in a way that cannot be checked here"
	}
	if certificate == nil {
		return "is bound to a client certificate (cnf), which the connection does not have"
	}
	sum := sha256.Sum256(certificate.Raw)
	if subtle.ConstantTimeCompare([]byte(thumbprint), []byte(base64.RawURLEncoding.EncodeToString(sum[:]))) != 1 {
		return "is bound to another client certificate (cnf)"
	}
	return ""
}

// granted reads what a token may do. Whatever it says, it is no more than the
// ceiling; and what it says nothing about is nothing, unless the operator has said
// that it is all accounts.
func (a *Authenticator) granted(c claims) (grant access.Grant, problem string) {
	claimed, problem := a.scopes(c)
	if problem != "" {
		return grant, problem
	}
	ceiling := access.Grant{Scopes: a.cfg.Scopes}
	for _, scope := range access.Scopes() {
		if claimed.Has(scope) && ceiling.Has(scope) {
			grant.Scopes = append(grant.Scopes, scope)
		}
	}
	accounts, hasAccounts := c[a.cfg.AccountsClaim]
	labels, hasLabels := c[a.cfg.LabelsClaim]
	if !hasAccounts && !hasLabels {
		if !a.cfg.AllAccounts {
			return grant, fmt.Sprintf("names no accounts, in neither of the claims %s and %s", a.cfg.AccountsClaim, a.cfg.LabelsClaim)
		}
		return grant, ""
	}
	all := false
	if hasAccounts {
		if grant.Accounts, all, problem = accountIDs(accounts); problem != "" {
			return grant, fmt.Sprintf("has a claim %s that %s", a.cfg.AccountsClaim, problem)
		}
	}
	if hasLabels {
		if grant.Labels, problem = labelsOf(labels); problem != "" {
			return grant, fmt.Sprintf("has a claim %s that %s", a.cfg.LabelsClaim, problem)
		}
	}
	if all {
		grant.Accounts, grant.Labels = nil, nil
	}
	return grant, ""
}

// scopes reads the scopes: a text with spaces between (RFC 8693 section 4.2), or a
// list as some issuers have it. Those that mean nothing here are for others.
func (a *Authenticator) scopes(c claims) (claimed access.Grant, problem string) {
	value, there := c[a.cfg.ScopeClaim]
	names, ok := texts(value)
	if text, single := value.(string); single {
		names, ok = strings.Fields(text), true
	}
	if there && !ok {
		return claimed, fmt.Sprintf("has a claim %s that is neither a text nor a list of texts", a.cfg.ScopeClaim)
	}
	for _, name := range names {
		if scope := access.Scope(name); scope.Valid() {
			claimed.Scopes = append(claimed.Scopes, scope)
		}
	}
	return claimed, ""
}

// accountIDs reads names of accounts. An empty list must not become that of who is
// bound to none and so has all.
func accountIDs(value any) (ids []string, all bool, problem string) {
	names, ok := texts(value)
	if !ok || len(names) == 0 {
		return nil, false, `is no list of accounts, such as ["accounts/ann"]`
	}
	for _, name := range names {
		id, ok := strings.CutPrefix(name, "accounts/")
		if !ok || id == "" || strings.Contains(id, "/") {
			return nil, false, fmt.Sprintf("names %q, which is no account such as accounts/ann", shorten(name))
		}
		all = all || name == anyAccount
		ids = append(ids, id)
	}
	return ids, all, ""
}

// labelsOf reads the labels that accounts have to have.
func labelsOf(value any) (labels map[string]string, problem string) {
	object, _ := value.(map[string]any)
	if len(object) == 0 {
		return nil, `is no object of labels, such as {"team":"sales"}`
	}
	labels = make(map[string]string, len(object))
	for key, value := range object {
		text, ok := value.(string)
		if !ok {
			return nil, fmt.Sprintf("has a label %q that is no text", shorten(key))
		}
		labels[key] = text
	}
	return labels, ""
}

// texts reads a list of texts.
func texts(value any) (list []string, ok bool) {
	values, ok := value.([]any)
	if !ok {
		return nil, false
	}
	for _, v := range values {
		text, ok := v.(string)
		if !ok {
			return nil, false
		}
		list = append(list, text)
	}
	return list, true
}

// shorten bounds what is said of a token's content.
func shorten(text string) string {
	const most = 60
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
