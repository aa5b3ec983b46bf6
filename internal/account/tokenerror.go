package account

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// TokenUnavailableError says that no access token could be had for now: the
// token endpoint cannot be reached, is overloaded or does not answer sensibly.
// It says nothing of the credentials; the same attempt may work later.
type TokenUnavailableError struct {
	Account string
	// RetryAfter is how long to wait before the next attempt.
	RetryAfter time.Duration
	Err        error
}

func (e *TokenUnavailableError) Error() string {
	return fmt.Sprintf("fetch an access token for account %s: %v: it is tried again", e.Account, e.Err)
}

// Unwrap returns the cause.
func (e *TokenUnavailableError) Unwrap() error { return e.Err }

// Temporary returns true.
func (e *TokenUnavailableError) Temporary() bool { return true }

// TokenRefusedError says that the provider refuses to issue access tokens: the
// grant was revoked or has expired, or the client is not known. Somebody has to
// authorize the account anew.
type TokenRefusedError struct {
	Account string
	// Code is the provider's error code (RFC 6749 section 5.2), such as
	// "invalid_grant", and Description what it says to people. Both are empty
	// where there was nothing to ask the provider with.
	Code        string
	Description string
}

func (e *TokenRefusedError) Error() string {
	text := fmt.Sprintf("the provider issues no access token for account %s", e.Account)
	if e.Code != "" {
		text += " (" + e.Code + ")"
	}
	if e.Description != "" {
		text += ": " + e.Description
	}
	return text + ": authorize it anew and update its oauth2 settings"
}

const (
	// minRetry and maxRetry bound how soon a token endpoint is asked again
	// after a failure.
	minRetry = 5 * time.Second
	maxRetry = 15 * time.Minute
	// maxDescription bounds what is repeated of a provider's words.
	maxDescription = 300
)

// temporaryCodes are answers that are errors in form and not in matter.
var temporaryCodes = map[string]bool{
	"temporarily_unavailable": true,
	"server_error":            true,
	"slow_down":               true, // RFC 8628 section 3.5
}

// tokenError says what a failed refresh means. Only an error code of OAuth's
// own counts as a refusal: a proxy's error page, whatever its status, must not
// send somebody off to authorize an account anew.
func tokenError(account string, err error) error {
	unavailable := &TokenUnavailableError{Account: account, RetryAfter: minRetry, Err: err}
	var answer *oauth2.RetrieveError
	if !errors.As(err, &answer) {
		// The text of a url.Error would repeat the URL, which may hold more
		// than it should.
		var request *url.Error
		if errors.As(err, &request) {
			unavailable.Err = request.Err
		}
		if strings.Contains(unavailable.Err.Error(), "malformed HTTP") {
			// net/http quotes what came instead, and has no type for it.
			unavailable.Err = errors.New("what answers does not speak HTTP")
		}
		return unavailable
	}
	status := 0
	if answer.Response != nil {
		status = answer.Response.StatusCode
		unavailable.RetryAfter = retryAfter(answer.Response.Header)
	}
	overloaded := status == http.StatusTooManyRequests || status == http.StatusRequestTimeout || status >= 500
	if answer.ErrorCode == "" || temporaryCodes[answer.ErrorCode] || overloaded {
		// Not the error itself: it quotes the body of the answer.
		unavailable.Err = fmt.Errorf("the token endpoint answers %s", strings.TrimSpace(fmt.Sprintf("%d %s", status, answer.ErrorCode)))
		return unavailable
	}
	return &TokenRefusedError{Account: account, Code: shorten(answer.ErrorCode), Description: shorten(answer.ErrorDescription)}
}

// retryAfter reads the seconds form of the header (RFC 9110 section 10.2.3).
func retryAfter(header http.Header) time.Duration {
	seconds, err := strconv.Atoi(header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return minRetry
	}
	return min(max(time.Duration(seconds)*time.Second, minRetry), maxRetry)
}

func shorten(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, text)
	if len(text) > maxDescription {
		text = strings.ToValidUTF8(text[:maxDescription], "") + "…"
	}
	return text
}
