package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
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

// pageRequest asks for a page of a list.
type pageRequest interface {
	proto.Message
	GetPageSize() int32
	GetPageToken() string
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

// position opens the token of req; without one it gives nothing, which is the position
// of the first page. A token that is not ours and one that was given out for other
// arguments are the same to the cipher, and to the caller.
func (p pager) position(req pageRequest) ([]byte, error) {
	if req.GetPageToken() == "" {
		return nil, nil
	}
	mismatch := refuseField("page_token", reasonPageTokenMismatch,
		"The page token does not belong to this list with these arguments: repeat them as they were for the page before, or begin anew without a token.")
	sealed, err := base64.RawURLEncoding.DecodeString(req.GetPageToken())
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

// sequence opens the token of a list whose positions are sequences of a stream, 0 for
// the first page.
func (p pager) sequence(req pageRequest) (uint64, error) {
	position, err := p.position(req)
	sequence, _ := binary.Uvarint(position) // sealed here, so it is one
	return sequence, err
}

func sequencePosition(sequence uint64) []byte { return binary.AppendUvarint(nil, sequence) }

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

// cutPage cuts what was listed from a position on to a page, if one more than the page
// takes is there; next is the token of the page that begins behind its last item then.
func cutPage[T any](p pager, req pageRequest, items []T, position func(T) []byte) (page []T, next string, err error) {
	size := pageSize(req.GetPageSize())
	if len(items) <= size {
		return items, "", nil
	}
	page = items[:size]
	next, err = p.token(req, position(page[size-1]))
	return page, next, err
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
