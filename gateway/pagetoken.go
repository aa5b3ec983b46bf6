package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/postern-mail/postern/internal/access"
)

// sealer makes page tokens that nobody can read or forge: they hold UIDs and
// folder names, and a forged one must not make the gateway look elsewhere.
// It is what secret.Box has.
type sealer interface {
	Seal(plain, place []byte) ([]byte, error)
	Open(sealed, place []byte) ([]byte, error)
}

// pager gives out and takes back the tokens of one kind of list.
type pager struct {
	box sealer
	// kind keeps the tokens of one list from being used for another.
	kind string
}

// seenBy gives the pager of a list that shows each caller what exists for them: its
// tokens are good for callers who see the same.
func (p pager) seenBy(ctx context.Context) pager {
	if grant := access.From(ctx).Grant; !grant.SeesAll() {
		p.kind = fmt.Sprintf("%s %q %s", p.kind, grant.Accounts, labelList(grant.Labels))
	}
	return p
}

// token seals the position at which the next page begins, for a list with the
// arguments of req.
func (p pager) token(req proto.Message, position []byte) (string, error) {
	place, err := p.place(req)
	if err != nil {
		return "", err
	}
	sealed, err := p.box.Seal(position, place)
	if err != nil {
		return "", fmt.Errorf("seal page token: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(sealed), nil
}

// position opens the token of req. A token that is not ours and one that was
// given out for other arguments are the same to the cipher, and to the caller.
func (p pager) position(req proto.Message, token string) ([]byte, error) {
	mismatch := refuseField("page_token", reasonPageTokenMismatch,
		"The page token does not belong to this list with these arguments: repeat them as they were for the page before, or begin anew without a token.")
	sealed, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return nil, mismatch
	}
	place, err := p.place(req)
	if err != nil {
		return nil, err
	}
	position, err := p.box.Open(sealed, place)
	if err != nil {
		return nil, mismatch
	}
	return position, nil
}

// place binds a token to all arguments of its list but the page's size and the
// token itself.
func (p pager) place(req proto.Message) ([]byte, error) {
	same := proto.Clone(req)
	m := same.ProtoReflect()
	for _, name := range []protoreflect.Name{"page_size", "page_token"} {
		if field := m.Descriptor().Fields().ByName(name); field != nil {
			m.Clear(field)
		}
	}
	arguments, err := proto.MarshalOptions{Deterministic: true}.Marshal(same)
	if err != nil {
		return nil, fmt.Errorf("encode the arguments of a list: %w", err)
	}
	hash := sha256.Sum256(arguments)
	return append([]byte("page-token/"+p.kind+"/"), hash[:]...), nil
}

// defaultPageSize is what page_size 0 means in every list.
const defaultPageSize = 50

// pageSize is the number of items asked for; the proto files bound it.
func pageSize(asked int32) int {
	if asked == 0 {
		return defaultPageSize
	}
	return int(asked)
}
