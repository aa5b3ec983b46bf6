package imapconn

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/postern-mail/postern/internal/dovecottest"
)

func flagsOnly() *FetchOptions { return plain(imap.FetchOptions{Flags: true}) }

func pageUIDs(p *Page) []imap.UID {
	uids := []imap.UID{}
	for _, m := range p.Messages {
		uids = append(uids, m.UID)
	}
	return uids
}

func TestPageRoundTrips(t *testing.T) {
	t.Parallel()
	c, s := dialScriptServer(t, "ESEARCH", selected(5)+`
		C: $a FETCH 4:5 (UID FLAGS)
		C: $z NOOP
		S: * 4 FETCH (UID 40 FLAGS ())
		S: * 5 FETCH (UID 50 FLAGS ())
		S: $a OK done
		S: $z OK done
		C: $b FETCH 2:3 (UID FLAGS)
		S: * 2 FETCH (UID 20 FLAGS ())
		S: * 3 FETCH (UID 30 FLAGS ())
		S: * 3 FETCH (FLAGS (\Seen))
		S: $b OK done
		C: $c NOOP
		C: $d UID FETCH 40:* (UID FLAGS)
		S: * 2 EXPUNGE
		S: * 5 EXISTS
		S: $c OK done
		S: * 3 FETCH (UID 40 FLAGS ())
		S: * 4 FETCH (UID 50 FLAGS ())
		S: * 5 FETCH (UID 60 FLAGS ())
		S: $d OK done
		C: $e FETCH 1:2 (UID FLAGS)
		S: * 1 FETCH (UID 10 FLAGS ())
		S: * 2 FETCH (UID 30 FLAGS ())
		S: $e OK done
		C: $f NOOP
		C: $g UID SEARCH RETURN (COUNT) UID 1:34
		S: $f OK done
		S: * ESEARCH (TAG "$g") UID COUNT 2
		S: * 1 EXPUNGE
		S: $g OK done
		C: $i NOOP
		C: $j UID SEARCH RETURN (COUNT) UID 1:34
		S: $i OK done
		S: * ESEARCH (TAG "$j") UID COUNT 1
		S: $j OK done
		C: $h FETCH 1 (UID FLAGS)
		S: * 1 FETCH (UID 30 FLAGS ())
		S: $h OK done`)
	selectInbox(t, c)
	for _, step := range []struct {
		before imap.UID
		size   int
		want   []imap.UID
		more   bool
		writes int32
	}{
		{0, 2, []imap.UID{50, 40}, true, 1},
		{40, 2, []imap.UID{30, 20}, true, 1},
		{0, 2, []imap.UID{60, 50}, true, 1},   // new mail is there, in one round trip
		{40, 2, []imap.UID{30, 10}, false, 1}, // 20 has been expunged, the position is right still
		{35, 2, []imap.UID{30}, false, 3},     // an unknown position takes two, and one more if it is in doubt
	} {
		writes := s.writes.Load()
		p, err := c.Page(testContext(t), &PageOptions{Size: step.size, Before: step.before, Fetch: flagsOnly()})
		if err != nil {
			t.Fatal(err)
		}
		if got := pageUIDs(p); !slices.Equal(got, step.want) || p.More != step.more {
			t.Errorf("page before %d: %v, more %v, want %v, %v", step.before, got, p.More, step.want, step.more)
		}
		if n := s.writes.Load() - writes; n != step.writes {
			t.Errorf("page before %d: %d writes, want %d", step.before, n, step.writes)
		}
		if step.before == 40 && step.want[0] == 30 && step.more && !slices.Contains(p.Messages[0].Flags, imap.FlagSeen) {
			t.Error("the flags that changed meanwhile are not in the page")
		}
	}
}

func TestPageOfMatches(t *testing.T) {
	t.Parallel()
	unseen := &SearchCriteria{}
	unseen.NotFlag = []imap.Flag{imap.FlagSeen}
	for _, tc := range []struct{ name, caps, returns, answer string }{
		{"PARTIAL", "ESEARCH PARTIAL", "RETURN (PARTIAL -1:-3) ", `* ESEARCH (TAG "$b") UID PARTIAL (-1:-3 20,30:31)`},
		{"ESEARCH", "ESEARCH", "RETURN (ALL) ", `* ESEARCH (TAG "$b") UID ALL 1:5,20,30:31`},
		{"plain", "", "", `* SEARCH 1 5 3 20 31 30 `},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := dialScript(t, tc.caps, selected(9)+`
				C: $a NOOP
				C: $b UID SEARCH `+tc.returns+`UID 1:39 UNSEEN
				S: $a OK done
				S: `+tc.answer+`
				S: $b OK done
				C: $c UID FETCH 30:31 (UID FLAGS)
				S: * 8 FETCH (UID 30 FLAGS ())
				S: * 9 FETCH (UID 31 FLAGS ())
				S: $c OK done`)
			selectInbox(t, c)
			p, err := c.Page(testContext(t), &PageOptions{Size: 2, Before: 40, Criteria: unseen, Fetch: flagsOnly()})
			if err != nil {
				t.Fatal(err)
			}
			if got := pageUIDs(p); !slices.Equal(got, []imap.UID{31, 30}) || !p.More {
				t.Errorf("page %v, more %v", got, p.More)
			}
		})
	}
}

