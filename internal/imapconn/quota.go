package imapconn

import (
	"context"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/imapwire"
)

// QuotaData is the use and the limits of a quota root.
type QuotaData = imapwire.QuotaData

// GetQuota asks for the use and the limits of a quota root (RFC 9208 section
// 4.1.1). It fails without QUOTA.
func (c *Conn) GetQuota(ctx context.Context, root string) (*QuotaData, error) {
	_, quotas, err := c.quota(ctx, "GETQUOTA", func(e *imapwire.Encoder) { e.String(root) })
	if err != nil {
		return nil, err
	}
	for i := range quotas {
		if quotas[i].Root == root {
			return &quotas[i], nil
		}
	}
	return nil, &ProtocolError{Command: "GETQUOTA", Err: errNoData}
}

// GetQuotaRoot asks for the quota roots of a mailbox and what they hold (RFC
// 9208 section 4.1.2). It fails without QUOTA.
func (c *Conn) GetQuotaRoot(ctx context.Context, mailbox string) (roots []string, quotas []QuotaData, err error) {
	return c.quota(ctx, "GETQUOTAROOT", func(e *imapwire.Encoder) { encodeName(e, mailbox) })
}

func (c *Conn) quota(ctx context.Context, verb string, argument func(*imapwire.Encoder)) (roots []string, quotas []QuotaData, err error) {
	if c.usable() == nil && !c.Has(imap.CapQuota) {
		return nil, nil, &CapabilityError{Command: verb, Cap: imap.CapQuota}
	}
	_, err = c.do(ctx, &command{
		name: verb,
		encode: func(e *imapwire.Encoder) {
			e.Atom(verb).SP()
			argument(e)
		},
		data: func(r imapwire.Response) (bool, error) {
			switch r.Name {
			case "QUOTA":
				q, err := c.dec.Quota()
				if err == nil && len(quotas) < maxRoots {
					quotas = append(quotas, *q)
				}
				return true, err
			case "QUOTAROOT":
				q, err := c.dec.QuotaRoot()
				if err == nil {
					roots = q.Roots
				}
				return true, err
			}
			return false, nil
		},
	})
	if err != nil {
		return nil, nil, err
	}
	return roots, quotas, nil
}

// maxRoots bounds the quota roots of one answer.
const maxRoots = 1 << 10
