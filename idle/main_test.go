package idle

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/eventlog"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/moves"
	"github.com/postern-mail/postern/internal/secret"
)

// childRole is set for a copy of the test binary that is to play a process of
// its own until it is killed.
const (
	childRole = "POSTERN_TEST_CHILD_ROLE"
	// roleWatch watches: childNATS is where NATS is, childKey the file with the
	// key of the accounts' secrets.
	roleWatch = "watch"
	childNATS = "POSTERN_TEST_CHILD_NATS"
	childKey  = "POSTERN_TEST_CHILD_KEY"
	// roleServe is a NATS server and a mail server, whose memory is not to be
	// counted among the watcher's.
	roleServe = "serve"
	childDir  = "POSTERN_TEST_CHILD_DIR"
)

func TestMain(m *testing.M) {
	var err error
	switch os.Getenv(childRole) {
	case "":
		os.Exit(m.Run())
	case roleWatch:
		err = watchUntilKilled(context.Background(), os.Getenv(childNATS), os.Getenv(childKey))
	case roleServe:
		err = serveUntilKilled(context.Background(), os.Getenv(childDir))
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func watchUntilKilled(ctx context.Context, url, keyFile string) error {
	conn, err := nats.Connect(url)
	if err != nil {
		return err
	}
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	box, err := secret.OpenFile(keyFile)
	if err != nil {
		return err
	}
	accounts, err := account.Open(ctx, js, account.Config{Box: box})
	if err != nil {
		return err
	}
	log, err := eventlog.Open(ctx, js, eventlog.Config{})
	if err != nil {
		return err
	}
	bucket, err := folder.OpenBucket(ctx, js, 1)
	if err != nil {
		return err
	}
	ledger, err := moves.Open(ctx, js, 1, nil)
	if err != nil {
		return err
	}
	return New(Config{
		Accounts: accounts, Connector: account.NewConnector(account.ConnectorConfig{Registry: accounts}), Log: log,
		Folders: folder.NewRegistry(bucket), Checkpoints: folder.NewCheckpoints(bucket), Moves: ledger,
		Node: "child", PollInterval: 200 * time.Millisecond,
	}).Run(ctx)
}
