package thread_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/dovecottest"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/thread"
)

var start = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// message makes a message of a line such as "c < a b: Re: hello", in which c
// answers b and that a. An hour passes between messages.
func message(i int, line string) thread.Message {
	m := thread.Message{Date: start.Add(time.Duration(i) * time.Hour)}
	head, subject, _ := strings.Cut(line, ":")
	id, references, _ := strings.Cut(head, "<")
	m.ID, m.Subject, m.References = strings.TrimSpace(id), strings.TrimSpace(subject), strings.Fields(references)
	return m
}

func TestBuild(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		messages []string
		// want has for each conversation its root and its messages by their
		// place in the list.
		want string
	}{
		"none":                          {nil, ""},
		"apart":                         {[]string{"a: x", "b: y"}, "a[0] b[1]"},
		"an answer":                     {[]string{"a: x", "b < a: Re: x"}, "a[0 1]"},
		"a tree":                        {[]string{"a: x", "b < a: Re: x", "c < a: Re: x", "d < a b: Re: x"}, "a[0 1 3 2]"},
		"the answer came first":         {[]string{"b < a: Re: x", "a: x"}, "a[1 0]"},
		"what is answered is not there": {[]string{"b < a: Re: x", "c < a: Re: x"}, "a[0 1]"},
		"nor in the middle":             {[]string{"a: x", "d < a b c: Re: x"}, "a[0 1]"},
		"references without the first":  {[]string{"a: x", "b < a: q", "c < b: w"}, "a[0 1 2]"},
		"a loop":                        {[]string{"a < b: x", "b < a: y"}, "b[1 0]"},
		"an answer to itself":           {[]string{"a < a: x"}, "a[0]"},
		"repeated references":           {[]string{"a: x", "c < a b a b: y"}, "a[0 1]"},
		"no Message-ID":                 {[]string{": x", ": y"}, "[0] [1]"},
		"no Message-ID but an answer":   {[]string{"a: x", "< a: Re: x"}, "a[0 1]"},
		"copies":                        {[]string{"a: x", "a: x", "b < a: Re: x", "b < a: Re: x"}, "a[0 1 2 3]"},
		"the same subject":              {[]string{"a: hello", "b: Re: hello"}, "a[0 1]"},
		"the same subject of answers":   {[]string{"a: Re: hello", "b: RE: Hello"}, "a[0 1]"},
		"an answer before its subject":  {[]string{"b: Re: hello", "a: hello"}, "b[1 0]"},
		"a list's mark":                 {[]string{"a: [go] hello", "b: Re: [go] hello"}, "a[0 1]"},
		"no subject is none in common":  {[]string{"a: ", "b: ", "c: Re:"}, "a[0] b[1] c[2]"},
		"subject of a missing root":     {[]string{"b < a: Re: hello", "c < a: Re: hello", "d: hello"}, "a[0 1 2]"},
		"subject within a conversation": {[]string{"a: x", "b < a: hello", "c: hello"}, "a[0 1] c[2]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var messages []thread.Message
			for i, line := range tt.messages {
				messages = append(messages, message(i, line))
			}
			var got []string
			for _, th := range thread.Build(messages) {
				got = append(got, th.Root+fmt.Sprint(th.Messages))
			}
			if s := strings.Join(got, " "); s != tt.want {
				t.Errorf("%q\n got %s\nwant %s", tt.messages, s, tt.want)
			}
		})
	}
}

// A discussion may be longer than any stack.
func TestBuildDeep(t *testing.T) {
	t.Parallel()
	var messages []thread.Message
	for i := range 20_000 {
		m := thread.Message{ID: fmt.Sprint(i), Subject: "Re: x", Date: start.Add(time.Duration(i) * time.Second)}
		if i > 0 {
			m.References = []string{fmt.Sprint(i - 1)}
		}
		messages = append(messages, m)
	}
	if got := thread.Build(messages); len(got) != 1 || len(got[0].Messages) != len(messages) || got[0].Root != "0" {
		t.Errorf("%d conversations", len(got))
	}
}

