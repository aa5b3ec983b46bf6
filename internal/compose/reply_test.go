package compose_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postern-mail/postern/internal/compose"
)

func addresses(list ...string) []compose.Address {
	var out []compose.Address
	for _, address := range list {
		out = append(out, compose.Address{Address: address})
	}
	return out
}

func TestWhoGetsAnAnswer(t *testing.T) {
	t.Parallel()
	self := []string{"ann@example.org", "Sales@example.org"}
	for name, test := range map[string]struct {
		original compose.Original
		mode     compose.Mode
		given    []compose.Address
		to, cc   []compose.Address
	}{
		"reply": {compose.Original{From: addresses("bob@x"), To: addresses("ann@example.org", "eve@x")}, compose.Reply, nil, addresses("bob@x"), nil},
		"where it is to go": {
			compose.Original{From: addresses("bob@x"), ReplyTo: addresses("list@x")}, compose.Reply, nil, addresses("list@x"), nil,
		},
		"all": {
			compose.Original{From: addresses("bob@x"), To: addresses("Ann@Example.org", "eve@x", "BOB@x"), Cc: addresses("eve@x", "joe@x", "sales@example.org")},
			compose.ReplyAll, nil, addresses("bob@x"), addresses("eve@x", "joe@x"),
		},
		"one's own": {
			compose.Original{From: addresses("ann@example.org"), To: addresses("bob@x"), Cc: addresses("joe@x")}, compose.Reply, nil, addresses("bob@x"), nil,
		},
		"one's own, to all": {
			compose.Original{From: addresses("ann@example.org"), To: addresses("bob@x"), Cc: addresses("joe@x")},
			compose.ReplyAll, nil, addresses("bob@x"), addresses("joe@x"),
		},
		"a note to oneself": {
			compose.Original{From: addresses("ann@example.org"), To: addresses("ann@example.org")}, compose.Reply, nil, addresses("ann@example.org"), nil,
		},
		"whom the caller says": {compose.Original{From: addresses("bob@x")}, compose.ReplyAll, addresses("eve@x"), addresses("eve@x"), nil},
		"forward":              {compose.Original{From: addresses("bob@x")}, compose.Forward, nil, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := &compose.Message{To: test.given, Text: "x"}
			m.Answer(&test.original, test.mode, self, false)
			if difference := cmp.Diff([][]compose.Address{test.to, test.cc}, [][]compose.Address{m.To, m.Cc}); difference != "" {
				t.Errorf("to and cc (-want +got):\n%s", difference)
			}
		})
	}
}

func TestAnswersJoinTheConversation(t *testing.T) {
	t.Parallel()
	m := &compose.Message{Text: "x"}
	m.Answer(&compose.Original{MessageID: "2@x", References: []string{"0@x", "1@x"}, Subject: "Lunch"}, compose.Reply, nil, false)
	if fmt.Sprint(m.InReplyTo, m.References, m.Subject) != "[2@x] [0@x 1@x 2@x]Re: Lunch" {
		t.Errorf("%+v", m)
	}
	m = &compose.Message{Text: "x", Subject: "Mine"}
	m.Answer(&compose.Original{MessageID: "2@x", InReplyTo: []string{"1@x"}, Subject: "AW: Lunch"}, compose.Forward, nil, false)
	if len(m.InReplyTo) != 0 || fmt.Sprint(m.References) != "[1@x 2@x]" || m.Subject != "Mine" {
		t.Errorf("%+v", m)
	}
	m = &compose.Message{}
	m.Answer(&compose.Original{Subject: "AW: Lunch"}, compose.Reply, nil, false)
	if m.Subject != "AW: Lunch" || m.InReplyTo != nil || m.References != nil {
		t.Errorf("%+v", m)
	}
	var many []string
	for i := range 100 {
		many = append(many, fmt.Sprint(i, "@x"))
	}
	many[50] = "broken> <out@x"
	m = &compose.Message{}
	m.Answer(&compose.Original{MessageID: "last@x", References: many}, compose.Reply, nil, false)
	if len(m.References) != 20 || m.References[0] != many[0] || m.References[19] != "last@x" || slices.Contains(m.References, many[50]) {
		t.Errorf("%d references: %v", len(m.References), m.References)
	}
}

func TestQuotations(t *testing.T) {
	t.Parallel()
	original := &compose.Original{
		From: []compose.Address{{Name: "Bob", Address: "bob@x"}}, To: addresses("ann@example.org"), Date: noon, Subject: "Lunch",
		Text: "Shall we?\r\n<b>At one</b>\r\n",
	}
	m := &compose.Message{Text: "Yes.\n"}
	m.Answer(original, compose.Reply, nil, true)
	if want := "Yes.\n\nOn Fri, 27 Nov 2026 at 12:00 +0100, Bob <bob@x> wrote:\n> Shall we?\n> <b>At one</b>\n"; m.Text != want || m.HTML != "" {
		t.Errorf("text %q, HTML %q", m.Text, m.HTML)
	}
	m = &compose.Message{HTML: "<p>Yes.</p>"}
	m.Answer(original, compose.Reply, nil, true)
	if !strings.HasPrefix(m.HTML, "<p>Yes.</p>") || !strings.Contains(m.HTML, "<blockquote type=\"cite\">\nShall we?<br>\n&lt;b&gt;At one&lt;/b&gt;\n</blockquote>") || m.Text != "" {
		t.Errorf("text %q, HTML %q", m.Text, m.HTML)
	}
	m = &compose.Message{Text: "Look:"}
	m.Answer(original, compose.Forward, nil, false)
	want := "Look:\n\n---------- Forwarded message ----------\nFrom: Bob <bob@x>\nDate: Fri, 27 Nov 2026 12:00:00 +0100\nSubject: Lunch\nTo: ann@example.org\n\nShall we?\n<b>At one</b>\n"
	if m.Text != want {
		t.Errorf("forwarded:\n%s", m.Text)
	}
}
