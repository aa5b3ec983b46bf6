package imapconn

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/dovecottest"
)

func TestDovecotCompress(t *testing.T) {
	t.Parallel()
	srv := dovecottest.Shared(t)
	username, _ := srv.User(t)
	cfg := dovecotConfig(srv, username, ModeTLS)
	cfg.Compress = true
	c := dialConfig(t, cfg)
	if !c.Compressed() {
		t.Fatal("the connection is not compressed")
	}
	ctx := testContext(t)
	raw := []byte("Subject: large\r\n\r\n" + strings.Repeat("0123456789\r\n", 50_000))
	if _, err := c.Append(ctx, "INBOX", AppendMessage{Reader: bytes.NewReader(raw), Size: int64(len(raw))}); err != nil {
		t.Fatal(err)
	}
	selectInbox(t, c)
	opts := plain(imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{{Peek: true}}})
	got, err := fetched(t, c, imap.SeqSetNum(1), opts)
	if err != nil || len(got) != 1 {
		t.Fatalf("%d messages, %v", len(got), err)
	}
	if body, _ := got[0].Section(&imap.FetchItemBodySection{}); !bytes.Equal(body, raw) {
		t.Errorf("a body of %d bytes, want %d", len(body), len(raw))
	}
	var state *StateError
	if _, err := c.Idle(ctx, testTimeout); !errors.As(err, &state) || c.Err() != nil {
		t.Errorf("idle: %v", err)
	}
	if err := c.Noop(ctx); err != nil {
		t.Error(err)
	}
}

func TestCompressRefused(t *testing.T) {
	t.Parallel()
	s := scripted(t, `
		S: * PREAUTH [CAPABILITY IMAP4rev1 COMPRESS=DEFLATE] hello
		C: $c COMPRESS DEFLATE
		S: $c NO [COMPRESSIONACTIVE] already
		C: $n NOOP
		S: $n OK done`)
	cfg := s.config()
	cfg.Compress = true
	c := dialConfig(t, cfg)
	if c.Compressed() {
		t.Error("the connection passes for compressed")
	}
	if err := c.Noop(testContext(t)); err != nil {
		t.Error(err)
	}
}