func TestBaseSubject(t *testing.T) {
	t.Parallel()
	for subject, want := range map[string]struct {
		base  string
		reply bool
	}{
		"":                                {"", false},
		"Hello":                           {"Hello", false},
		"  Hello \t World ":               {"Hello World", false},
		"Re: Hello":                       {"Hello", true},
		"RE : Hello":                      {"Hello", true},
		"Fwd: Re: FW: Hello":              {"Hello", true},
		"Re[2]: Hello":                    {"Hello", true},
		"Re: [go] Re: Hello":              {"Hello", true},
		"[go] Hello":                      {"Hello", false},
		"[go]":                            {"[go]", false},
		"[Fwd: Hello]":                    {"Hello", true},
		"[fwd: Re: Hello (fwd)]":          {"Hello", true},
		"Hello (fwd) (FWD)":               {"Hello", true},
		"Regarding: Hello":                {"Regarding: Hello", false},
		"Re:":                             {"", true},
		"Grüße":                           {"Grüße", false},
		"[a] [b] Hello":                   {"Hello", false},
		"Re: " + strings.Repeat("Re:", 9): {"", true},
	} {
		if base, reply := thread.BaseSubject(subject); base != want.base || reply != want.reply {
			t.Errorf("%q: %q, %v", subject, base, reply)
		}
	}
}

func FuzzBuild(f *testing.F) {
	f.Add("a: x\nb < a: Re: x\nc < b a: y")
	f.Add("a < b\nb < a\nc < c a b c")
	f.Add(": [fwd: (fwd)]\n< a a: re re: \nb < x y z: [a][b]")
	f.Fuzz(func(t *testing.T, text string) {
		var messages []thread.Message
		for line := range strings.Lines(text) {
			messages = append(messages, message(len(messages), line))
		}
		var seen []int
		for _, th := range thread.Build(messages) {
			seen = append(seen, th.Messages...)
		}
		slices.Sort(seen)
		for i, n := range seen {
			if n != i {
				t.Fatalf("%q: %v", text, seen)
			}
		}
		if len(seen) != len(messages) {
			t.Fatalf("%q: %v", text, seen)
		}
	})
}

// TestLikeDovecot compares with a server that has the same algorithm: what
// belongs together is the same.
func TestLikeDovecot(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	server := dovecottest.Shared(t)
	for range 5 {
		user, password := server.User(t)
		messages := discussions(r, 60)
		for i, m := range messages {
			raw := fmt.Sprintf("From: ann@example.com\r\nSubject: %s\r\nDate: %s\r\nMessage-ID: <%s@x>\r\n", m.Subject, m.Date.Format(time.RFC1123Z), m.ID)
			if len(m.References) > 0 {
				raw += "References: <" + strings.Join(m.References, "@x> <") + "@x>\r\n"
			}
			server.Deliver(t, user, "INBOX", []byte(raw+"\r\nText "+fmt.Sprint(i)+"\r\n"))
		}
		c, err := imapconn.Dial(t.Context(), imapconn.Config{
			Host: server.Host(), Port: server.Port(), TLSMode: imapconn.ModePlaintext,
			Auth: imapconn.Auth{Username: user, Password: password},
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Select(t.Context(), "INBOX", nil); err != nil {
			t.Fatal(err)
		}
		nodes, err := c.Thread(t.Context(), imap.ThreadReferences, &imapconn.SearchCriteria{})
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
		theirs := make(map[int]int) // the root of each message
		roots := make([]int, len(nodes))
		for i, n := range nodes {
			roots[i] = i
			if n.Parent >= 0 {
				roots[i] = roots[n.Parent]
			}
			if n.Num > 0 {
				theirs[int(n.Num)-1] = roots[i]
			}
		}
		ours := make(map[int]int)
		for i, th := range thread.Build(messages) {
			for _, n := range th.Messages {
				ours[n] = i
			}
		}
		for i := range messages {
			for j := range i {
				if (ours[i] == ours[j]) != (theirs[i] == theirs[j]) {
					t.Fatalf("%+v\nand %+v\nare together: we say %v, Dovecot %v", messages[i], messages[j], ours[i] == ours[j], theirs[i] == theirs[j])
				}
			}
		}
	}
}

// discussions makes messages as people write them, some of which are missing.
func discussions(r *rand.Rand, n int) []thread.Message {
	var all, present []thread.Message
	for i := range n {
		m := thread.Message{ID: fmt.Sprintf("m%d", i), Subject: fmt.Sprintf("subject %d", r.IntN(15)), Date: start.Add(time.Duration(i) * time.Hour)}
		if len(all) > 0 && r.IntN(3) > 0 {
			of := all[r.IntN(len(all))]
			m.References = append(slices.Clone(of.References), of.ID)
			if len(m.References) > 4 {
				m.References = slices.Delete(m.References, 1, len(m.References)-2)
			}
			if _, reply := thread.BaseSubject(of.Subject); !reply && r.IntN(5) > 0 {
				m.Subject = "Re: " + of.Subject
			}
		}
		all = append(all, m)
		if r.IntN(5) > 0 {
			present = append(present, m)
		}
	}
	return present
}
