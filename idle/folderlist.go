package idle

import (
	"context"
	"errors"

	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/imapconn"
)

// listed is a folder as the server lists it.
type listed struct {
	folder.Seen
	status *imapconn.StatusData // nil when it could not be had
}

// list asks the server for its folders and their state. Folders that cannot be
// opened are left out, and there in the names alone.
func list(ctx context.Context, conn *imapconn.Conn) (folders []listed, names map[string]bool, err error) {
	found, err := conn.ListStatus(ctx, &imapconn.ListOptions{Status: statusItems(), Prefixes: true})
	if err != nil {
		return nil, nil, err
	}
	folders, names = make([]listed, 0, len(found)), make(map[string]bool, len(found))
	for i := range found {
		data := &found[i]
		names[data.Name()] = true
		if data.Selectable() {
			seen := folder.Seen{Name: data.Name(), Delimiter: data.Delim, Prefix: data.Prefix}
			folders = append(folders, listed{seen, data.Status})
		}
	}
	return folders, names, nil
}

// complete adds what a list lacks: INBOX, which there always is (RFC 9051
// section 5.1), and folders that were there before and are there when the server
// is asked for each of them. A list from a server in trouble may be a part of
// one, and what is missing from it must not be taken for deleted. names are all
// that are listed. ghosts are folders that somebody else has seen, and that were
// gone before the log could know them.
func (o *owner) complete(ctx context.Context, conn *imapconn.Conn, found []listed, names map[string]bool, known []folder.Folder) (all []listed, ghosts []folder.Key, err error) {
	there := map[string]bool{}
	for _, l := range found {
		there[l.Name] = true
	}
	if !there[inboxName] {
		there[inboxName] = true
		inbox := listed{Seen: folder.Seen{Name: inboxName}}
		if len(found) > 0 {
			inbox.Delimiter = found[0].Delimiter
		}
		found = append(found, inbox)
	}
	var asked []string
	var missing []folder.Folder
	for name, f := range o.names {
		if !there[name] {
			asked, missing = append(asked, name), append(missing, f.Folder)
		}
	}
	for _, k := range known {
		if !k.Deleted && o.folders[k.Key] == nil && o.names[k.Name] == nil && !there[k.Name] && !names[k.Name] {
			asked, missing = append(asked, k.Name), append(missing, k)
		}
	}
	results, err := conn.StatusUnlisted(ctx, asked, statusItems())
	if err != nil {
		return nil, nil, err
	}
	lacking := false
	for i, result := range results {
		f, watched := missing[i], o.names[asked[i]] != nil
		throttled := result.Err != nil && isThrottled(result.Err)
		var refused *imapconn.Error
		switch {
		case result.Err == nil, watched && throttled:
			lacking = true
			found = append(found, listed{folder.Seen{Name: asked[i], Delimiter: f.Delimiter, Prefix: f.Prefix}, result.Data})
		case !watched && !throttled && errors.As(result.Err, &refused):
			ghosts = append(ghosts, f.Key)
		}
	}
	// What else the list lacks, the next one may have.
	o.renaming = o.renaming || lacking && !o.lacking
	o.lacking = lacking
	return found, ghosts, nil
}
