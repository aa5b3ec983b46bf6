package message

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"slices"
	"strings"
	"unicode"

	"github.com/emersion/go-imap/v2"
)

// fingerprintVersion is hashed first: a change of the canonical form needs
// another one, and is a change of every fingerprint that was given out.
const fingerprintVersion = "postern-fingerprint-1"

// fingerprintBytes are enough that two of 2^60 messages meet by chance.
const fingerprintBytes = 20

// fingerprintEncoding is base32hex in lower case: safe in URLs, NATS subjects
// and KV keys.
var fingerprintEncoding = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// Fingerprint identifies a message by what it is, on servers that have no
// lasting id of their own: 32 characters out of a keyed HMAC-SHA-256 over
// Message-ID, Date, From, To, Subject and size. The key keeps outsiders from
// computing which message a fingerprint is of.
//
// Copies of a message have the same fingerprint wherever they are.
func Fingerprint(key [32]byte, env *imap.Envelope, size int64) string {
	e, _ := EnvelopeOf(env)
	return e.Fingerprint(key, size)
}

// Fingerprint is [Fingerprint] of an envelope that has been decoded, or read
// from the message's header.
func (e Envelope) Fingerprint(key [32]byte, size int64) string {
	mac := hmac.New(sha256.New, key[:])
	field := func(s string) {
		var n [4]byte
		binary.BigEndian.PutUint32(n[:], uint32(len(s)))
		mac.Write(n[:])
		mac.Write([]byte(s))
	}
	number := func(v int64) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(v))
		mac.Write(n[:])
	}
	field(fingerprintVersion)
	field(squeeze(e.MessageID))
	// The instant; servers differ in how they tell the zone.
	if e.Date.IsZero() {
		number(0)
	} else {
		number(e.Date.Unix())
	}
	field(canonicalAddresses(e.From))
	field(canonicalAddresses(e.To))
	field(squeeze(e.Subject))
	number(size)
	return fingerprintEncoding.EncodeToString(mac.Sum(nil)[:fingerprintBytes])
}

// canonicalAddresses is the sorted set of addresses. Names are left out, as
// servers take them apart differently, and so is the order.
func canonicalAddresses(list []Address) string {
	addresses := make([]string, 0, len(list))
	for _, a := range list {
		if a.Address != "" {
			addresses = append(addresses, strings.ToLower(squeeze(strings.ReplaceAll(a.Address, `"`, ""))))
		}
	}
	slices.Sort(addresses)
	return strings.Join(slices.Compact(addresses), ",")
}

// squeeze drops all blanks and control characters: servers unfold long fields
// in different ways.
func squeeze(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.IsControl(r) {
			return -1
		}
		return r
	}, s)
}
