package gateway_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/access"
)

// BenchmarkHidden measures how much longer it takes to be told that something is not
// there which is hidden, than of something that is not there: the medians of 2,000
// calls each, in turn, over gRPC.
//
//	go test -run '^$' -bench Hidden -benchtime 2000x ./gateway
func BenchmarkHidden(b *testing.B) {
	h := newHouse(b, options{})
	there := h.labelled(b, "team", "law")
	hook := h.do(b, "POST", "/v1/webhooks", object{"url": "https://example.com/", "headers": object{"authorization": "x"}}).ok(b)["name"].(string)
	byID := h.give(b, access.Grant{Scopes: allScopes(), Accounts: []string{"mine"}})
	byLabel := h.give(b, access.Grant{Scopes: allScopes(), Labels: map[string]string{"team": "sales"}})
	accounts, hooks := posternv1.NewAccountServiceClient(h.grpc), posternv1.NewWebhookServiceClient(h.grpc)
	account := func(ctx context.Context, name string) error {
		_, err := accounts.GetAccount(ctx, &posternv1.GetAccountRequest{Name: name})
		return err
	}
	webhook := func(ctx context.Context, name string) error {
		_, err := hooks.GetWebhook(ctx, &posternv1.GetWebhookRequest{Name: name})
		return err
	}
	for _, c := range []struct {
		name            string
		who             holder
		call            func(ctx context.Context, name string) error
		hidden, missing string
	}{
		{"account by id", byID, account, there, "accounts/" + freshID()},
		{"account by label", byLabel, account, there, "accounts/" + freshID()},
		{"webhook", byID, webhook, hook, "webhooks/" + freshID()},
	} {
		b.Run(c.name, func(b *testing.B) {
			ctx := metadata.AppendToOutgoingContext(b.Context(), "authorization", "Bearer "+c.who.text)
			took := map[string][]time.Duration{}
			for b.Loop() {
				for _, name := range []string{c.hidden, c.missing} {
					begin := time.Now()
					err := c.call(ctx, name)
					took[name] = append(took[name], time.Since(begin))
					if status.Code(err) != codes.NotFound {
						b.Fatal(err)
					}
				}
			}
			median := func(name string) float64 {
				slices.Sort(took[name])
				return float64(took[name][len(took[name])/2].Nanoseconds()) / 1000
			}
			b.ReportMetric(median(c.hidden), "hidden-µs")
			b.ReportMetric(median(c.missing), "missing-µs")
			b.ReportMetric(0, "ns/op")
		})
	}
}
