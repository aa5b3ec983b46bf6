package main

import (
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/certtest"
)

func TestHealth(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := serveIn(t, dir)
	base, err := url.Parse(p.base)
	if err != nil {
		t.Fatal(err)
	}
	file := yamlFile(t, "data-dir: "+dir+"\nhttp: "+base.Host+"\n")
	anywhere := net.JoinHostPort("0.0.0.0", base.Port())
	for name, run := range map[string]outcome{
		"flag":             execute(t, nil, "health", "--http="+base.Host),
		"environment":      execute(t, []string{"POSTERN_HTTP=" + base.Host}, "health"),
		"file":             execute(t, nil, "health", "--config="+file),
		"all addresses":    execute(t, nil, "health", "--http="+anywhere),
		"address left out": execute(t, nil, "health", "--http=:"+base.Port()),
		"URL":              execute(t, nil, "health", "--url="+p.base),
	} {
		if run.code != exitOK || run.stdout != "" || run.stderr != "" {
			t.Errorf("%s: exit code %d, %q, %q", name, run.code, run.stdout, run.stderr)
		}
	}

	p.stop(t)
	execute(t, nil, "health", "--http="+base.Host).failed(t, "not ready")
	if run := execute(t, nil, "health", "--http=127.0.0.1:0"); run.code != exitUsage || !strings.Contains(run.stderr, "give the --url") {
		t.Errorf("port 0: exit code %d, %q", run.code, run.stderr)
	}
}

func TestHealthByTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certtest.Write(t, certtest.New(t).Server(t), cert, key)
	p := serveIn(t, t.TempDir(), "--tls-cert="+cert, "--tls-key="+key)
	base, err := url.Parse(p.base)
	if err != nil {
		t.Fatal(err)
	}
	if run := execute(t, nil, "health", "--http="+base.Host, "--tls-cert="+cert); run.code != exitOK {
		t.Errorf("exit code %d, %q", run.code, run.stderr)
	}
}
