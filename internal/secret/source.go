package secret

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// maxKeySetSize bounds what is read as a key set. A set of one key takes about
// 300 bytes; this leaves room for a hundred rotations.
const maxKeySetSize = 64 << 10

// EnvSource is what [InEnv] names as the source of its keys.
const EnvSource = "the environment (POSTERN_KEY)"

// rereadAfter is how soon a source is read again that shows no sign of a change:
// a command never shows one, and a failure may pass.
const rereadAfter = time.Minute

// KMS is a key of a key management service, which encrypts key sets.
type KMS struct {
	URI string
	// AEAD asks the service.
	AEAD tink.AEADWithContext
}

// Source is where a key set is kept, in Tink's JSON form: in a file, in the
// environment, or with a command that prints it. It is safe for concurrent use and
// prints without keys.
type Source struct {
	name string
	// path is that of the file, for a file.
	path string
	// read gives the key set as it is kept. stamp tells a change of it without
	// reading, where something does.
	read  func(ctx context.Context) ([]byte, error)
	stamp func() string
	// base64 says that the set is kept in that form.
	base64 bool
	kms    *KMS

	mu       sync.Mutex
	stamped  string
	again    time.Time // when it is read again whatever the stamp says
	loadedAs [sha256.Size]byte
}

// InEnv is a key set in an environment variable: the base64 form of a key file, as
// `base64 -w0 secret.key` prints it. It never changes.
func InEnv(value String) *Source {
	s := Given(EnvSource, value)
	s.base64 = true
	return s
}

// Given is a key set in Tink's JSON form that the caller has. It never changes.
func Given(name string, set String) *Source {
	return &Source{
		name:  name,
		read:  func(context.Context) ([]byte, error) { return []byte(set.Reveal()), nil },
		stamp: func() string { return "" },
	}
}

// Generate makes a key set with one new key.
func Generate() (String, error) {
	handle, err := newHandle()
	if err != nil {
		return String{}, err
	}
	set, err := (&Source{}).format(context.Background(), handle)
	return New(string(set)), err
}

// EncryptedBy says that the key set is encrypted by a KMS. A set that is not is
// refused then.
func (s *Source) EncryptedBy(kms KMS) *Source {
	s.kms = &kms
	return s
}

// String names the source, for messages to people.
func (s *Source) String() string { return s.name }

// Open reads the key set. Where it is in a file that does not exist, the file is
// made with a new key.
func (s *Source) Open(ctx context.Context) (*Box, error) {
	if s.path != "" {
		if err := s.create(ctx); err != nil {
			return nil, err
		}
	}
	set, err := s.load(ctx)
	if err != nil {
		return nil, err
	}
	if set == nil {
		return nil, fmt.Errorf("key set from %s: it is open already", s.name)
	}
	return newBox(set, s), nil
}

// load gives the key set, nil if it is the one that was loaded last.
func (s *Source) load(ctx context.Context) (*keySet, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stamp := s.stamp()
	if stamp == s.stamped && time.Now().Before(s.again) {
		return nil, nil
	}
	s.stamped, s.again = stamp, time.Now().Add(rereadAfter)
	content, err := s.content(ctx)
	if err != nil {
		return nil, err
	}
	hash := sha256.Sum256(content)
	if hash == s.loadedAs {
		return nil, nil
	}
	handle, err := s.parse(ctx, content)
	if err != nil {
		return nil, err
	}
	set, err := newKeySet(handle)
	if err != nil {
		return nil, fmt.Errorf("key set from %s: %w", s.name, err)
	}
	s.loadedAs = hash
	return set, nil
}

// content reads the key set in its JSON form.
func (s *Source) content(ctx context.Context) ([]byte, error) {
	content, err := s.read(ctx)
	if err != nil || !s.base64 {
		return content, err
	}
	decoded, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(content)))
	if err != nil {
		// The decoder's error is left out: it may quote what it was given.
		return nil, fmt.Errorf("key set from %s: not base64: give the output of `base64 -w0` for a key file", s.name)
	}
	return decoded, nil
}

// Keys gives the ids of the keys as they are kept now, and which is the primary one.
func (s *Source) Keys(ctx context.Context) (ids []KeyID, primary KeyID, err error) {
	handle, err := s.handle(ctx)
	if err != nil {
		return nil, 0, err
	}
	set, err := newKeySet(handle)
	if err != nil {
		return nil, 0, fmt.Errorf("key set from %s: %w", s.name, err)
	}
	return set.ids, set.primary, nil
}

// handle reads the key set, for who does not only open a Box with it.
func (s *Source) handle(ctx context.Context) (*keyset.Handle, error) {
	content, err := s.content(ctx)
	if err != nil {
		return nil, err
	}
	return s.parse(ctx, content)
}

