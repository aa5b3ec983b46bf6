package token

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"hash/crc32"
	"strings"

	"github.com/postern-mail/postern/internal/secret"
)

// The text of a token: `pstn_`, its id, `_`, 200 random bits, and a check sum over
// all of it, in small letters and the digits 2 to 7 (RFC 4648 section 6). Programs
// that look for secrets in public places find it by
//
//	pstn_[a-z2-7]{16}_[a-z2-7]{47}
//
// and a mistyped token is told from an unknown one without looking it up.
const (
	textPrefix   = "pstn_"
	idLength     = 16
	secretLength = 40
	sumLength    = 7
	textLength   = len(textPrefix) + idLength + 1 + secretLength + sumLength
)

// Secret is the text of a new token, which only its maker gets to see.
type Secret struct {
	id   string
	text secret.String
}

// NewSecret makes the text of a new token, and with it the token's id.
func NewSecret() Secret {
	random := strings.ToLower(rand.Text() + rand.Text() + rand.Text()) // of 5 bits each
	id := random[:idLength]
	body := textPrefix + id + "_" + random[idLength:idLength+secretLength]
	return Secret{id: id, text: secret.New(body + checkSum(body))}
}

// ParseSecret reads the text of a token. It says nothing about whether there is one.
func ParseSecret(text secret.String) (Secret, bool) {
	value := text.Reveal()
	if len(value) != textLength || !strings.HasPrefix(value, textPrefix) {
		return Secret{}, false
	}
	rest := value[len(textPrefix):]
	id, random := rest[:idLength], rest[idLength+1:]
	if rest[idLength] != '_' || !isLower32(id) || !isLower32(random) {
		return Secret{}, false
	}
	body := value[:textLength-sumLength]
	return Secret{id: id, text: text}, checkSum(body) == value[len(body):]
}

// ID is the id of the token, which is no secret.
func (s Secret) ID() string { return s.id }

// Text is what the caller shows.
func (s Secret) Text() secret.String { return s.text }

// hash is what is stored of it. The secret is random and long, so that nothing is
// won by making guesses at it slow.
func (s Secret) hash() [sha256.Size]byte { return sha256.Sum256([]byte(s.text.Reveal())) }

var lower32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// checkSum finds typing errors; it keeps nobody from making up a token.
func checkSum(body string) string {
	var sum [4]byte
	binary.BigEndian.PutUint32(sum[:], crc32.ChecksumIEEE([]byte(body)))
	return lower32.EncodeToString(sum[:])
}

func isLower32(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '2' || r > '7') })
}
