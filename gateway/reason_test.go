package gateway

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// Every reason that an error can have is explained to those who get it.
func TestReasonsAreDocumented(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("reason.go")
	if err != nil {
		t.Fatal(err)
	}
	docs, err := os.ReadFile("../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	reasons := regexp.MustCompile(`reason = "([A-Z_]+)"`).FindAllStringSubmatch(string(source), -1)
	if len(reasons) < 50 {
		t.Fatalf("only %d reasons were found", len(reasons))
	}
	for _, r := range reasons {
		if !strings.Contains(string(docs), "`"+r[1]+"`") {
			t.Errorf("docs/errors.md does not explain %s", r[1])
		}
	}
}
