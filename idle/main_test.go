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
	"github.com/postern-mail/postern/internal/secret"
)

// Set for a copy of the test binary that is to watch, in a process of its own
// that can be killed: where NATS is, and the key of the accounts' secrets.
const (
	childNATS = "POSTERN_TEST_CHILD_NATS"
	childKey  = "POSTERN_TEST_CHILD_KEY"
)

func TestMain(m *testing.M) {
	url := os.Getenv(childNATS)
	if url == "" {
		os.Exit(m.Run())
	}
	if err := watchUntilKilled(context.Background(), url, os.Getenv(childKey)); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
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
	return New(Config{
		Accounts: accounts, Connector: account.NewConnector(account.ConnectorConfig{Registry: accounts}), Log: log,
		Folders: folder.NewRegistry(bucket), Checkpoints: folder.NewCheckpoints(bucket),
		Node: "child", PollInterval: 200 * time.Millisecond,
	}).Run(ctx)
}
