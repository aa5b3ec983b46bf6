package message

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestDefectsAreDocumented finds each code in the page that users read.
func TestDefectsAreDocumented(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("defect.go")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/reading.md")
	if err != nil {
		t.Fatal(err)
	}
	codes := regexp.MustCompile(`Defect = "([A-Z0-9_]+)"`).FindAllStringSubmatch(string(source), -1)
	if len(codes) < 20 {
		t.Fatalf("only %d codes found", len(codes))
	}
	for _, code := range codes {
		if !strings.Contains(string(page), "`"+code[1]+"`") {
			t.Errorf("docs/reading.md does not tell of %s", code[1])
		}
	}
}
