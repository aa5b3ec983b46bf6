package gateway_test

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/postern-mail/postern/gateway"
	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/discover"
	"github.com/postern-mail/postern/internal/dnstest"
	"github.com/postern-mail/postern/internal/netguard"
)

// finding makes a gateway look for servers by a name server of the test's own.
func finding(dns *dnstest.Server, allow ...netip.Prefix) func(*gateway.Config) {
	return func(cfg *gateway.Config) {
		cfg.Finder = discover.New(discover.Config{Guard: &netguard.Guard{Allow: allow, Resolver: dns.Resolver()}})
	}
}

// discover gives the candidates for an address.
func (h *house) discover(t *testing.T, email string) []object {
	t.Helper()
	return list(h.do(t, http.MethodPost, "/v1/accounts:discover", object{"email": email}).ok(t), "candidates")
}

// What is found goes into an account as it is, with the credential added.
func TestDiscoverAccount(t *testing.T) {
	t.Parallel()
	dns := dnstest.Start(t,
		"_imaps._tcp.example.org. SRV 0 0 9993 mail.hoster.test.", "_submission._tcp.example.org. SRV 0 0 5587 mail.hoster.test.",
		"mail.hoster.test. A 127.0.0.1",
	)
	h := newHouse(t, options{gateway: finding(dns, netip.MustParsePrefix("127.0.0.0/8"))})
	for email, want := range map[string]string{
		"ann@gmail.com":   "PROVIDER Gmail imap.gmail.com:993 TLS ann@gmail.com, smtp.gmail.com:465 TLS ann@gmail.com, [OAUTH2 APP_PASSWORD] verified false confirm false",
		"ann@example.org": "SRV  mail.hoster.test:9993 TLS ann@example.org, mail.hoster.test:5587 STARTTLS ann@example.org, [] verified false confirm true",
	} {
		found := h.discover(t, email)
		if len(found) != 1 {
			t.Fatalf("%s: found %v", email, found)
		}
		c := found[0]
		server := func(name string) string {
			s := c[name].(object)
			return fmt.Sprintf("%s:%v %s %s", s["host"], s["port"], s["tlsMode"], s["username"])
		}
		got := fmt.Sprintf("%s %s %s, %s, %v verified %v confirm %v", c["source"], c["provider"], server("imap"), server("smtp"), c["authMethods"], c["verified"], c["confirm"])
		if got != want {
			t.Errorf("%s: got  %s\nwant %s", email, got, want)
		}
		c["imap"].(object)["password"] = "sesame"
		h.do(t, http.MethodPost, "/v1/accounts?validateOnly=true", object{"email": email, "imap": c["imap"], "smtp": c["smtp"]}).ok(t)
	}
	if tokens := h.discover(t, "ann@gmail.com")[0]["oauth2"].(object); tokens["tokenUrl"] != "https://oauth2.googleapis.com/token" || len(tokens["scopes"].([]any)) != 1 {
		t.Errorf("tokens come from %v", tokens)
	}
	if found := h.discover(t, "ann@nothing.test"); len(found) != 0 {
		t.Errorf("found %v", found)
	}
	resp, err := posternv1.NewAccountServiceClient(h.grpc).DiscoverAccount(asAdmin(t.Context()), &posternv1.DiscoverAccountRequest{Email: "ann@icloud.com"})
	if err != nil || len(resp.GetCandidates()) != 1 || resp.GetCandidates()[0].GetSmtp().GetTlsMode() != posternv1.MailServer_STARTTLS {
		t.Errorf("found %v, %v", resp, err)
	}
	for _, asked := range dns.Asked() {
		if strings.Contains(asked, "ann") {
			t.Errorf("asked for %s", asked)
		}
	}
	if strings.Contains(h.logged.String(), "ann@") {
		t.Error("an address is in the log")
	}
}

// Servers that may not be connected to are not told of.
func TestDiscoverWithin(t *testing.T) {
	t.Parallel()
	dns := dnstest.Start(t, "_imaps._tcp.example.org. SRV 0 0 9993 mail.hoster.test.", "mail.hoster.test. A 127.0.0.1")
	h := newHouse(t, options{gateway: finding(dns)})
	if found := h.discover(t, "ann@example.org"); len(found) != 0 {
		t.Errorf("found %v", found)
	}
	if !slices.Contains(dns.Asked(), "mail.hoster.test. A") {
		t.Errorf("asked for %v", dns.Asked())
	}
}

