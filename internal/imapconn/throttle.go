package imapconn

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
)

// maxRetryAfter caps what a server may ask for, so that a hostile or broken
// number does not silence an account for days.
const maxRetryAfter = 15 * time.Minute

// retryByCode says how long to leave a server alone that names no time itself.
var retryByCode = map[imap.ResponseCode]time.Duration{
	imap.ResponseCodeInUse:       5 * time.Second,  // another session holds the mailbox
	imap.ResponseCodeUnavailable: 30 * time.Second, // a backend is down
	imap.ResponseCodeLimit:       time.Minute,
	"THROTTLED":                  time.Minute,
}

// retryByText has the phrases by which servers without response codes say that
// they were asked too much.
var retryByText = []string{
	"throttled",
	"rate limit",
	"too many",
	"try again later",
	"command or bandwidth limits",
	"maximum number of connections",
}

// connectionLimitText has the phrases that mean too many connections rather
// than too many requests.
var connectionLimitText = []string{
	"simultaneous connections",
	"maximum number of connections",
	"too many connections",
	"too many sessions",
	"connection limit",
}

// suggestedBackoff is Microsoft's form; the number is in milliseconds.
var suggestedBackoff = regexp.MustCompile(`(?i)suggested backoff time:?\s*(\d+)`)

// RetryAfter says whether err is a server's momentary refusal, by its response
// code or its words, and how long to wait before the next attempt. It is false
// for refusals that time does not cure.
func RetryAfter(err error) (time.Duration, bool) {
	code, text, ok := refusal(err)
	if !ok {
		return 0, false
	}
	if m := suggestedBackoff.FindStringSubmatch(text); m != nil {
		ms, err := strconv.ParseInt(m[1], 10, 64)
		if err != nil || ms > maxRetryAfter.Milliseconds() {
			return maxRetryAfter, true
		}
		return time.Duration(ms) * time.Millisecond, true
	}
	if d, ok := retryByCode[code]; ok {
		return d, true
	}
	if containsAny(text, retryByText) {
		return time.Minute, true
	}
	return 0, false
}

// IsConnectionLimit reports whether the server refused because it has too many
// connections of this account or this address.
func IsConnectionLimit(err error) bool {
	_, text, ok := refusal(err)
	return ok && containsAny(text, connectionLimitText)
}

// refusal takes the code and the text out of a NO, BAD or BYE within err. A
// refusal of credentials is not among them, whatever its text says.
func refusal(err error) (code imap.ResponseCode, text string, ok bool) {
	var authErr *AuthError
	if errors.As(err, &authErr) {
		return "", "", false
	}
	var e *imap.Error
	if !errors.As(err, &e) {
		return "", "", false
	}
	return e.Code, e.Text, true
}

func containsAny(text string, phrases []string) bool {
	text = strings.ToLower(text)
	for _, p := range phrases {
		if strings.Contains(text, p) {
			return true
		}
	}
	return false
}
