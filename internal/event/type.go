// Package event says what an event is: its types, its data, its identity, its
// bytes. It is pure: no network, no clock, no randomness.
package event

import (
	"fmt"
	"slices"
	"strings"
)

// Type is what happened, as CloudEvents' "type", the types filters and the
// webhooks spell it: entity, dot, verb.
type Type string

// Everything that may happen.
const (
	TypeMessageCreated   Type = "message.created"
	TypeMessageUpdated   Type = "message.updated"
	TypeMessageMoved     Type = "message.moved"
	TypeMessageDeleted   Type = "message.deleted"
	TypeMessageMissing   Type = "message.missing"
	TypeMessageBounced   Type = "message.bounced"
	TypeMessageComplaint Type = "message.complaint"

	TypeFolderCreated  Type = "folder.created"
	TypeFolderRenamed  Type = "folder.renamed"
	TypeFolderDeleted  Type = "folder.deleted"
	TypeFolderReset    Type = "folder.reset"
	TypeFolderOverflow Type = "folder.overflow"

	TypeAccountCreated       Type = "account.created"
	TypeAccountConnected     Type = "account.connected"
	TypeAccountDegraded      Type = "account.degraded"
	TypeAccountAuthRequired  Type = "account.auth_required"
	TypeAccountUpdated       Type = "account.updated"
	TypeAccountPaused        Type = "account.paused"
	TypeAccountResumed       Type = "account.resumed"
	TypeAccountDeleted       Type = "account.deleted"
	TypeAccountSyncStarted   Type = "account.sync_started"
	TypeAccountSyncCompleted Type = "account.sync_completed"
	TypeAccountOwnerChanged  Type = "account.owner_changed"
	TypeAccountGap           Type = "account.gap"

	TypeSubmissionQueued    Type = "submission.queued"
	TypeSubmissionSent      Type = "submission.sent"
	TypeSubmissionDeferred  Type = "submission.deferred"
	TypeSubmissionFailed    Type = "submission.failed"
	TypeSubmissionUncertain Type = "submission.uncertain"
	TypeSubmissionCanceled  Type = "submission.canceled"

	TypeWebhookDisabled Type = "webhook.disabled"
	TypeWebhookTest     Type = "webhook.test"
)

var allTypes = []Type{
	TypeMessageCreated, TypeMessageUpdated, TypeMessageMoved, TypeMessageDeleted,
	TypeMessageMissing, TypeMessageBounced, TypeMessageComplaint,
	TypeFolderCreated, TypeFolderRenamed, TypeFolderDeleted, TypeFolderReset, TypeFolderOverflow,
	TypeAccountCreated, TypeAccountConnected, TypeAccountDegraded, TypeAccountAuthRequired,
	TypeAccountUpdated, TypeAccountPaused, TypeAccountResumed, TypeAccountDeleted,
	TypeAccountSyncStarted, TypeAccountSyncCompleted, TypeAccountOwnerChanged, TypeAccountGap,
	TypeSubmissionQueued, TypeSubmissionSent, TypeSubmissionDeferred, TypeSubmissionFailed,
	TypeSubmissionUncertain, TypeSubmissionCanceled,
	TypeWebhookDisabled, TypeWebhookTest,
}

// Types lists every type there is, in the order of the documentation.
func Types() []Type { return slices.Clone(allTypes) }

// Known reports whether t is one of [Types].
func (t Type) Known() bool { return slices.Contains(allTypes, t) }

// Entity is the part of the type before the dot: "message" of
// "message.created".
func (t Type) Entity() string {
	entity, _, _ := strings.Cut(string(t), ".")
	return entity
}

// subjectPrefix is the root of the log's subjects. Subjects end with the type:
// no folder or message token, because their number is unbounded and the cost
// of an append grows with an account's number of subjects.
const subjectPrefix = "postern.events."

// SubjectAll matches every event's subject.
const SubjectAll = subjectPrefix + ">"

// Subject is the NATS subject of an account's events of one type:
// postern.events.<account>.<entity>.<verb>.
func Subject(account string, t Type) string {
	return subjectPrefix + account + "." + string(t)
}

// SubjectOfAccount matches all events of one account; "*" for account matches
// every account's, as [SubjectAll] does.
func SubjectOfAccount(account string) string {
	return subjectPrefix + account + ".>"
}

// SubjectError reports a subject that is not one of the log's.
type SubjectError struct{ Subject string }

// Error implements error.
func (e *SubjectError) Error() string {
	return fmt.Sprintf("%q is not the subject of an event", e.Subject)
}

// ParseSubject is the inverse of [Subject]. Types that this version does not
// know are accepted: a newer node may have written them.
func ParseSubject(subject string) (account string, t Type, err error) {
	rest, ok := strings.CutPrefix(subject, subjectPrefix)
	if !ok {
		return "", "", &SubjectError{Subject: subject}
	}
	tokens := strings.Split(rest, ".")
	if len(tokens) != 3 || slices.ContainsFunc(tokens, func(s string) bool { return !ValidToken(s) }) {
		return "", "", &SubjectError{Subject: subject}
	}
	return tokens[0], Type(tokens[1] + "." + tokens[2]), nil
}

// ValidToken reports whether s can stand as one token of a subject, and so be
// an account's id: letters, digits, "-" and "_", at most 128 of them.
func ValidToken(s string) bool {
	if s == "" || len(s) > 128 {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}
