package account_test

import (
	"errors"
	"testing"

	"github.com/postern-mail/postern/internal/account"
)

// Who does not see an account is told what they would be of one that there is not,
// also of one that cannot be read, of which nobody knows whose it is.
func TestGetSeen(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	create(t, e.open(t), ann())
	bucket, err := e.js.KeyValue(t.Context(), "postern_accounts")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bucket.Put(t.Context(), "account.junk", []byte("{")); err != nil {
		t.Fatal(err)
	}
	all := func(*account.Account) bool { return true }
	none := func(*account.Account) bool { return false }
	registry := e.open(t)
	if got, err := registry.GetSeen(t.Context(), "ann", all); err != nil || got.ID != "ann" {
		t.Errorf("seen: %v, %v", got, err)
	}
	for _, id := range []string{"ann", "junk", "nothing", "not an id", "-"} {
		_, err := registry.GetSeen(t.Context(), id, none)
		var missing *account.NotFoundError
		if !errors.As(err, &missing) || missing.ID != id || err.Error() != (&account.NotFoundError{ID: id}).Error() {
			t.Errorf("%s: %v", id, err)
		}
	}
}
