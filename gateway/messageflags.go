package gateway

import (
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
	"google.golang.org/grpc/codes"

	"github.com/postern-mail/postern/internal/imapconn"
)

// systemFlags are those that a client can set (RFC 9051 section 2.3.2).
var systemFlags = []imap.Flag{imap.FlagSeen, imap.FlagAnswered, imap.FlagFlagged, imap.FlagDeleted, imap.FlagDraft}

// parseFlags reads the flags and keywords of a request's field, each once.
func parseFlags(field string, list []string) ([]imap.Flag, error) {
	flags := make([]imap.Flag, 0, len(list))
	for _, text := range list {
		flag, ok := parseFlag(text)
		switch {
		case sameFlag(imap.Flag(text), `\Recent`):
			return nil, refuseField(field, reasonArgumentInvalid, `\Recent is the server's own: it cannot be set.`)
		case !ok && strings.HasPrefix(text, `\`):
			return nil, refuseField(field, reasonArgumentInvalid, `%q is no system flag; there are \Seen, \Answered, \Flagged, \Deleted and \Draft.`, said(text))
		case !ok:
			return nil, refuseField(field, reasonArgumentInvalid,
				"%q is no keyword: it must be of printable ASCII without spaces, brackets, quotes and the characters %%, * and \\.", said(text))
		case !hasFlag(flags, flag):
			flags = append(flags, flag)
		}
	}
	return flags, nil
}

func parseFlag(text string) (imap.Flag, bool) {
	for _, system := range systemFlags {
		if sameFlag(imap.Flag(text), system) {
			return system, true
		}
	}
	// RFC 9051 section 9: flag-keyword is an atom.
	bad := func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`(){%*"\]`, r) }
	return imap.Flag(text), text != "" && !strings.ContainsFunc(text, bad)
}

// sameFlag: flags are case-insensitive (RFC 9051 section 2.3.2).
func sameFlag(a, b imap.Flag) bool { return strings.EqualFold(string(a), string(b)) }

func hasFlag(flags []imap.Flag, flag imap.Flag) bool {
	return slices.ContainsFunc(flags, func(f imap.Flag) bool { return sameFlag(f, flag) })
}

// sameFlags compares flags as a client sees them, without \Recent.
func sameFlags(a, b []imap.Flag) bool { return flagsEtag(a, 0) == flagsEtag(b, 0) }

// checkKeepable refuses flags that a mailbox would take and forget, as servers
// do with keywords that are not among PERMANENTFLAGS (RFC 9051 section 7.1).
func checkKeepable(box *imapconn.SelectData, flags []imap.Flag) error {
	if box.ReadOnly {
		return refuse(codes.PermissionDenied, reasonIMAPNoPerm, "The mail server lets this folder be read only.")
	}
	if box.PermanentFlags == nil {
		return nil // not told: all can be kept
	}
	for _, flag := range flags {
		keyword := !strings.HasPrefix(string(flag), `\`)
		if hasFlag(box.PermanentFlags, flag) || keyword && slices.Contains(box.PermanentFlags, imap.FlagWildcard) {
			continue
		}
		return refuse(codes.FailedPrecondition, reasonIMAPCannot,
			"The mail server cannot keep %s in this folder.", flag).with("flag", string(flag))
	}
	return nil
}
