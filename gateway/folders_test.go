package gateway_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/folder"
)

func TestFolders(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	account, user, server := h.dovecot(t)
	client := server.Client(t, user)
	for _, name := range []string{"Projects", "Projects/Üben", "b", "A"} {
		if err := client.Create(name, nil).Wait(); err != nil {
			t.Fatal(err)
		}
	}
	server.Deliver(t, user, "Projects/Üben", mail("m1"))
	var paths []string
	token := ""
	for page := 0; page == 0 || token != ""; page++ {
		o := h.get(t, "/v1/"+account+"/folders"+values("pageSize", "4", "pageToken", token))
		for _, f := range list(o, "folders") {
			paths = append(paths, fmt.Sprint(f["path"]))
		}
		token = o["nextPageToken"].(string)
	}
	want := []string{"[INBOX]", "[A]", "[Archive]", "[b]", "[Drafts]", "[Junk]", "[Projects]", "[Projects Üben]", "[Sent]", "[Trash]"}
	if !slices.Equal(paths, want) {
		t.Errorf("paths %v, want %v", paths, want)
	}
	f := h.folderNamed(t, account, "Üben")
	again := h.get(t, "/v1/"+f["name"].(string))
	if fmt.Sprint(f) != fmt.Sprint(again) || f["total"] != 1.0 || f["unread"] != 1.0 || f["uidValidity"] == 0.0 || f["highestModseq"] == "0" {
		t.Errorf("listed %v\nalone %v", f, again)
	}
	junk := h.folderNamed(t, account, "Junk")
	if junk["role"] != "JUNK" || junk["roleSource"] != "SPECIAL_USE" {
		t.Errorf("junk: %v", junk)
	}
	if err := client.Delete("A").Wait(); err != nil {
		t.Fatal(err)
	}
	for _, p := range list(h.get(t, "/v1/"+account+"/folders"), "folders") {
		if fmt.Sprint(p["path"]) == "[A]" {
			t.Error("a deleted folder is still listed")
		}
	}
}

// A server that goes on listing folders as they were, on the connections that it
// has, is asked on another one.
func TestFrozenListOfRenamed(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	account, user, server := h.dovecot(t)
	if err := server.Client(t, user).Create("Old", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	h.folderNamed(t, account, "Old")
	server.FreezeLists(t, user)
	if err := server.Client(t, user).Rename("Old", "New", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, f := range list(h.get(t, "/v1/"+account+"/folders"), "folders") {
		paths = append(paths, fmt.Sprint(f["path"]))
	}
	if slices.Contains(paths, "[Old]") || !slices.Contains(paths, "[New]") {
		t.Errorf("a folder was renamed; there are %v", paths)
	}
}

// A folder that is known by another connection is there on the first one, too.
func TestFrozenListOfNew(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	account, user, server := h.dovecot(t)
	h.folderNamed(t, account, "INBOX")
	server.FreezeLists(t, user)
	if err := server.Client(t, user).Create("New", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	seen := []folder.Seen{{Name: "New", Delimiter: '/'}}
	known, err := h.folders.Resolve(t.Context(), strings.TrimPrefix(account, "accounts/"), seen)
	if err != nil {
		t.Fatal(err)
	}
	name := account + "/folders/" + known[0].Key.String()
	if f := h.get(t, "/v1/"+name); fmt.Sprint(f["path"]) != "[New]" {
		t.Errorf("the new folder is %v", f)
	}
	if f := h.folderNamed(t, account, "New"); f["name"] != name {
		t.Errorf("the new folder is %v, want %s", f, name)
	}
}
