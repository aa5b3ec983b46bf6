package submit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/compose"
	"github.com/postern-mail/postern/internal/kvbucket"
	"github.com/postern-mail/postern/internal/smtpconn"
)

const blockPrefix = "block."

func blockKey(account, id string) string { return blockPrefix + account + "." + id }

// ErrBlockNotFound says that there is no such block.
var ErrBlockNotFound = errors.New("no such block")

// Block is an address that gets no mail from an account.
type Block struct {
	ID      string `json:"id"`
	Account string `json:"account"`
	Address string `json:"address"`
	Reason  string `json:"reason,omitempty"`
	// Unsubscribed says that the address's owner has asked for it.
	Unsubscribed bool      `json:"unsubscribed,omitempty"`
	CreateTime   time.Time `json:"create_time"`
}

// BlockID gives the id of the block of an address: the same for all ways to write it,
// in capitals (few servers tell them apart, and nobody who unsubscribes means to) and
// with an international domain. It fails for what is not an address.
func BlockID(address string) (string, error) {
	wire, _, err := compose.Wire(address)
	if err != nil {
		return "", err
	}
	return blockIDOf(wire), nil
}

func blockIDOf(wire string) string {
	hash := sha256.Sum256([]byte(strings.ToLower(wire)))
	return hex.EncodeToString(hash[:16])
}

// CreateBlock blocks an address, whose id is one of [BlockID]. What is blocked already
// stays as it is. It fails with a [*limit.FullError], but never for who unsubscribes.
func (s *Store) CreateBlock(ctx context.Context, block Block) (_ *Block, err error) {
	if earlier, err := s.Block(ctx, block.Account, block.ID); !errors.Is(err, ErrBlockNotFound) {
		return earlier, err
	}
	if !block.Unsubscribed {
		hold := s.quotas.blocks.Hold(block.Account)
		defer func() { hold.Done(err == nil) }()
		if err := hold.Take(ctx, 1); err != nil {
			return nil, err
		}
	}
	block.CreateTime = time.Now().UTC()
	value, err := json.Marshal(block)
	if err != nil {
		return nil, err
	}
	_, err = s.kv.Create(ctx, blockKey(block.Account, block.ID), value)
	if kvbucket.IsConflict(err) {
		return s.Block(ctx, block.Account, block.ID)
	}
	if err != nil {
		return nil, fmt.Errorf("block an address: %w", err)
	}
	return &block, nil
}

// Block returns a block. It fails with [ErrBlockNotFound].
func (s *Store) Block(ctx context.Context, account, id string) (*Block, error) {
	entry, err := s.kv.Get(ctx, blockKey(account, id))
	if errors.Is(err, jetstream.ErrKeyNotFound) || errors.Is(err, jetstream.ErrInvalidKey) {
		return nil, fmt.Errorf("block %s of account %s: %w", id, account, ErrBlockNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read block %s: %w", id, err)
	}
	var block Block
	if err := json.Unmarshal(entry.Value(), &block); err != nil {
		return nil, fmt.Errorf("read block %s: %w", id, err)
	}
	return &block, nil
}

// Blocks returns the blocks of an account with an id above after, in the order of
// their ids, and at most limit. It returns fewer only where there are no more.
func (s *Store) Blocks(ctx context.Context, account, after string, limit int) ([]*Block, error) {
	ids, err := s.blockIDs(ctx, account)
	if err != nil {
		return nil, err
	}
	slices.Sort(ids)
	var page []*Block
	for _, id := range ids {
		if id <= after {
			continue
		}
		if len(page) == limit {
			break
		}
		block, err := s.Block(ctx, account, id)
		if errors.Is(err, ErrBlockNotFound) {
			continue // deleted just now
		}
		if err != nil {
			return nil, err
		}
		page = append(page, block)
	}
	return page, nil
}

func (s *Store) blockIDs(ctx context.Context, account string) ([]string, error) {
	ids, err := listKeys(ctx, s.kv, blockPrefix+account+".*")
	for i, key := range ids {
		_, ids[i] = split(key)
	}
	return ids, err
}

// DeleteBlock ends a block. It fails with [ErrBlockNotFound].
func (s *Store) DeleteBlock(ctx context.Context, account, id string) error {
	if _, err := s.Block(ctx, account, id); err != nil {
		return err
	}
	return s.purgeBlock(ctx, account, id)
}

func (s *Store) purgeBlock(ctx context.Context, account, id string) error {
	if err := s.kv.Purge(ctx, blockKey(account, id), jetstream.PurgeTTL(time.Hour)); err != nil {
		return fmt.Errorf("delete block %s: %w", id, err)
	}
	return nil
}

// forgetBlocks ends all blocks of an account.
func (s *Store) forgetBlocks(ctx context.Context, account string) error {
	ids, err := s.blockIDs(ctx, account)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := s.purgeBlock(ctx, account, id); err != nil {
			return err
		}
	}
	return nil
}

// Reject gives up those recipients of a submission that are still to be tried and are
// blocked by its account, and returns their addresses.
func (s *Store) Reject(ctx context.Context, submission *Submission) ([]string, error) {
	var blocked []string
	for i := range submission.Recipients {
		r := &submission.Recipients[i]
		if r.State != "" && !r.open() {
			continue
		}
		_, err := s.Block(ctx, submission.Account, blockIDOf(r.Address))
		if errors.Is(err, ErrBlockNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		r.State, r.Reply = RecipientRejected, smtpconn.Reply{Text: "The address is on the account's blocklist. It was not sent to."}
		blocked = append(blocked, r.Address)
	}
	return blocked, nil
}
