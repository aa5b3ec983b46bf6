package gateway

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/account"
)

func FuzzAccountFilter(f *testing.F) {
	for _, filter := range []string{
		"state = CONNECTED", `labels.team = "sales" AND NOT labels:old`, "state != ERROR OR (labels.a:b)", "", "labels", "-state:PAUSED", "((((",
	} {
		f.Add(filter)
	}
	f.Fuzz(func(_ *testing.T, filter string) {
		match, err := accountMatch(filter)
		if err == nil {
			match(&account.Account{Labels: map[string]string{"team": "sales"}})
		}
	})
}

// The query of a watch, and what a browser says it has seen.
func FuzzWatchRequest(f *testing.F) {
	f.Add("accounts=accounts/a,accounts/b&types=message.created&cursor=x", "")
	f.Add("accountLabels[team]=sales&account_labels[a]=b&ticket=t", "AbNeF0DMfgU~resume")
	f.Add("accountLabels[=&cursor", "~~")
	f.Fuzz(func(t *testing.T, query, last string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/events:watch", http.NoBody)
		r.URL.RawQuery = query
		r.Header["Last-Event-Id"] = []string{last}
		req, err := watchRequest(r)
		if err != nil {
			return
		}
		if last != "" && req.GetCursor() != last[:strings.Index(last+resumeMark, resumeMark)] {
			t.Errorf("of %q the cursor is %q", last, req.GetCursor())
		}
		for _, name := range append(req.GetAccounts(), req.GetTypes()...) {
			if name == "" || strings.Contains(name, ",") {
				t.Errorf("%q lists %q", query, name)
			}
		}
	})
}

// The parameters of hand-written routes.
func FuzzParameters(f *testing.F) {
	f.Add("folder=accounts/a/folders/b&flags=%5CSeen&flags=x&internalDate=2026-01-01T00:00:00Z")
	f.Add("internal_date=never&parent=accounts/b&flags[x]=y")
	allowed := parametersOf(targetFields, "", importPattern)
	f.Fuzz(func(t *testing.T, query string) {
		values, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		target := &posternv1.ImportMessageRequest_Target{}
		for name, values := range values {
			if failed := parseParameter(target, allowed, name, values); failed != nil && len(failed.Error()) > 4096 {
				t.Errorf("%q is answered with %d bytes", query, len(failed.Error()))
			}
		}
	})
}
