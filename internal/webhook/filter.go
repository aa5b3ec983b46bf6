package webhook

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/postern-mail/postern/internal/access"
	"github.com/postern-mail/postern/internal/eventlog"
)

// logFilter is the part of the choice that the event log can make.
func (w *Webhook) logFilter() eventlog.Filter {
	return eventlog.Filter{Accounts: w.Accounts, Types: w.Types}
}

// wants reports whether a webhook chooses an event as things are now.
func (w *Webhooks) wants(ctx context.Context, hook *Webhook, j job) bool {
	labels := func(id string) map[string]string {
		a, err := w.config.Accounts.Get(ctx, id)
		if err != nil {
			return nil // an account that is gone has none
		}
		return a.Labels
	}
	return hook.logFilter().Match(&eventlog.Entry{Account: j.account, Type: j.typ}) && hook.chooses(j.account, j.body, labels)
}

// chooses makes the rest of the choice: by the labels of the event's account,
// as they are now, and by folder. labels gives the labels of an account.
func (w *Webhook) chooses(account string, body []byte, labels func(account string) map[string]string) bool {
	if len(w.AccountLabels) > 0 && !access.HasLabels(labels(account), w.AccountLabels) {
		return false
	}
	return len(w.Folders) == 0 || w.inFolders(body)
}

// inFolders reports whether an event is about one of the webhook's folders, or
// about none at all.
func (w *Webhook) inFolders(body []byte) bool {
	var about struct {
		Data struct {
			Folder         string `json:"folder"`
			PreviousFolder string `json:"previousFolder"`
		} `json:"data"`
	}
	if json.Unmarshal(body, &about) != nil || about.Data.Folder == "" {
		return true
	}
	return w.hasFolder(about.Data.Folder) || about.Data.PreviousFolder != "" && w.hasFolder(about.Data.PreviousFolder)
}

func (w *Webhook) hasFolder(name string) bool {
	account, _, ok := strings.Cut(name, "/folders/")
	return slices.Contains(w.Folders, name) || ok && slices.Contains(w.Folders, account+"/folders/-")
}
