package gateway

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/eventlog"
	"github.com/postern-mail/postern/internal/webhook"
)

// webhookService implements WebhookService.
type webhookService struct {
	posternv1.UnimplementedWebhookServiceServer
	webhooks visibleWebhooks
	accounts accountReader
	hooks    pager
	attempts pager
	letters  pager
}

var webhookFields = (&posternv1.Webhook{}).ProtoReflect().Descriptor()

// defaultOverlap is for how long a secret that was replaced signs beside the new
// one, unless the caller says otherwise.
const defaultOverlap = 24 * time.Hour

// webhookID is the id in a name whose form was validated.
func webhookID(name string) string { return strings.TrimPrefix(name, "webhooks/") }

// CreateWebhook implements WebhookService.
func (s *webhookService) CreateWebhook(ctx context.Context, req *posternv1.CreateWebhookRequest) (*posternv1.Webhook, error) {
	in := req.GetWebhook()
	if err := maySendEvents(ctx, in); err != nil {
		return nil, err
	}
	if err := s.checkAccounts(ctx, in.GetAccounts(), in.GetFolders()); err != nil {
		return nil, err
	}
	hook := &webhook.Webhook{ID: req.GetWebhookId()}
	applyWebhook(hook, in)
	created, err := s.webhooks.Create(ctx, hook, req.GetRequestId())
	if err != nil {
		return nil, fmt.Errorf("create webhook: %w", err)
	}
	return withSecret(created), nil
}

// checkAccounts refuses names of accounts that there are not, and of their folders: a
// webhook for nothing looks just like one for a quiet mailbox.
func (s *webhookService) checkAccounts(ctx context.Context, accounts, folders []string) error {
	for _, name := range accounts {
		if _, err := s.accounts.Get(ctx, accountID(name)); err != nil {
			return err
		}
	}
	for _, name := range folders {
		if _, err := s.accounts.Get(ctx, accountOfFolder(name)); err != nil {
			return err
		}
	}
	return nil
}

// GetWebhook implements WebhookService.
func (s *webhookService) GetWebhook(ctx context.Context, req *posternv1.GetWebhookRequest) (*posternv1.Webhook, error) {
	paths, err := readPaths(req.GetReadMask(), webhookFields, "read_mask")
	if err != nil {
		return nil, err
	}
	hook, err := s.webhooks.Get(ctx, webhookID(req.GetName()))
	if err != nil {
		return nil, err
	}
	out := webhookProto(hook)
	if len(paths) == 0 || names(paths, "backlog") {
		backlog, err := s.webhooks.Backlog(ctx, hook)
		if err != nil {
			return nil, fmt.Errorf("get webhook: %w", err)
		}
		out.Backlog = &posternv1.Webhook_Backlog{Pending: backlog.Pending, Parked: backlog.Parked, DeadLetters: backlog.DeadLetters}
	}
	keep(out, paths)
	return out, nil
}

// ListWebhooks implements WebhookService.
func (s *webhookService) ListWebhooks(ctx context.Context, req *posternv1.ListWebhooksRequest) (*posternv1.ListWebhooksResponse, error) {
	paths, err := readPaths(req.GetReadMask(), webhookFields, "read_mask")
	if err != nil {
		return nil, err
	}
	pager := s.hooks.seenBy(ctx)
	after, err := pager.position(req)
	if err != nil {
		return nil, err
	}
	hooks, more, err := s.webhooks.List(ctx, string(after), pageSize(req.GetPageSize()))
	if err != nil {
		return nil, err
	}
	resp := &posternv1.ListWebhooksResponse{}
	for _, hook := range hooks {
		out := webhookProto(hook)
		keep(out, paths)
		resp.Webhooks = append(resp.Webhooks, out)
	}
	if more {
		resp.NextPageToken, err = pager.token(req, []byte(hooks[len(hooks)-1].ID))
	}
	return resp, err
}

// UpdateWebhook implements WebhookService.
func (s *webhookService) UpdateWebhook(ctx context.Context, req *posternv1.UpdateWebhookRequest) (*posternv1.Webhook, error) {
	in := req.GetWebhook()
	mask := req.GetUpdateMask()
	paths, err := updatePaths(mask, in, settableWebhook)
	if err != nil {
		return nil, err
	}
	if in.GetSecret() != "" && (len(mask.GetPaths()) == 0 || slices.Contains(mask.GetPaths(), "secret")) {
		return nil, refuseField("webhook.secret", reasonArgumentInvalid,
			"The secret cannot be set: rotate it, so that requests are signed with both for a while.")
	}
	canonicalHeaders(in, paths)
	var accounts, folders []string
	if names(paths, "accounts") {
		accounts = in.GetAccounts()
	}
	if names(paths, "folders") {
		folders = in.GetFolders()
	}
	if err := s.checkAccounts(ctx, accounts, folders); err != nil {
		return nil, err
	}
	updated, err := s.webhooks.Update(ctx, webhookID(in.GetName()), in.GetEtag(), func(hook *webhook.Webhook) error {
		before, settings := webhookSettings(hook), webhookSettings(hook)
		for _, path := range paths {
			overwrite(settings.ProtoReflect(), in.ProtoReflect(), path)
		}
		if sendsElse(before, settings) {
			if err := maySendEvents(ctx, settings); err != nil {
				return err
			}
		}
		if err := checkHeadersStay(before, settings, paths); err != nil {
			return err
		}
		applyWebhook(hook, settings)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("update webhook: %w", err)
	}
	return webhookProto(updated), nil
}

// sendsElse reports whether a change of a webhook makes it send other events, more
// of them, or to somewhere else.
func sendsElse(before, after *posternv1.Webhook) bool {
	same := proto.CloneOf(before)
	same.DisplayName, same.Ordered, same.MaxConcurrency = after.GetDisplayName(), after.GetOrdered(), after.GetMaxConcurrency()
	return !proto.Equal(same, after)
}

// checkHeadersStay refuses to send headers that are stored to another server than
// they were given for: they hold credentials, which nobody can read back, and who
// may change the URL must not get them that way.
func checkHeadersStay(before, after *posternv1.Webhook, paths []maskPath) error {
	if originOf(before.GetUrl()) == originOf(after.GetUrl()) {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(after.GetHeaders())) {
		given := slices.ContainsFunc(paths, func(p maskPath) bool {
			return slices.Equal(p, maskPath{"headers"}) || slices.Equal(p, maskPath{"headers", name})
		})
		if !given {
			return credentialsRequired("The URL leads to another server, which would get headers that are stored: give them again, or clear them.", "webhook.headers."+name)
		}
	}
	return nil
}

// originOf is the server that a URL leads to (RFC 6454 section 4).
func originOf(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return text
	}
	port := cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[strings.ToLower(u.Scheme)])
	return strings.ToLower(u.Scheme + "://" + u.Hostname() + ":" + port)
}

