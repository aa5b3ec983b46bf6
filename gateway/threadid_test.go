package gateway

import (
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/folder"
)

func FuzzThreadID(f *testing.F) {
	for _, id := range []threadID{
		{threadByObjectID, "T1-2_3"}, {threadByGmail, "18c2a"}, rootedThread("a.b+c@example.com", folder.MessageID{}),
		rootedThread("", folder.MessageID{UID: 7}), rootedThread(strings.Repeat("x", 300), folder.MessageID{UIDValidity: 1, UID: 7}),
	} {
		f.Add(id.String())
	}
	f.Add("m_____w")
	f.Fuzz(func(t *testing.T, text string) {
		id, ok := parseThreadID(text)
		if !ok {
			return
		}
		again, ok := parseThreadID(id.String())
		if !ok || again != id {
			t.Errorf("%q is %+v, then %+v", text, id, again)
		}
	})
}
