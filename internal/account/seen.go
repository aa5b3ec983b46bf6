package account

import (
	"context"
	"errors"
)

// nobody is in place of an id that no account has.
const nobody = "-"

// GetSeen is Get for somebody for whom only those accounts exist that sees tells.
// Any other is to them as if it were not there: it fails with [ErrNotFound] and
// the id, after the same look into the bucket, so that the time which it takes
// does not tell the two apart either.
func (r *Registry) GetSeen(ctx context.Context, id string, sees func(*Account) bool) (*Account, error) {
	a, err := r.cache.read(id)
	switch {
	case err == nil && sees(a):
		return a, nil
	case err == nil: // it is there, and is looked for as if it were not
		_, err = r.load(ctx, nobody)
	default:
		a, err = r.Get(ctx, id)
		if err == nil && sees(a) {
			return a, nil
		}
	}
	// Whose account it is that cannot be read is not known.
	if err == nil || errors.Is(err, ErrNotFound) || errors.Is(err, ErrUnreadable) {
		err = &NotFoundError{ID: id}
	}
	return nil, err
}