// settableWebhook are the fields that an update may change. A secret is replaced by a
// rotation, which keeps the one before for a while.
var settableWebhook = []string{
	"display_name", "url", "types", "accounts", "account_labels", "folders", "payload", "ordered", "max_concurrency", "headers",
}

// canonicalHeaders brings the names of headers into their one spelling, in which
// they are stored.
func canonicalHeaders(hook *posternv1.Webhook, paths []maskPath) {
	headers := make(map[string]string, len(hook.GetHeaders()))
	for name, value := range hook.GetHeaders() {
		headers[textproto.CanonicalMIMEHeaderKey(name)] = value
	}
	hook.Headers = headers
	for _, path := range paths {
		if path[0] == "headers" && len(path) > 1 {
			path[1] = textproto.CanonicalMIMEHeaderKey(path[1])
		}
	}
}

// DeleteWebhook implements WebhookService.
func (s *webhookService) DeleteWebhook(ctx context.Context, req *posternv1.DeleteWebhookRequest) (*emptypb.Empty, error) {
	if err := s.webhooks.Delete(ctx, webhookID(req.GetName()), req.GetEtag()); err != nil {
		return nil, fmt.Errorf("delete webhook: %w", err)
	}
	return &emptypb.Empty{}, nil
}

// TestWebhook implements WebhookService.
func (s *webhookService) TestWebhook(ctx context.Context, req *posternv1.TestWebhookRequest) (*posternv1.TestWebhookResponse, error) {
	id := webhookID(req.GetName())
	attempt, err := s.webhooks.Test(ctx, id)
	if err != nil {
		return nil, err
	}
	return &posternv1.TestWebhookResponse{Delivery: deliveryProto(id, attempt)}, nil
}

// RotateWebhookSecret implements WebhookService.
func (s *webhookService) RotateWebhookSecret(ctx context.Context, req *posternv1.RotateWebhookSecretRequest) (*posternv1.Webhook, error) {
	overlap := defaultOverlap
	if req.GetOverlap() != nil {
		overlap = req.GetOverlap().AsDuration()
	}
	rotated, err := s.webhooks.RotateSecret(ctx, webhookID(req.GetName()), req.GetEtag(), overlap)
	if err != nil {
		return nil, fmt.Errorf("rotate the secret of a webhook: %w", err)
	}
	return withSecret(rotated), nil
}

// EnableWebhook implements WebhookService.
func (s *webhookService) EnableWebhook(ctx context.Context, req *posternv1.EnableWebhookRequest) (*posternv1.Webhook, error) {
	hook, err := s.webhooks.Enable(ctx, webhookID(req.GetName()))
	if err != nil {
		return nil, fmt.Errorf("enable webhook: %w", err)
	}
	return webhookProto(hook), nil
}

// DisableWebhook implements WebhookService.
func (s *webhookService) DisableWebhook(ctx context.Context, req *posternv1.DisableWebhookRequest) (*posternv1.Webhook, error) {
	hook, err := s.webhooks.Disable(ctx, webhookID(req.GetName()))
	if err != nil {
		return nil, fmt.Errorf("disable webhook: %w", err)
	}
	return webhookProto(hook), nil
}

// ReplayWebhook implements WebhookService.
func (s *webhookService) ReplayWebhook(ctx context.Context, req *posternv1.ReplayWebhookRequest) (*posternv1.Webhook, error) {
	var place eventlog.Place
	switch from := req.GetFrom().(type) {
	case *posternv1.ReplayWebhookRequest_AfterCursor:
		var err error
		if place.After, err = parseCursor("after_cursor", from.AfterCursor); err != nil {
			return nil, err
		}
	case *posternv1.ReplayWebhookRequest_StartTime:
		place.Since = from.StartTime.AsTime()
	}
	hook, err := s.webhooks.Replay(ctx, webhookID(req.GetName()), place)
	if err != nil {
		return nil, fmt.Errorf("replay: %w", err)
	}
	return webhookProto(hook), nil
}
