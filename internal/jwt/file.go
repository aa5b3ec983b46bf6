package jwt

import (
	"context"
	"log/slog"

	"github.com/go-jose/go-jose/v4"

	"github.com/postern-mail/postern/internal/access"
	"github.com/postern-mail/postern/internal/follow"
)

// keyFile is keys in a file, which is read again when it changes.
type keyFile struct {
	ring  ring
	files *follow.Files[[]*key]
	log   *slog.Logger
}

func openFile(name string, log *slog.Logger) (*keyFile, error) {
	f := &keyFile{log: log}
	var err error
	f.files, err = follow.New("keys of JSON Web Tokens", func(contents [][]byte) ([]*key, error) {
		keys, said, err := parseKeys(contents[0])
		mention(log, said, name)
		return keys, err
	}, name)
	if err != nil {
		return nil, err
	}
	f.ring.replace(f.files.Current())
	return f, nil
}

// Run implements source.
func (f *keyFile) Run(ctx context.Context) error {
	f.files.Run(ctx, f.log, f.ring.replace)
	return nil
}

func (f *keyFile) find(_ context.Context, id string, algorithm jose.SignatureAlgorithm) ([]*key, error) {
	found := f.ring.find(id, algorithm)
	if len(found) == 0 {
		return nil, access.ErrInvalid
	}
	return found, nil
}
