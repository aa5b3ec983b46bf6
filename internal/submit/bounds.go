package submit

import (
	"context"

	"github.com/postern-mail/postern/internal/limit"
)

// Bounds are how much there may be of each account. 0 means any number.
type Bounds struct {
	// Uploads are files that no message was made of yet, Submissions those that have
	// not ended, and Blocks the addresses on the blocklist.
	Uploads, Submissions, Blocks int
	// MiB is what uploads and messages take together, but for those messages that are
	// kept within the records of their submissions.
	MiB int
}

// quotas keep what is stored within the bounds.
type quotas struct{ uploads, submissions, blocks, bytes *limit.Quota }

func count(keys []string, err error) (int64, error) { return int64(len(keys)), err }

func (s *Store) newQuotas(bounds Bounds) quotas {
	return quotas{
		uploads: limit.NewQuota(limit.Bound{
			Setting: "uploads-per-account", What: "uploads of this account", Instead: "send some, or wait until they are a day old",
			Most: bounds.Uploads, Unit: 1,
		}, func(ctx context.Context, account string) (int64, error) {
			return count(listKeys(ctx, s.kv, uploadKey(account, "*")))
		}),
		submissions: limit.NewQuota(limit.Bound{
			Setting: "submissions-per-account", What: "submissions of this account that have not ended", Instead: "wait until some are sent, or cancel some",
			Most: bounds.Submissions, Unit: 1,
		}, func(ctx context.Context, account string) (int64, error) {
			return count(s.keys(ctx, openKey(account, "*")))
		}),
		blocks: limit.NewQuota(limit.Bound{
			Setting: "blocks-per-account", What: "blocks of this account", Most: bounds.Blocks, Unit: 1,
		}, func(ctx context.Context, account string) (int64, error) {
			return count(listKeys(ctx, s.kv, blockKey(account, "*")))
		}),
		bytes: limit.NewQuota(limit.Bound{
			Setting: "outbox-mib-per-account", What: "MiB of uploads and messages of this account",
			Instead: "wait until some are sent, or cancel some", Most: bounds.MiB, Unit: 1 << 20,
		}, func(ctx context.Context, account string) (int64, error) { return s.bodies.bytesOf(ctx, account) }),
	}
}

// Room fails with a [*limit.FullError] when an account may have no more submissions.
func (s *Store) Room(ctx context.Context, account string) error {
	return s.quotas.submissions.Room(ctx, account, 1)
}
