package hostiletest

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
)

// Leaks tells in which forms secrets are within data: as they are, in hexadecimal,
// and in base64 wherever within the encoded text they begin, as SASL has them.
func Leaks(data []byte, secrets ...string) []string {
	var found []string
	for _, secret := range secrets {
		for form, text := range forms(secret) {
			if bytes.Contains(data, []byte(text)) {
				found = append(found, fmt.Sprintf("%q %s", secret, form))
			}
		}
	}
	return found
}

func forms(secret string) map[string]string {
	all := map[string]string{"as it is": secret, "in hexadecimal": hex.EncodeToString([]byte(secret))}
	for before := range 3 {
		// What stands before and behind changes the characters at the ends only.
		padded := append(make([]byte, before), secret...)
		encoded := base64.RawStdEncoding.EncodeToString(padded)
		from, to := (before*8+5)/6, len(padded)*8/6
		all[fmt.Sprintf("in base64 at %d", before)] = encoded[from:to]
	}
	return all
}
