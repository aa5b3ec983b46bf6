package idle

import "context"

// bulkAtOnce is how many accounts of a node read much mail at the same time. The
// others wait for their turn, which is one step long: so a mailbox in which a
// hundred thousand messages have come takes neither the memory of the node nor
// the log from the others, whose new mail does not come this way.
const bulkAtOnce = 8

// bulk does one step of work on very much mail when it is the account's turn.
func (o *owner) bulk(ctx context.Context, step func() error) error {
	select {
	case o.config.bulk <- struct{}{}:
		defer func() { <-o.config.bulk }()
	case <-ctx.Done():
		return ctx.Err()
	}
	return step()
}