// Mail that came after SELECT is in the first page.
func TestPageAfterArrival(t *testing.T) {
	t.Parallel()
	c := dialScript(t, "", selected(2)+`
		C: $a FETCH 1:2 (UID FLAGS)
		C: $b NOOP
		S: * 1 FETCH (UID 10 FLAGS ())
		S: * 2 FETCH (UID 20 FLAGS ())
		S: $a OK done
		S: * 1 EXPUNGE
		S: * 2 EXISTS
		S: $b OK done
		C: $c FETCH 2 (UID FLAGS)
		S: * 2 FETCH (UID 30 FLAGS ())
		S: $c OK done`)
	selectInbox(t, c)
	p, err := c.Page(testContext(t), &PageOptions{Size: 2, Fetch: flagsOnly()})
	if err != nil || !slices.Equal(pageUIDs(p), []imap.UID{30, 20}) || p.More || p.Total != 2 {
		t.Fatalf("page %+v, %v", p, err)
	}
}

// Mail of which there is nothing to tell is held back until the server has said
// that it is there; an EXPUNGE in the meantime moves it, or takes it.
func TestPageOfHollowMail(t *testing.T) {
	t.Parallel()
	const nothing = `ENVELOPE (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL))`
	c := dialScript(t, "", selected(4)+`
		C: $a FETCH 2:4 (UID ENVELOPE)
		C: $b NOOP
		S: * 2 FETCH (UID 20 `+nothing+`
		S: * 3 FETCH (UID 30 `+nothing+`
		S: * 4 FETCH (UID 40 ENVELOPE (NIL "x" NIL NIL NIL NIL NIL NIL NIL NIL))
		S: $a OK done
		S: * 3 EXPUNGE
		S: * 1 EXPUNGE
		S: $b OK done`)
	selectInbox(t, c)
	p, err := c.Page(testContext(t), &PageOptions{Size: 3, Fetch: plain(imap.FetchOptions{Envelope: true})})
	if err != nil || !slices.Equal(pageUIDs(p), []imap.UID{40, 20}) || p.More || p.Messages[1].SeqNum != 1 {
		t.Fatalf("page %+v, %v", p, err)
	}
}

// A server that takes RETURN (COUNT) and does not count is asked again.
func TestPageWithoutCount(t *testing.T) {
	t.Parallel()
	c := dialScript(t, "ESEARCH", selected(3)+`
		C: $a NOOP
		C: $b UID SEARCH RETURN (COUNT) UID 1:29
		S: $a OK done
		S: * ESEARCH (TAG "$b") UID
		S: $b OK done
		C: $c NOOP
		C: $d UID SEARCH UID 1:29
		S: $c OK done
		S: * SEARCH 10 20
		S: $d OK done
		C: $e FETCH 1:2 (UID FLAGS)
		S: * 1 FETCH (UID 10 FLAGS ())
		S: * 2 FETCH (UID 20 FLAGS ())
		S: $e OK done`)
	selectInbox(t, c)
	p, err := c.Page(testContext(t), &PageOptions{Size: 5, Before: 30, Fetch: flagsOnly()})
	if err != nil || !slices.Equal(pageUIDs(p), []imap.UID{20, 10}) || p.More {
		t.Fatalf("page %+v, %v", p, err)
	}
}

func TestPageOfNothing(t *testing.T) {
	t.Parallel()
	c := dialScript(t, "", selected(0)+`
		C: $a NOOP
		S: $a OK done
		C: $b NOOP
		S: $b OK done`)
	selectInbox(t, c)
	p, err := c.Page(testContext(t), &PageOptions{Size: 2, Fetch: flagsOnly()})
	if err != nil || len(p.Messages) != 0 || p.More {
		t.Fatalf("page %+v, %v", p, err)
	}
	if err := c.Noop(testContext(t)); err != nil {
		t.Fatal(err)
	}
}

