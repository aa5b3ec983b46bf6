package event_test

import (
	"os"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/event"
)

// Whoever consumes events finds each type explained.
func TestTypesAreDocumented(t *testing.T) {
	t.Parallel()
	docs, err := os.ReadFile("../../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range event.Types() {
		if !strings.Contains(string(docs), "`"+string(kind)+"`") {
			t.Errorf("docs/events.md does not explain %s", kind)
		}
	}
}
