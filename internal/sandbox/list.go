package sandbox

import (
	"maps"
	"slices"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
)

// List lists folders with their special uses and whether they have children.
// The in-memory server knows neither.
func (s *session) List(w *imapserver.ListWriter, ref string, patterns []string, options *imap.ListOptions) error {
	if len(patterns) == 0 { // asks for the delimiter
		return s.UserSession.List(w, ref, patterns, options)
	}
	for _, data := range s.account.list(ref, patterns, options) {
		if !s.has(imap.CapSpecialUse) {
			data.Attrs = slices.DeleteFunc(data.Attrs, isSpecialUse)
		}
		if options.ReturnStatus != nil {
			status, err := s.Status(data.Mailbox, options.ReturnStatus)
			if err != nil {
				continue // the folder has just been deleted
			}
			data.Status = status
		}
		if err := w.WriteList(&data); err != nil {
			return err
		}
	}
	return nil
}

func isSpecialUse(attr imap.MailboxAttr) bool {
	return slices.ContainsFunc(usualFolders, func(f usualFolder) bool { return f.use == attr })
}

func (a *account) list(ref string, patterns []string, options *imap.ListOptions) []imap.ListData {
	a.mu.Lock()
	defer a.mu.Unlock()
	var listed []imap.ListData
	for _, name := range slices.Sorted(maps.Keys(a.folders)) {
		f := a.folders[name]
		if !matches(name, ref, patterns) ||
			options.SelectSubscribed && !f.subscribed ||
			options.SelectSpecialUse && len(f.use) == 0 {
			continue
		}
		attrs := slices.Clone(f.use)
		if a.hasChildrenLocked(name) {
			attrs = append(attrs, imap.MailboxAttrHasChildren)
		} else {
			attrs = append(attrs, imap.MailboxAttrHasNoChildren)
		}
		if f.subscribed && (options.SelectSubscribed || options.ReturnSubscribed) {
			attrs = append(attrs, imap.MailboxAttrSubscribed)
		}
		listed = append(listed, imap.ListData{Mailbox: name, Delim: rune(delimiter[0]), Attrs: attrs})
	}
	return listed
}

func matches(name, ref string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		return imapserver.MatchList(name, rune(delimiter[0]), ref, pattern)
	})
}
