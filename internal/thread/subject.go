package thread

import (
	"regexp"
	"strings"
)

var (
	spaces = regexp.MustCompile(`\s+`)
	// trailer is subj-trailer (RFC 5256 section 5).
	trailer = regexp.MustCompile(`(?i)(?:\(fwd\)|\s)+$`)
	// leader is subj-leader: reply marks with the blobs that lists put in.
	leader = regexp.MustCompile(`(?i)^(?:(?:\[[^][]*\]\s*)*(?:re|fwd?)\s*(?:\[[^][]*\])?:|\s)`)
	// blob is subj-blob.
	blob = regexp.MustCompile(`^\[[^][]*\]\s*`)
	// forward is subj-fwd.
	forward = regexp.MustCompile(`(?i)^\[fwd:\s*(.*)\]$`)
)

// BaseSubject reduces a decoded subject to what a conversation shares, as RFC
// 5256 section 2.1 does, but for the case of its letters. reply says that
// something was taken off that marks an answer or a forward.
func BaseSubject(subject string) (base string, reply bool) {
	s := strings.TrimSpace(spaces.ReplaceAllString(subject, " "))
	for {
		if cut := trailer.ReplaceAllString(s, ""); cut != s {
			reply = reply || strings.Contains(strings.ToLower(s[len(cut):]), "fwd")
			s = cut
		}
		for again := true; again; {
			again = false
			if m := leader.FindString(s); m != "" {
				reply = reply || strings.TrimSpace(m) != ""
				s, again = s[len(m):], true
			}
			// A blob goes unless nothing would be left.
			if m := blob.FindString(s); m != "" && len(m) < len(s) {
				s, again = s[len(m):], true
			}
		}
		m := forward.FindStringSubmatch(s)
		if m == nil {
			return s, reply
		}
		s, reply = m[1], true
	}
}
