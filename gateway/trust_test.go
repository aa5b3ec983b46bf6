package gateway_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/certtest"
	"github.com/postern-mail/postern/internal/dovecottest"
)

// step gives one step of what accounts:verify answers.
func (h *house) step(t *testing.T, name, check string) object {
	t.Helper()
	for _, s := range list(h.do(t, http.MethodPost, "/v1/"+name+":verify", "{}").ok(t), "steps") {
		if s["check"] == check {
			return s
		}
	}
	t.Fatalf("no step %s", check)
	return nil
}

// A person finds out the key of a private server, compares it, and pins it; what
// the account trusts then stays until somebody changes that.
func TestPrivateServerIsPinned(t *testing.T) {
	t.Parallel()
	h, server := sharedHouse(t), dovecottest.Shared(t)
	user, password := server.User(t)
	name := h.do(t, http.MethodPost, "/v1/accounts?accountId="+freshID(), object{
		"email": user, "imap": object{"host": server.Host(), "port": server.TLSPort(), "username": user, "password": password},
	}).ok(t)["name"].(string)
	folders := "/v1/" + name + "/folders"
	h.do(t, http.MethodGet, folders, nil).refused(t, 400, "IMAP_TLS_FAILED")

	step := h.step(t, name, "TLS")
	certificate, _ := step["certificate"].(object)
	key, _ := certificate["key"].(string)
	if step["reason"] != "IMAP_TLS_FAILED" || len(certificate["fingerprint"].(string)) != 64 || certificate["issuer"] != "CN=dovecottest authority" ||
		!slices.Contains(certificate["names"].([]any), any("localhost")) || certificate["notAfterTime"] == nil {
		t.Errorf("the failed step shows %v", step)
	}
	patch := func(mask string, body object) answer {
		return h.do(t, http.MethodPatch, "/v1/"+name+mask, object{"imap": body})
	}
	trustIn := func(pins ...string) object { return object{"pinnedKeys": pins} }
	// Who trusts somebody else sends the password to somebody else.
	patch("", object{"tls": trustIn(key)}).refused(t, 400, "CREDENTIAL_REQUIRED")
	patch("", object{"tls": trustIn(key), "password": password}).ok(t)
	h.get(t, folders)
	if step := h.step(t, name, "TLS"); step["outcome"] != "PASSED" || step["certificate"].(object)["key"] != key {
		t.Errorf("after pinning: %v", step)
	}
	pins := func() any {
		trust, _ := h.get(t, "/v1/"+name)["imap"].(object)["tls"].(object)
		return trust["pinnedKeys"]
	}
	for mask, body := range map[string]object{
		"":                                    {"password": password},
		"?updateMask=imap.username":           {"username": user},
		"?updateMask=imap.tlsMode":            {}, // back to TLS
		"?updateMask=imap.host,imap.password": {"host": "localhost", "password": password},
	} {
		patch(mask, body).ok(t)
		if got, _ := pins().([]any); len(got) != 1 || got[0] != key {
			t.Errorf("after an update of %s %v the pins are %v", mask, body, got)
		}
	}
	patch("", object{"tlsMode": "PLAINTEXT", "port": server.Port(), "password": password}).refused(t, 400, "ARGUMENT_INVALID")

	// Another key, such as that of somebody in between.
	stranger := account.KeyPin(certtest.New(t).Certificate)
	patch("", object{"tls": trustIn(stranger), "password": password}).ok(t)
	h.do(t, http.MethodGet, folders, nil).refused(t, 400, "IMAP_TLS_FAILED")
	patch("?updateMask=imap.tls", object{}).refused(t, 400, "CREDENTIAL_REQUIRED")
	patch("?updateMask=imap.tls,imap.password", object{"password": password}).ok(t)
	if pins() != nil {
		t.Errorf("after clearing: %v", pins())
	}
}

func TestTrustOverTheAPIIsValidated(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	expired := certtest.PEM(certtest.NewUntil(t, time.Now().Add(-time.Hour)).Certificate)
	for _, c := range []struct {
		server string
		tls    object
		field  string
	}{
		{"imap", object{"caCertificates": "trust me"}, "account.imap.tls.ca_certificates"},
		{"smtp", object{"caCertificates": expired}, "account.smtp.tls.ca_certificates"},
		{"imap", object{"caCertificates": string(make([]byte, 16385))}, "account.imap.tls.ca_certificates"},
		{"imap", object{"pinnedKeys": []string{"AB:CD"}}, "account.imap.tls.pinned_keys[0]"},
		{"smtp", object{"pinnedKeys": []string{"sha256/" + secretWord}}, "account.smtp.tls.pinned_keys[0]"},
	} {
		body := object{
			"email": "ann@example.com", "imap": object{"host": "mail.example.com", "password": "x"}, "smtp": object{"host": "mail.example.com"},
		}
		body[c.server].(object)["tls"] = c.tls
		a := h.do(t, http.MethodPost, "/v1/accounts?validateOnly=true", body)
		a.refused(t, 400, "ARGUMENT_INVALID")
		if fields := violated(a.json(t)); !slices.Contains(fields, c.field) {
			t.Errorf("%v: violations of %v, want %s", c.tls, fields, c.field)
		}
	}
	// Nobody switches verification off by asking for it.
	o := h.do(t, http.MethodPost, "/v1/accounts?validateOnly=true", object{
		"email": "ann@example.com", "imap": object{"host": "mail.example.com", "password": "x", "unverified": true},
	}).ok(t)
	if o["imap"].(object)["unverified"] != false {
		t.Errorf("answer %v", o)
	}
}

// violated names the fields that an error finds fault with.
func violated(o object) []string {
	var fields []string
	for _, d := range list(o, "details") {
		for _, v := range list(d, "fieldViolations") {
			fields = append(fields, v["field"].(string))
		}
	}
	return fields
}
