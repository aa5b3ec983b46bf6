package gateway_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/account"
)

// Which folders are pushed can be set, is checked, and shows in the folders.
func TestWatchPolicy(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	name, _, _ := h.dovecot(t)
	got := h.do(t, http.MethodPatch, "/v1/"+name+"?updateMask=watch", object{"watch": object{
		"pollInterval": "120s", "idleFolders": []any{"Archive", "Work/Now"}, "excludedFolders": []any{"Junk"},
	}}).ok(t)
	if want := "map[excludedFolders:[Junk] idleFolders:[Archive Work/Now] pollInterval:120s]"; fmt.Sprint(got["watch"]) != want {
		t.Errorf("the policy is %v, want %s", got["watch"], want)
	}
	for why, folders := range map[string][]any{
		"excluded": {"Junk"}, "below an excluded one": {"Junk/Old"}, "empty": {""}, "twice": {"A", "A"},
		"too many": {"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"},
	} {
		t.Run(why, func(t *testing.T) {
			t.Parallel()
			h.do(t, http.MethodPatch, "/v1/"+name+"?updateMask=watch.idle_folders", object{"watch": object{"idleFolders": folders}}).
				refused(t, 400, "ARGUMENT_INVALID")
		})
	}
	for _, tc := range []struct {
		status account.Status
		want   map[string]string
	}{
		{account.Status{Capabilities: []string{"IDLE", "NOTIFY"}, Notify: true},
			map[string]string{"INBOX": "IDLE", "Archive": "NOTIFY", "Sent": "NOTIFY", "Junk": "WATCH_MODE_UNSPECIFIED"}},
		{account.Status{Capabilities: []string{"IDLE", "NOTIFY"}},
			map[string]string{"INBOX": "IDLE", "Archive": "IDLE", "Sent": "POLL", "Junk": "WATCH_MODE_UNSPECIFIED"}},
		{account.Status{},
			map[string]string{"INBOX": "POLL", "Archive": "POLL", "Sent": "POLL", "Junk": "WATCH_MODE_UNSPECIFIED"}},
	} {
		a, err := h.accounts.Get(t.Context(), strings.TrimPrefix(name, "accounts/"))
		if err != nil {
			t.Fatal(err)
		}
		tc.status.State = account.Connected
		if err := h.accounts.PutStatus(t.Context(), a, tc.status); err != nil {
			t.Fatal(err)
		}
		for folder, want := range tc.want {
			if got := h.folderNamed(t, name, folder)["watchMode"]; got != want {
				t.Errorf("%+v: %s is watched by %v, want %s", tc.status, folder, got, want)
			}
		}
	}
}
