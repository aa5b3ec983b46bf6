package webhook

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// An independent implementation, the npm package standardwebhooks, accepts our
// signatures, both during a rotation, and sees through forgeries.
func TestStandardWebhooksVerifies(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "standardwebhooks"))); err != nil {
		t.Fatal(err)
	}
	install := exec.CommandContext(t.Context(), "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("this test needs Node.js with npm, and the package standardwebhooks: %v\n%s", err, out)
	}

	h := newHouse(t, nil)
	s := newSink(t, nil)
	hook := h.hook(s.URL, nil)
	h.run()
	s.untilAccepted(t, h.happen("ann", 3))
	rotated, err := h.RotateSecret(t.Context(), hook.ID, "", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	before := len(s.requests())
	if _, err := h.Test(t.Context(), hook.ID); err != nil {
		t.Fatal(err)
	}
	var lines bytes.Buffer
	var want []string
	ask := func(secret string, header http.Header, body []byte, good string) {
		headers := make(map[string]string)
		for name := range header {
			headers[http.CanonicalHeaderKey(name)] = header.Get(name)
		}
		line, err := json.Marshal(map[string]any{"secret": secret, "headers": headers, "body": string(body)})
		if err != nil {
			t.Fatal(err)
		}
		lines.Write(append(line, '\n'))
		want = append(want, good)
	}
	first, last := hook.Secret.Reveal(), rotated.Secret.Reveal()
	for _, r := range s.requests()[:before] {
		ask(first, r.header, r.body, "good")
		ask(last, r.header, r.body, "bad: No matching signature found")
		ask(first, r.header, append(bytes.Clone(r.body), ' '), "bad: No matching signature found")
	}
	both := s.requests()[before]
	ask(first, both.header, both.body, "good")
	ask(last, both.header, both.body, "good")

	node := exec.CommandContext(t.Context(), "node", "verify.js")
	node.Dir, node.Stdin = dir, &lines
	out, err := node.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	scanner := bufio.NewScanner(bytes.NewReader(out))
	for i, verdict := range want {
		if !scanner.Scan() || scanner.Text() != verdict {
			t.Errorf("request %d: %q, want %q", i, scanner.Text(), verdict)
		}
	}
}
