package imapconn

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

// TestCommands holds commands to transcripts. Each ends with a NOOP, which
// proves that the connection is in step.
func TestCommands(t *testing.T) {
	t.Parallel()
	two := imap.UIDSet{{Start: 10, Stop: 11}}
	deleted := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}
	for _, tc := range []struct {
		name, caps, script string
		run                func(t *testing.T, c *Conn) (any, error)
		want               any
		wantErr            string
	}{
		{name: "create with a special use", caps: "CREATE-SPECIAL-USE", script: `
			C: $x CREATE "Sent &APw-" (USE (\Sent))
			S: $x OK [MAILBOXID (F12)] done`,
			run: func(t *testing.T, c *Conn) (any, error) {
				return c.Create(testContext(t), "Sent ü", imap.MailboxAttrSent)
			},
			want: "F12"},
		{name: "create refused", script: `
			C: $x CREATE "a"
			S: $x NO [ALREADYEXISTS] it is there`,
			run:     func(t *testing.T, c *Conn) (any, error) { return c.Create(testContext(t), "a") },
			want:    "",
			wantErr: "CREATE: NO [ALREADYEXISTS] it is there"},
		{name: "rename, delete, subscribe, unsubscribe", script: `
			C: $1 RENAME "a" "b"
			S: $1 OK done
			C: $2 DELETE "b"
			S: $2 OK done
			C: $3 SUBSCRIBE "b%*"
			S: $3 OK done
			C: $4 UNSUBSCRIBE "x&y"
			S: $4 OK done`,
			run: func(t *testing.T, c *Conn) (any, error) {
				ctx := testContext(t)
				return nil, errors.Join(c.Rename(ctx, "a", "b"), c.Delete(ctx, "b"), c.Subscribe(ctx, "b%*"),
					c.Unsubscribe(ctx, RawName("x&y")))
			}},
		{name: "a name cannot break out", script: `
			C: $x DELETE {11}
			S: + go
			C: a
			C: b DELETE
			S: $x OK done`,
			run: func(t *testing.T, c *Conn) (any, error) {
				return nil, c.Delete(testContext(t), RawName("a\r\nb DELETE"))
			}},
		{name: "store", caps: "CONDSTORE", script: `
			C: $s SELECT INBOX (CONDSTORE)
			S: $s OK done
			C: $x UID STORE 10:11 (UNCHANGEDSINCE 12) +FLAGS.SILENT (\Deleted)
			S: * 1 FETCH (UID 10 MODSEQ (13))
			S: $x OK [MODIFIED 11] conditional store failed`,
			run: func(t *testing.T, c *Conn) (any, error) {
				selectInbox(t, c)
				return c.Store(testContext(t), two, deleted, &StoreOptions{UnchangedSince: 12})
			},
			want: &StoreData{Modified: imap.UIDSet{{Start: 11, Stop: 11}}}},
		{name: "store of nothing but conflicts", caps: "CONDSTORE", script: `
			C: $s SELECT INBOX (CONDSTORE)
			S: $s OK done
			C: $x STORE 1 (UNCHANGEDSINCE 12) FLAGS (\Deleted)
			S: $x NO [MODIFIED 1] all failed`,
			run: func(t *testing.T, c *Conn) (any, error) {
				selectInbox(t, c)
				flags := &imap.StoreFlags{Flags: deleted.Flags}
				return c.Store(testContext(t), imap.SeqSetNum(1), flags, &StoreOptions{UnchangedSince: 12})
			},
			want: &StoreData{Modified: imap.SeqSet{{Start: 1, Stop: 1}}}},
		{name: "copy", script: selected(2) + `
			C: $x UID COPY 10:11 "Archive"
			S: $x OK [COPYUID 5 10:11 101:102] done`,
			run: func(t *testing.T, c *Conn) (any, error) {
				selectInbox(t, c)
				return c.Copy(testContext(t), two, "Archive")
			},
			want: &CopyData{UIDValidity: 5, SourceUIDs: two, DestUIDs: imap.UIDSet{{Start: 101, Stop: 102}}}},
		{name: "move", caps: "MOVE", script: selected(2) + `
			C: $x UID MOVE 10:11 "Archive"
			S: * OK [COPYUID 5 10:11 101:102] moved
			S: * 2 EXPUNGE
			S: * 1 EXPUNGE
			S: $x OK done`,
			run: func(t *testing.T, c *Conn) (any, error) {
				selectInbox(t, c)
				return c.Move(testContext(t), two, "Archive")
			},
			want: &CopyData{UIDValidity: 5, SourceUIDs: two, DestUIDs: imap.UIDSet{{Start: 101, Stop: 102}}}},
		{name: "move without MOVE", caps: "UIDPLUS", script: selected(2) + `
			C: $1 UID COPY 10:11 "Archive"
			S: $1 OK done
			C: $2 UID STORE 10:11 +FLAGS.SILENT (\Deleted)
			S: $2 OK done
			C: $3 UID EXPUNGE 10:11
			S: $3 OK done`,
			run: func(t *testing.T, c *Conn) (any, error) {
				selectInbox(t, c)
				return c.Move(testContext(t), two, "Archive")
			},
			want: (*CopyData)(nil)},
		{name: "move without MOVE and UIDPLUS lifts the flags of others", script: selected(2) + `
			C: $1 UID COPY 10:11 "Archive"
			S: $1 OK done
			C: $2 UID SEARCH DELETED NOT (UID 10:11)
			S: * SEARCH 7 9
			S: $2 OK done
			C: $3 UID STORE 10:11 +FLAGS.SILENT (\Deleted)
			S: $3 OK done
			C: $4 UID STORE 7,9 -FLAGS.SILENT (\Deleted)
			S: $4 OK done
			C: $5 EXPUNGE
			S: $5 OK done
			C: $6 UID STORE 7,9 +FLAGS.SILENT (\Deleted)
			S: $6 OK done`,
			run: func(t *testing.T, c *Conn) (any, error) {
				selectInbox(t, c)
				return c.Move(testContext(t), two, "Archive")
			},
			want: (*CopyData)(nil)},
		{name: "flags of others are put back where the expunge is refused", script: selected(2) + `
			C: $2 UID SEARCH DELETED NOT (UID 10:11)
			S: * SEARCH 7
			S: $2 OK done
			C: $3 UID STORE 10:11 +FLAGS.SILENT (\Deleted)
			S: $3 OK done
			C: $4 UID STORE 7 -FLAGS.SILENT (\Deleted)
			S: $4 OK done
			C: $5 EXPUNGE
			S: $5 NO [NOPERM] not you
			C: $6 UID STORE 7 +FLAGS.SILENT (\Deleted)
			S: $6 OK done`,
			run: func(t *testing.T, c *Conn) (any, error) {
				selectInbox(t, c)
				return nil, c.Remove(testContext(t), two)
			},
			wantErr: "EXPUNGE: NO [NOPERM] not you"},
		{name: "nothing is expunged where the flags of others are not known", script: selected(2) + `
			C: $2 UID SEARCH DELETED NOT (UID 10:11)
			S: $2 NO no searching`,
			run: func(t *testing.T, c *Conn) (any, error) {
				selectInbox(t, c)
				return nil, c.Remove(testContext(t), two)
			},
			wantErr: "UID SEARCH: NO no searching"},
		{name: "move whose copy is refused touches nothing", caps: "UIDPLUS", script: selected(2) + `
			C: $1 UID COPY 10:11 "Archive"
			S: $1 NO [OVERQUOTA] full`,
			run: func(t *testing.T, c *Conn) (any, error) {
				selectInbox(t, c)
				return c.Move(testContext(t), two, "Archive")
			},
			want: (*CopyData)(nil), wantErr: "UID COPY: NO [OVERQUOTA] full"},
		{name: "expunge needs UIDPLUS", script: selected(2),
			run: func(t *testing.T, c *Conn) (any, error) {
				selectInbox(t, c)
				return nil, c.Expunge(testContext(t), two)
			},
			wantErr: "UID EXPUNGE: the server does not have UIDPLUS"},
		{name: "append", script: `
			C: $x APPEND INBOX (\Seen) "23-Nov-2026 10:00:00 +0000" {5}
			S: + go
			C: abc
			C: 
			S: $x OK [APPENDUID 5 77] done`,
			run: func(t *testing.T, c *Conn) (any, error) {
				return c.Append(testContext(t), "inbox", AppendMessage{
					Reader: strings.NewReader("abc\r\n"), Size: 5, Flags: []imap.Flag{imap.FlagSeen},
					Time: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC),
				})
			},
			want: &AppendData{UIDValidity: 5, UIDs: []imap.UID{77}}},
		{name: "append refused before the message", script: `
			C: $x APPEND INBOX {5}
			S: $x NO [TOOBIG] no`,
			run: func(t *testing.T, c *Conn) (any, error) {
				return c.Append(testContext(t), "INBOX", AppendMessage{Reader: strings.NewReader("abc\r\n"), Size: 5})
			},
			want: (*AppendData)(nil), wantErr: "APPEND: NO [TOOBIG] no"},
		{name: "several at once", caps: "MULTIAPPEND LITERAL+", script: `
			C: $x APPEND INBOX {3+}
			C: a
			C:  (\Seen) {4+}
			C: bc
			C: 
			S: $x OK [APPENDUID 5 77:78] done`,
			run: func(t *testing.T, c *Conn) (any, error) {
				return c.Append(testContext(t), "INBOX",
					AppendMessage{Reader: strings.NewReader("a\r\n"), Size: 3},
					AppendMessage{Reader: strings.NewReader("bc\r\n"), Size: 4, Flags: []imap.Flag{imap.FlagSeen}})
			},
			want: &AppendData{UIDValidity: 5, UIDs: []imap.UID{77, 78}}},
		{name: "search with ESEARCH", caps: "ESEARCH", script: selected(2) + `
			C: $x UID SEARCH RETURN (MIN COUNT) UNSEEN
			S: * ESEARCH (TAG "other") UID COUNT 9
			S: * ESEARCH (TAG "$x") UID MIN 10 COUNT 3
			S: $x OK done`,
			run: func(t *testing.T, c *Conn) (any, error) {
				selectInbox(t, c)
				criteria := &SearchCriteria{}
				criteria.NotFlag = []imap.Flag{imap.FlagSeen}
				data, err := c.Search(testContext(t), criteria, &SearchOptions{ReturnMin: true, ReturnCount: true})
				if err != nil {
					return nil, err
				}
				return []uint32{data.Min, *data.Count}, nil
			},
			want: []uint32{10, 3}},
		{name: "search of all messages stays one range", script: selected(2) + `
			C: $x UID SEARCH ALL
			S: * ESEARCH UID ALL 1:4294967295
			S: $x OK done`,
			run: func(t *testing.T, c *Conn) (any, error) {
				selectInbox(t, c)
				data, err := c.Search(testContext(t), &SearchCriteria{}, nil)
				if err != nil {
					return nil, err
				}
				return data.All, nil
			},
			want: imap.UIDSet{{Start: 1, Stop: 4294967295}}},
		{name: "search whose charset is refused", caps: "LITERAL+", script: selected(2) + `
			C: $x UID SEARCH CHARSET UTF-8 TEXT {2+}
			C: ü
			S: $x NO [BADCHARSET (US-ASCII)] no`,
			run: func(t *testing.T, c *Conn) (any, error) {
				selectInbox(t, c)
				criteria := &SearchCriteria{}
				criteria.Text = []string{"ü"}
				_, err := c.Search(testContext(t), criteria, nil)
				var bad *BadCharsetError
				if !errors.As(err, &bad) {
					t.Fatalf("error %v", err)
				}
				return bad.Charsets, nil
			},
			want: []string{"US-ASCII"}},
		{name: "search whose charset is refused without a word", caps: "LITERAL+", script: selected(2) + `
			C: $x UID SEARCH CHARSET UTF-8 TEXT {2+}
			C: ü
			S: $x BAD no`,
			run: func(t *testing.T, c *Conn) (any, error) {
				selectInbox(t, c)
				criteria := &SearchCriteria{}
				criteria.Text = []string{"ü"}
				_, err := c.Search(testContext(t), criteria, nil)
				var bad *BadCharsetError
				return errors.As(err, &bad), nil
			},
			want: true},
		{name: "search whose RETURN goes unanswered", caps: "ESEARCH", script: selected(2) + `
			C: $x UID SEARCH RETURN (ALL) UNSEEN
			S: $x OK done
			C: $y UID SEARCH UNSEEN
			S: * SEARCH 7 8
			S: $y OK done`,
			run: searchUnseen, want: "7:8"},
		{name: "search that counts and does not list", caps: "ESEARCH", script: selected(2) + `
			C: $x UID SEARCH RETURN (ALL) UNSEEN
			S: * ESEARCH (TAG "$x") UID COUNT 2
			S: $x OK done
			C: $y UID SEARCH UNSEEN
			S: * SEARCH 7 8
			S: $y OK done`,
			run: searchUnseen, want: "7:8"},
		{name: "search that finds nothing", caps: "ESEARCH", script: selected(2) + `
			C: $x UID SEARCH RETURN (ALL) UNSEEN
			S: * ESEARCH (TAG "$x") UID
			S: $x OK done`,
			run: searchUnseen, want: ""},
		{name: "search of iCloud", caps: "ESEARCH PARTIAL XAPPLEPUSHSERVICE", script: selected(2) + `
			C: $x UID SEARCH UNSEEN
			S: * SEARCH 7 8
			S: $x OK done`,
			run: searchUnseen, want: "7:8"},
		{name: "sort", caps: "SORT", script: selected(2) + `
			C: $x UID SORT (REVERSE DATE SUBJECT) US-ASCII ALL
			S: * SORT 3 1 2
			S: $x OK done`,
			run: func(t *testing.T, c *Conn) (any, error) {
				selectInbox(t, c)
				return c.Sort(testContext(t), []SortCriterion{{SortDate, true}, {Key: SortSubject}}, &SearchCriteria{})
			},
			want: []imap.UID{3, 1, 2}},
		{name: "thread", caps: "THREAD=REFERENCES", script: selected(2) + `
			C: $x UID THREAD REFERENCES US-ASCII ALL
			S: * THREAD (1 2)(3)
			S: $x OK done`,
			run: func(t *testing.T, c *Conn) (any, error) {
				selectInbox(t, c)
				return c.Thread(testContext(t), imap.ThreadReferences, &SearchCriteria{})
			},
			want: []ThreadNode{{Num: 1, Parent: -1}, {Num: 2, Parent: 0}, {Num: 3, Parent: -1}}},
		{name: "namespace", caps: "NAMESPACE", script: `
			C: $x NAMESPACE
			S: * NAMESPACE (("" "/")) NIL NIL
			S: $x OK done`,
			run:  func(t *testing.T, c *Conn) (any, error) { return c.Namespace(testContext(t)) },
			want: &imap.NamespaceData{Personal: []imap.NamespaceDescriptor{{Delim: '/'}}}},
		{name: "quota", caps: "QUOTA", script: `
			C: $x GETQUOTAROOT INBOX
			S: * QUOTAROOT INBOX user
			S: * QUOTA user (STORAGE 10 512)
			S: $x OK done`,
			run: func(t *testing.T, c *Conn) (any, error) {
				roots, quotas, err := c.GetQuotaRoot(testContext(t), "INBOX")
				return []any{roots, quotas[0].Resources["STORAGE"].Limit}, err
			},
			want: []any{[]string{"user"}, int64(512)}},
		{name: "notify", caps: "NOTIFY", script: `
			C: $x NOTIFY SET STATUS (SELECTED (MessageNew MessageExpunge FlagChange)) (PERSONAL (MessageNew MessageExpunge)) (MAILBOXES ("Spam") NONE)
			S: * STATUS "Archive" (MESSAGES 3)
			S: $x OK done
			C: $y NOOP
			S: * STATUS "Archive" (MESSAGES 4)
			S: * OK [NOTIFICATIONOVERFLOW] too much
			S: $y OK done`,
			run: func(t *testing.T, c *Conn) (any, error) {
				events := []NotifyEvent{NotifyMessageNew, NotifyMessageExpunge}
				states, err := c.Notify(testContext(t), true,
					NotifyGroup{Scope: NotifySelected, Events: append(events[:2:2], NotifyFlagChange)},
					NotifyGroup{Scope: NotifyPersonal, Events: events},
					NotifyGroup{Scope: NotifyMailboxes, Names: []string{"Spam"}})
				if err != nil || len(states) != 1 || *states[0].NumMessages != 3 {
					t.Errorf("states %v, %v", states, err)
				}
				if err := c.Noop(testContext(t)); err != nil {
					return nil, err
				}
				return c.Updates(), nil
			},
			want: Updates{Folders: []string{"Archive"}, NotifyEnded: true}},
		{name: "unselect without UNSELECT", script: selected(2) + `
			C: $x EXAMINE "postern.no.such.mailbox"
			S: $x NO no such mailbox`,
			run: func(t *testing.T, c *Conn) (any, error) {
				selectInbox(t, c)
				err := c.Unselect(testContext(t))
				return c.Selected(), err
			},
			want: ""},
		{name: "select refused leaves none selected", script: selected(2) + `
			C: $x SELECT "gone"
			S: $x NO [NONEXISTENT] no such mailbox`,
			run: func(t *testing.T, c *Conn) (any, error) {
				selectInbox(t, c)
				_, err := c.Select(testContext(t), "gone", nil)
				return c.Selected(), err
			},
			want: "", wantErr: "SELECT: NO [NONEXISTENT] no such mailbox"},
		{name: "alerts", script: `
			C: $x NOOP
			S: * OK [ALERT] the disk is full
			S: $x OK [ALERT] really`,
			run: func(t *testing.T, c *Conn) (any, error) {
				err := c.Noop(testContext(t))
				return c.Updates().Alerts, err
			},
			want: []string{"the disk is full", "really"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := dialScript(t, tc.caps, tc.script+"\nC: $n NOOP\nS: $n OK done")
			got, err := tc.run(t, c)
			if msg := errText(err); msg != tc.wantErr {
				t.Errorf("error %q, want %q", msg, tc.wantErr)
			}
			if !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
			if err := c.Noop(testContext(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestAppendFromBrokenReader(t *testing.T) {
	t.Parallel()
	errDisk := errors.New("disk failure")
	for name, tc := range map[string]struct {
		reader io.Reader
		want   error
	}{
		"fails": {io.MultiReader(strings.NewReader("ab"), &failingReader{errDisk}), errDisk},
		"short": {strings.NewReader("ab"), nil},
		"long":  {strings.NewReader("abcdefgh"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := dialScript(t, "LITERAL+", "ignore")
			_, err := c.Append(testContext(t), "INBOX", AppendMessage{Reader: tc.reader, Size: 5})
			if err == nil || tc.want != nil && !errors.Is(err, tc.want) {
				t.Errorf("error %v", err)
			}
			if c.Err() == nil {
				t.Error("the connection is still open, though out of step")
			}
		})
	}
}

type failingReader struct{ err error }

func (r *failingReader) Read([]byte) (int, error) { return 0, r.err }

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	no := func(code imap.ResponseCode, text string) error {
		return &Error{Command: "X", Type: imap.StatusResponseTypeNo, Code: code, Text: text}
	}
	for _, tc := range []struct {
		name string
		err  error
		want time.Duration
		ok   bool
	}{
		{"limit", no(imap.ResponseCodeLimit, "Rate limit hit"), time.Minute, true},
		{"in use", no(imap.ResponseCodeInUse, ""), 5 * time.Second, true},
		{"unavailable", &ByeError{Code: imap.ResponseCodeUnavailable}, 30 * time.Second, true},
		{"Microsoft", no("", "Request is throttled. Suggested Backoff Time: 1500 milliseconds"), 1500 * time.Millisecond, true},
		{"capped", no("", "Request is throttled. Suggested Backoff Time: 99999999999999999999"), maxRetryAfter, true},
		{"Gmail", &ByeError{Text: "Too many simultaneous connections. (Failure)"}, time.Minute, true},
		{"missing mailbox", no(imap.ResponseCodeNonExistent, "no"), 0, false},
		{"wrong password", &AuthError{Err: no("", "too many failures")}, 0, false},
		{"network", &NetworkError{Err: io.EOF}, 0, false},
	} {
		if got, ok := RetryAfter(tc.err); got != tc.want || ok != tc.ok {
			t.Errorf("%s: %v, %v, want %v, %v", tc.name, got, ok, tc.want, tc.ok)
		}
	}
}

func searchUnseen(t *testing.T, c *Conn) (any, error) {
	selectInbox(t, c)
	criteria := &SearchCriteria{}
	criteria.NotFlag = []imap.Flag{imap.FlagSeen}
	data, err := c.Search(testContext(t), criteria, &SearchOptions{ReturnAll: true})
	if err != nil {
		return nil, err
	}
	return data.All.String(), nil
}

// A refusal because some messages are gone is told from others, by its code or
// by its words.
func TestIsGone(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		err  error
		want bool
	}{
		"code":       {&Error{Command: "UID MOVE", Type: imap.StatusResponseTypeNo, Code: "EXPUNGEISSUED", Text: "gone"}, true},
		"words":      {fmt.Errorf("move: %w", &Error{Type: imap.StatusResponseTypeNo, Text: "Some of the requested messages no longer exist."}), true},
		"BAD":        {&Error{Type: imap.StatusResponseTypeBad, Text: "messages no longer exist"}, false},
		"other code": {&Error{Type: imap.StatusResponseTypeNo, Code: imap.ResponseCodeOverQuota, Text: "full"}, false},
		"network":    {&NetworkError{Command: "UID MOVE", Err: io.EOF}, false},
		"none":       {nil, false},
	} {
		if got := IsGone(tt.err); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
