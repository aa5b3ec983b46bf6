package token

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	"github.com/postern-mail/postern/internal/access"
	"github.com/postern-mail/postern/internal/keyring"
	"github.com/postern-mail/postern/internal/kvbucket"
	"github.com/postern-mail/postern/internal/secret"
)

// sealer seals records. [*secret.Box] is one.
type sealer interface {
	Seal(plain, place []byte) ([]byte, error)
	Open(sealed, place []byte) ([]byte, error)
	// Changed is closed when there are other keys.
	Changed() <-chan struct{}
}

// SealedKinds are the records that are sealed.
func SealedKinds() []keyring.Kind {
	return []keyring.Kind{{
		Name: "tokens", Bucket: bucket, Prefix: tokenPrefix, Keys: keyring.Whole,
		Reseal: func(box *secret.Box, id string, value []byte) ([]byte, error) { return box.Reseal(value, place(id)) },
	}}
}

// record is how a token is stored, sealed. The hash is that of the whole text.
type record struct {
	DisplayName string            `json:"display_name,omitempty"`
	Scopes      []access.Scope    `json:"scopes"`
	Accounts    []string          `json:"accounts,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Creator     string            `json:"creator"`
	CreateTime  time.Time         `json:"create_time"`
	UpdateTime  time.Time         `json:"update_time"`
	ExpireTime  time.Time         `json:"expire_time,omitzero"`
	RevokeTime  time.Time         `json:"revoke_time,omitzero"`
	Hash        []byte            `json:"hash"`
	// Changes counts the changes, and makes the etag. The key's own revision will
	// not do, since it also moves when the record is sealed anew.
	Changes uint64 `json:"changes,omitempty"`
}

// stored is a token as the bucket has it.
type stored struct {
	*Token
	hash     [sha256.Size]byte
	changes  uint64
	revision uint64 // of the key
}

// place binds a sealed record to its token.
func place(id string) []byte { return []byte("token/" + id) }

func encode(box sealer, t *Token, hash [sha256.Size]byte, changes uint64) ([]byte, error) {
	plain, err := json.Marshal(record{
		DisplayName: t.DisplayName, Scopes: t.Scopes, Accounts: t.Accounts, Labels: t.Labels, Creator: t.Creator,
		CreateTime: t.CreateTime, UpdateTime: t.UpdateTime, ExpireTime: t.ExpireTime, RevokeTime: t.RevokeTime, Hash: hash[:],
		Changes: changes,
	})
	if err != nil {
		return nil, err
	}
	sealed, err := box.Seal(plain, place(t.ID))
	if err != nil {
		return nil, fmt.Errorf("seal token %s: %w", t.ID, err)
	}
	return sealed, nil
}

func decode(box sealer, id string, value []byte, revision uint64) (*stored, error) {
	plain, err := box.Open(value, place(id))
	if err != nil {
		return nil, fmt.Errorf("open token %s: %w", id, err)
	}
	var r record
	if err := json.Unmarshal(plain, &r); err != nil {
		return nil, fmt.Errorf("read token %s: %w", id, err)
	}
	t := &Token{
		ID: id, DisplayName: r.DisplayName, Creator: r.Creator, CreateTime: r.CreateTime, UpdateTime: r.UpdateTime,
		ExpireTime: r.ExpireTime, RevokeTime: r.RevokeTime, Etag: kvbucket.Etag(r.CreateTime, r.Changes),
		Grant: access.Grant{Scopes: r.Scopes, Accounts: r.Accounts, Labels: r.Labels},
	}
	s := &stored{Token: t, changes: r.Changes, revision: revision}
	if copy(s.hash[:], r.Hash) != len(s.hash) {
		return nil, fmt.Errorf("read token %s: it has no hash", id)
	}
	return s, nil
}
