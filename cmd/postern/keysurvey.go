package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/eventlog"
	"github.com/postern-mail/postern/internal/keyring"
	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/secret"
)

// keySurvey is a key set, and what is stored with its keys.
type keySurvey struct {
	source  *secret.Source
	ids     []secret.KeyID
	primary secret.KeyID
	*keyring.Survey
}

// surveyKeys looks at the key set and at what is stored.
func surveyKeys(ctx context.Context, cfg *config) (*keySurvey, error) {
	source, err := cfg.keySource()
	if err != nil {
		return nil, err
	}
	keys := &keySurvey{source: source}
	if keys.ids, keys.primary, err = source.Keys(ctx); err != nil {
		return nil, err
	}
	conn, closeStore, err := openStore(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer closeStore()
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, err
	}
	keys.Survey, err = keyring.Look(ctx, js, sealedKinds())
	return keys, err
}

// openStore connects to the NATS that has the records: the operator's own, that of
// the Postern which runs on the data directory, or else one on the directory for the
// time being.
func openStore(ctx context.Context, cfg *config) (conn *nats.Conn, closeStore func(), err error) {
	log, err := newLogger(io.Discard, "error", "text")
	if err != nil {
		return nil, nil, err
	}
	if !cfg.NATSURL.IsZero() {
		conn, err := connectNATS(ctx, cfg.NATSURL, log)
		if err != nil {
			return nil, nil, err
		}
		return conn, conn.Close, nil
	}
	if _, err := os.Stat(cfg.DataDir); err != nil {
		return nil, nil, fmt.Errorf("--data-dir: %w", err)
	}
	server, err := natsd.Start(ctx, natsd.Config{DataDir: cfg.DataDir, Private: true, Readable: eventlog.StreamName, Logger: log})
	if _, running := errors.AsType[*natsd.InUseError](err); running {
		address, err := os.ReadFile(filepath.Join(cfg.DataDir, "nats-url"))
		if err != nil {
			return nil, nil, fmt.Errorf("the address of the NATS server of the Postern that runs: %w", err)
		}
		conn, err := connectNATS(ctx, secret.New(strings.TrimSpace(string(address))), log)
		if err != nil {
			return nil, nil, err
		}
		return conn, conn.Close, nil
	}
	if err != nil {
		return nil, nil, err
	}
	stop := func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), natsShutdown)
		defer cancel()
		_ = server.Shutdown(ctx) // the end of the process does the rest
	}
	if conn, err = server.Connect(ctx); err != nil {
		stop()
		return nil, nil, err
	}
	return conn, func() { conn.Close(); stop() }, nil
}

// keyRow is what is told of one key.
type keyRow struct {
	Key     secret.KeyID   `json:"key"`
	State   string         `json:"state"`
	Records map[string]int `json:"records"`
}

// rows are the keys of the set, and those that are missing from it.
func (k *keySurvey) rows() []keyRow {
	all := slices.Clone(k.ids)
	for _, id := range slices.Sorted(maps.Keys(k.Records)) {
		if !slices.Contains(all, id) {
			all = append(all, id)
		}
	}
	if k.Active != 0 && !slices.Contains(all, k.Active) {
		all = append(all, k.Active)
	}
	rows := make([]keyRow, len(all))
	for i, id := range all {
		rows[i] = keyRow{Key: id, State: k.state(id), Records: k.Records[id]}
	}
	return rows
}

// state says in a word what becomes of a key.
func (k *keySurvey) state(id secret.KeyID) string {
	switch {
	case !slices.Contains(k.ids, id):
		return "missing"
	case id == k.Active:
		return "seals"
	case id == k.primary:
		return "waits"
	case k.Needed(id):
		return "old"
	}
	return "not needed"
}

func (k *keySurvey) write(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "KEY\tSTATE\tRECORDS")
	for _, row := range k.rows() {
		fmt.Fprintf(table, "%d\t%s\t%s\n", row.Key, row.State, counted(row.Records))
	}
	if len(k.Unreadable) > 0 {
		fmt.Fprintf(table, "?\tdamaged\t%s\n", counted(k.Unreadable))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, node := range k.Nodes {
		if _, err := fmt.Fprintf(out, "Node %s seals with %d and has %s.\n", node.Name, node.Uses, keyNames(node.Keys)); err != nil {
			return err
		}
	}
	return nil
}

func (k *keySurvey) writeJSON(out io.Writer) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(struct {
		Keys    []keyRow       `json:"keys"`
		Damaged map[string]int `json:"damaged,omitempty"`
		Nodes   []keyring.Node `json:"nodes,omitempty"`
	}{k.rows(), k.Unreadable, k.Nodes})
}

func counted(records map[string]int) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(records)) {
		parts = append(parts, fmt.Sprintf("%d %s", records[name], name))
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

func keyNames(ids []secret.KeyID) string {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = fmt.Sprint(id)
	}
	if len(names) == 1 {
		return "key " + names[0]
	}
	return "keys " + strings.Join(names, ", ")
}

// Before a key goes, what it sealed and is nowhere stored has to have ended: the
// places of event streams last longest. And in any case records that were on their
// way when another key took over have to have arrived.
const (
	givenOut = 24 * time.Hour
	onTheWay = 15 * time.Second
)

// retirable are the keys that can go at a time; only, if not 0, is the one that shall,
// and hurry that what was given out does not count.
func (k *keySurvey) retirable(at time.Time, only secret.KeyID, hurry bool) ([]secret.KeyID, error) {
	candidates := slices.DeleteFunc(slices.Clone(k.ids), func(id secret.KeyID) bool { return id == k.primary || id == k.Active })
	switch {
	case only != 0 && !slices.Contains(k.ids, only):
		return nil, fmt.Errorf("%s has no key %d", k.source, only)
	case only != 0 && !slices.Contains(candidates, only):
		return nil, fmt.Errorf("key %d is the one that seals: `postern keys rotate` makes another one", only)
	case k.Active != k.primary && k.Active != 0:
		return nil, fmt.Errorf("key %d is to take the place of %d, and has not yet: start Postern, "+
			"and see that all nodes have the key set; `postern keys list` lists them", k.primary, k.Active)
	case only != 0:
		candidates = []secret.KeyID{only}
	}
	wait := givenOut
	if hurry {
		wait = onTheWay
	}
	if left := wait - at.Sub(k.Since); len(candidates) > 0 && !k.Since.IsZero() && left > 0 {
		err := fmt.Errorf("key %d seals for less than %s, so what an older one sealed may still be around: try again in %s",
			k.Active, wait, left.Round(time.Second))
		if !hurry {
			err = fmt.Errorf("%w, or give --now to end the page tokens and event streams that are out there", err)
		}
		return nil, err
	}
	for _, node := range k.Nodes {
		if node.Uses != k.Active {
			return nil, fmt.Errorf("node %s still seals with key %d", node.Name, node.Uses)
		}
	}
	free := slices.DeleteFunc(candidates, k.Needed)
	if only != 0 && len(free) == 0 {
		return nil, fmt.Errorf("key %d is needed by %s: see that Postern runs, which seals them anew; what it cannot is in its log, "+
			"and requests end by themselves within a day", only, counted(k.Records[only]))
	}
	return free, nil
}
