package gateway

import (
	"slices"
	"testing"

	"github.com/emersion/go-imap/v2"
)

func TestWhereSortedPagesGoOn(t *testing.T) {
	t.Parallel()
	order := []imap.UID{7, 3, 9, 1, 5}
	for name, test := range map[string]struct {
		position sortedPosition
		want     []imap.UID
	}{
		"the first page":               {sortedPosition{}, order},
		"behind the last":              {sortedPosition{offset: 2, last: []imap.UID{7, 3}}, []imap.UID{9, 1, 5}},
		"the last is gone":             {sortedPosition{offset: 2, last: []imap.UID{7, 4}}, []imap.UID{3, 9, 1, 5}},
		"all of them are gone":         {sortedPosition{offset: 2, last: []imap.UID{2, 4}}, order},
		"and more than were there":     {sortedPosition{offset: 1, last: []imap.UID{2, 4, 6}}, order},
		"those that are remembered":    {sortedPosition{offset: 4, last: []imap.UID{2, 4}}, []imap.UID{9, 1, 5}},
		"more are gone than there are": {sortedPosition{offset: 40, last: []imap.UID{2}}, nil},
	} {
		if got := test.position.rest(order); !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}