func TestPositions(t *testing.T) {
	t.Parallel()
	var p positions
	for i := range imap.UID(20) {
		p.learn(i*10+10, uint32(i))
	}
	if len(p.known) != maxPositions {
		t.Errorf("%d positions are known", len(p.known))
	}
	p.expunged(20)                                                          // message of UID 200
	p.expunged(1)                                                           // message of UID 10
	p.vanished(imap.UIDSet{{Start: 20, Stop: 30}, {Start: 190, Stop: 190}}) // those of 20 to 30 and 190 vanish
	for uid, want := range map[imap.UID]uint32{200: 19 - 1 - 11 - 1, 190: 18 - 1 - 11} {
		if got, ok := p.below(uid); !ok || got != want {
			t.Errorf("below %d: %d, %v, want %d", uid, got, ok, want)
		}
	}
}

// model is what the mailbox truly holds, as another client changes it.
type model struct {
	uids []imap.UID
}

// TestDovecotPagesUnderChange turns pages while another client delivers,
// expunges and flags, and compares each page with what is truly there.
func TestDovecotPagesUnderChange(t *testing.T) {
	t.Parallel()
	srv := dovecottest.Shared(t)
	for _, qresync := range []bool{false, true} {
		t.Run(fmt.Sprintf("QRESYNC=%v", qresync), func(t *testing.T) {
			t.Parallel()
			username, _ := srv.User(t)
			other := srv.Client(t, username)
			if _, err := other.Select("INBOX", nil).Wait(); err != nil {
				t.Fatal(err)
			}
			cfg := dovecotConfig(srv, username, ModePlaintext)
			if !qresync {
				cfg.Enable = []imap.Cap{}
			}
			var writes atomic.Int32
			cfg.Dial = countWrites(&writes)
			c := dialConfig(t, cfg)
			selectInbox(t, c)

			var m model
			rnd := rand.New(rand.NewPCG(1, 2))
			for range 60 {
				m.change(t, other, rnd)
				m.checkPages(t, c, 5)
			}
		})
	}
}

func (m *model) change(t *testing.T, other *imapclient.Client, rnd *rand.Rand) {
	t.Helper()
	for range rnd.IntN(4) {
		raw := fmt.Sprintf("Subject: %d\r\n\r\nx\r\n", rnd.Int())
		cmd := other.Append("INBOX", int64(len(raw)), nil)
		if _, err := cmd.Write([]byte(raw)); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Close(); err != nil {
			t.Fatal(err)
		}
		data, err := cmd.Wait()
		if err != nil {
			t.Fatal(err)
		}
		m.uids = append(m.uids, data.UID)
	}
	if len(m.uids) > 8 && rnd.IntN(2) == 0 {
		i := rnd.IntN(len(m.uids))
		gone := imap.UIDSetNum(m.uids[i])
		m.uids = slices.Delete(m.uids, i, i+1)
		deleted := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}}
		if err := other.Store(gone, deleted, nil).Close(); err != nil {
			t.Fatal(err)
		}
		if err := other.UIDExpunge(gone).Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// checkPages turns all pages of a size.
func (m *model) checkPages(t *testing.T, c *Conn, size int) {
	t.Helper()
	want := slices.Clone(m.uids)
	slices.Reverse(want)
	got := []imap.UID{}
	before := imap.UID(0)
	for {
		p, err := c.Page(testContext(t), &PageOptions{Size: size, Before: before, Fetch: flagsOnly()})
		if err != nil {
			t.Fatal(err)
		}
		uids := pageUIDs(p)
		got = append(got, uids...)
		if len(uids) == 0 || !p.More {
			break
		}
		before = uids[len(uids)-1]
	}
	if !slices.Equal(got, want) {
		t.Fatalf("pages %v\nwant  %v", got, want)
	}
}

func TestDovecotPageShowsFlagsOfOthers(t *testing.T) {
	t.Parallel()
	srv := dovecottest.Shared(t)
	username, _ := srv.User(t)
	for i := range 8 {
		srv.Deliver(t, username, "INBOX", fmt.Appendf(nil, "Subject: %d\r\n\r\nx\r\n", i))
	}
	c := dialConfig(t, dovecotConfig(srv, username, ModePlaintext))
	selectInbox(t, c)
	first, err := c.Page(testContext(t), &PageOptions{Size: 4, Fetch: flagsOnly()})
	if err != nil {
		t.Fatal(err)
	}
	other := srv.Client(t, username)
	if _, err := other.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	flagged := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagFlagged}}
	if err := other.Store(imap.SeqSet{{Start: 1, Stop: 8}}, flagged, nil).Close(); err != nil {
		t.Fatal(err)
	}
	second, err := c.Page(testContext(t), &PageOptions{Size: 4, Before: first.Messages[3].UID, Fetch: flagsOnly()})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range second.Messages {
		if !slices.Contains(m.Flags, imap.FlagFlagged) {
			t.Errorf("UID %d has flags %v", m.UID, m.Flags)
		}
	}
}