// parse reads the JSON form, by the KMS where there is one.
func (s *Source) parse(ctx context.Context, content []byte) (*keyset.Handle, error) {
	var form struct {
		Encrypted string `json:"encryptedKeyset"`
	}
	// What is no JSON is told below.
	_ = json.Unmarshal(content, &form)
	encrypted := form.Encrypted != ""
	reader := keyset.NewJSONReader(bytes.NewReader(content))
	switch {
	case encrypted && s.kms == nil:
		return nil, fmt.Errorf("key set from %s is encrypted by a key management service: name its key with --kms-uri", s.name)
	case encrypted:
		handle, err := keyset.ReadWithContext(ctx, reader, s.kms.AEAD, nil)
		if err != nil {
			return nil, &KMSError{Source: s.name, URI: s.kms.URI, Err: err}
		}
		return handle, nil
	}
	handle, err := insecurecleartextkeyset.Read(reader)
	switch {
	case err != nil:
		// Parser errors may quote the content, which is the key.
		return nil, fmt.Errorf("key set from %s is damaged or not a Tink JSON key set: restore it from a copy", s.name)
	case s.kms != nil:
		return nil, fmt.Errorf("key set from %s is in clear although --kms-uri is given: "+
			"encrypt it with `postern keys encrypt`, or start without --kms-uri", s.name)
	}
	return handle, nil
}

// format writes the JSON form, encrypted where there is a KMS.
func (s *Source) format(ctx context.Context, handle *keyset.Handle) ([]byte, error) {
	var out bytes.Buffer
	writer := keyset.NewJSONWriter(&out)
	if s.kms == nil {
		err := insecurecleartextkeyset.Write(handle, writer)
		return out.Bytes(), err
	}
	if err := handle.WriteWithContext(ctx, writer, s.kms.AEAD, nil); err != nil {
		return nil, &KMSError{Source: s.name, URI: s.kms.URI, Err: err}
	}
	return out.Bytes(), nil
}

// A KMSError says that a key management service did not encrypt or decrypt a key
// set.
type KMSError struct {
	Source, URI string
	Err         error
}

// Error implements error.
func (e *KMSError) Error() string {
	// What services say has several lines.
	said := strings.Join(strings.Fields(e.Err.Error()), " ")
	return fmt.Sprintf("key set from %s: the key %s (--kms-uri) does not open it: %s: "+
		"see that it is the key which encrypted the set, that the service can be reached, and that this process may use the key", e.Source, e.URI, said)
}

// Unwrap gives what the service said.
func (e *KMSError) Unwrap() error { return e.Err }

// Rotate adds a new key to the set and makes it the primary one. A file is changed
// in place. For what is kept elsewhere the new set is returned, in the form in
// which it is kept, to be put there.
func (s *Source) Rotate(ctx context.Context) (added KeyID, set String, err error) {
	set, err = s.change(ctx, func(handle *keyset.Handle) (next *keyset.Handle, err error) {
		next, added, err = withNewKey(handle)
		return next, err
	})
	return added, set, err
}

// Remove takes keys out of the set; the primary one it refuses. It returns as
// Rotate does.
func (s *Source) Remove(ctx context.Context, ids []KeyID) (String, error) {
	return s.change(ctx, func(handle *keyset.Handle) (*keyset.Handle, error) { return without(handle, ids) })
}

// Encrypt has a key management service encrypt a set that is in clear, and returns
// as Rotate does.
func (s *Source) Encrypt(ctx context.Context, kms KMS) (String, error) {
	if s.kms != nil {
		return String{}, errors.New("the key set is encrypted already")
	}
	return s.change(ctx, func(handle *keyset.Handle) (*keyset.Handle, error) {
		s.kms = &kms
		return handle, nil
	})
}

// change puts a changed set in the place of the one that is there.
func (s *Source) change(ctx context.Context, change func(*keyset.Handle) (*keyset.Handle, error)) (set String, err error) {
	if s.path != "" {
		unlock, err := s.lock(ctx)
		if err != nil {
			return String{}, err
		}
		defer unlock()
	}
	handle, err := s.handle(ctx)
	if err != nil {
		return String{}, err
	}
	next, err := change(handle)
	if err != nil {
		return String{}, fmt.Errorf("key set from %s: %w", s.name, err)
	}
	content, err := s.format(ctx, next)
	switch {
	case err != nil:
		return String{}, err
	case len(content) > maxKeySetSize:
		return String{}, fmt.Errorf("key set from %s: it holds too many keys for another one: retire those that are not needed any more", s.name)
	case s.path != "":
		return String{}, s.replace(content)
	case s.base64:
		return New(base64.StdEncoding.EncodeToString(content)), nil
	}
	return New(string(content)), nil
}