func TestDiscoverNoAddress(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	for _, email := range []string{
		"", "ann", "ann@localhost", "ann@[127.0.0.1]", "ann@127.0.0.1", "ann@example.com\r\n", "ann@exa\x00mple.com", "ann@example.com/x", "ann lee@example.com",
		"ann@xn--a.example", "ann@" + strings.Repeat("a", 64) + ".com", strings.Repeat("a", 400) + "@example.com",
	} {
		a := h.do(t, http.MethodPost, "/v1/accounts:discover", object{"email": email})
		a.refused(t, http.StatusBadRequest, "ARGUMENT_INVALID")
		if fields := faults(t, a); len(fields) != 1 || fields[0] != "email" {
			t.Errorf("%q: violations of %v", email, fields)
		}
	}
	h.do(t, http.MethodPost, "/v1/accounts:discover", object{"email": "ann@gmail.com", "password": "sesame"}).refused(t, http.StatusBadRequest, "BODY_INVALID")
}

// faults are the fields that an answer finds fault with.
func faults(t *testing.T, a answer) (fields []string) {
	t.Helper()
	for _, detail := range list(a.json(t), "details") {
		for _, f := range list(detail, "fieldViolations") {
			fields = append(fields, f["field"].(string))
		}
	}
	return fields
}

// Only domains that somebody has to be asked about count.
func TestRateOfDiscovery(t *testing.T) {
	t.Parallel()
	h := limitedHouse(t, func(l *gateway.Limits) { l.RateDiscovery = 1 }) // and ten at once
	header, value := named("ann")
	ask := func(domain string) answer {
		return h.do(t, http.MethodPost, "/v1/accounts:discover", object{"email": "ann@" + domain}, header, value)
	}
	limited := answer{status: http.StatusOK}
	for i := 0; i < 10_000 && limited.status == http.StatusOK; i++ {
		limited = ask(fmt.Sprintf("d%d.test", i))
	}
	limited.rateLimited(t, "rate-discovery")
	ask("gmail.com").ok(t)
	h.discover(t, "ann@other.test")
}

// Who asks for the same domain at once waits for one look at it.
func TestDiscoverTogether(t *testing.T) {
	t.Parallel()
	dns := dnstest.Start(t, "example.org. MX 10 aspmx.l.google.com.")
	h := newHouse(t, options{gateway: finding(dns)})
	var calls sync.WaitGroup
	for i := range 20 {
		calls.Go(func() {
			if found := h.discover(t, fmt.Sprintf("user%d@example.org", i)); len(found) != 1 || found[0]["imap"].(object)["username"] != fmt.Sprintf("user%d@example.org", i) {
				t.Errorf("found %v", found)
			}
		})
	}
	calls.Wait()
	times := 0
	for _, asked := range dns.Asked() {
		if asked == "example.org. MX" {
			times++
		}
	}
	if times != 1 {
		t.Errorf("asked %d times", times)
	}
}

// No more than a few domains are looked at at a time, however long that takes.
func TestManyDiscoveries(t *testing.T) {
	t.Parallel()
	dns := dnstest.Start(t)
	dns.Silence(".")
	h := newHouse(t, options{gateway: func(cfg *gateway.Config) {
		cfg.Finder = discover.New(discover.Config{Guard: &netguard.Guard{Resolver: dns.Resolver()}, Timeout: time.Hour})
		cfg.ConnectionWait = 50 * time.Millisecond
	}})
	ctx, cancel := context.WithCancel(asAdmin(t.Context()))
	var calls sync.WaitGroup
	t.Cleanup(calls.Wait)
	t.Cleanup(cancel)
	accounts := posternv1.NewAccountServiceClient(h.grpc)
	for i := range 32 {
		calls.Go(func() {
			_, err := accounts.DiscoverAccount(ctx, &posternv1.DiscoverAccountRequest{Email: fmt.Sprintf("ann@d%d.test", i)})
			if status.Code(err) != codes.Canceled {
				t.Errorf("it ended with %v", err)
			}
		})
	}
	h.until(t, "/healthz", func(answer) bool {
		domains := make(map[string]bool)
		for _, asked := range dns.Asked() {
			if name, ok := strings.CutSuffix(asked, ". MX"); ok {
				domains[name] = true
			}
		}
		return len(domains) == 32
	})
	h.do(t, http.MethodPost, "/v1/accounts:discover", object{"email": "ann@one-more.test"}).rateLimited(t, "discoveries")
	if len(h.discover(t, "ann@gmail.com")) != 1 {
		t.Error("what is known is not told")
	}
}
