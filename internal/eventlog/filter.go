package eventlog

import (
	"slices"

	"github.com/postern-mail/postern/internal/event"
)

// Filter chooses events. The zero Filter chooses all.
type Filter struct {
	Accounts []string     // none: every account
	Types    []event.Type // none: every type
	// Chooses, where it is set, must choose the event, too. It is asked for
	// each event that the rest chooses, and must be quick and safe to call
	// concurrently. It must not change or keep the entry.
	Chooses func(*Entry) bool
}

// maxSubjects bounds the subjects that one read asks the server for. What a
// filter chooses beyond that is sorted out here.
const maxSubjects = 64

// Match reports whether the filter chooses an event.
func (f Filter) Match(e *Entry) bool {
	return (len(f.Accounts) == 0 || slices.Contains(f.Accounts, e.Account)) &&
		(len(f.Types) == 0 || slices.Contains(f.Types, e.Type)) &&
		(f.Chooses == nil || f.Chooses(e))
}

// subjects gives what to ask the server for: all that the filter chooses, and
// as little else as fits into [maxSubjects]. No two of them overlap, which the
// server requires. A filter that can choose nothing gives none.
func (f Filter) subjects() []string {
	accounts, types := dedupe(f.Accounts), dedupe(f.Types)
	accounts = slices.DeleteFunc(accounts, func(a string) bool { return !event.ValidToken(a) })
	types = slices.DeleteFunc(types, func(t event.Type) bool { return !t.Known() })
	switch {
	case len(accounts) == 0 && len(f.Accounts) > 0, len(types) == 0 && len(f.Types) > 0:
		return nil
	case len(accounts) == 0 && len(types) == 0:
		return []string{event.SubjectAll}
	}
	if len(accounts) > 0 && len(types) > 0 && len(accounts)*len(types) <= maxSubjects {
		subjects := make([]string, 0, len(accounts)*len(types))
		for _, account := range accounts {
			for _, t := range types {
				subjects = append(subjects, event.Subject(account, t))
			}
		}
		return subjects
	}
	// One of the two has to be sorted out here; an account is nearly always
	// the smaller part of the log.
	if len(accounts) > 0 && len(accounts) <= maxSubjects {
		subjects := make([]string, 0, len(accounts))
		for _, account := range accounts {
			subjects = append(subjects, event.SubjectOfAccount(account))
		}
		return subjects
	}
	if len(types) > 0 && len(types) <= maxSubjects {
		subjects := make([]string, 0, len(types))
		for _, t := range types {
			subjects = append(subjects, event.Subject("*", t))
		}
		return subjects
	}
	return []string{event.SubjectAll}
}

// dedupe is a sorted copy without repetitions.
func dedupe[S ~[]E, E ~string](list S) S {
	sorted := slices.Clone(list)
	slices.Sort(sorted)
	return slices.Compact(sorted)
}
