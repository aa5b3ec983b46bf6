package gateway

import (
	"context"
	"fmt"
	"strings"

	"github.com/emersion/go-imap/v2"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/imapconn"
)

// GetQuota implements FolderService.
func (s *folderService) GetQuota(ctx context.Context, req *posternv1.GetQuotaRequest) (*posternv1.Quota, error) {
	a, err := s.accounts.Get(ctx, accountID(strings.TrimSuffix(req.GetName(), "/quota")))
	if err != nil {
		return nil, err
	}
	var roots []imapconn.QuotaData
	err = s.lister.mailboxes.Do(ctx, a.ID, "", nil, func(c *imapconn.Conn) error {
		_, roots, err = c.GetQuotaRoot(ctx, inboxName)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("get quota: %w", err)
	}
	return quotaProto(req.GetName(), roots), nil
}

// storageUnit is that of STORAGE (RFC 9208 section 5.1).
const storageUnit = 1024

func quotaProto(name string, roots []imapconn.QuotaData) *posternv1.Quota {
	out := &posternv1.Quota{Name: name}
	for _, root := range roots {
		shown := &posternv1.QuotaRoot{Root: root.Root, Resources: make(map[string]*posternv1.QuotaResource, len(root.Resources))}
		for kind, r := range root.Resources {
			shown.Resources[string(kind)] = &posternv1.QuotaResource{Usage: r.Usage, Limit: r.Limit}
		}
		out.Roots = append(out.Roots, shown)
		if r, ok := root.Resources[imap.QuotaResourceStorage]; ok {
			out.Storage = tighter(out.Storage, &posternv1.QuotaResource{Usage: bytesOf(r.Usage), Limit: bytesOf(r.Limit)})
		}
		if r, ok := root.Resources[imap.QuotaResourceMessage]; ok {
			out.Messages = tighter(out.Messages, &posternv1.QuotaResource{Usage: r.Usage, Limit: r.Limit})
		}
	}
	return out
}

// bytesOf converts a count of STORAGE, of which a server can claim more than
// there are numbers for.
func bytesOf(units int64) int64 { return min(units, 1<<62/storageUnit) * storageUnit }

// tighter is the one of two limits that leaves less.
func tighter(a, b *posternv1.QuotaResource) *posternv1.QuotaResource {
	if a == nil || b.GetLimit()-b.GetUsage() < a.GetLimit()-a.GetUsage() {
		return b
	}
	return a
}
