package imapwire

import (
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/google/go-cmp/cmp"
)

func ptr[T any](v T) *T { return &v }

// payload reads the payload of a response by its name.
func payload(d *Decoder, r Response) (any, error) {
	switch r.Name {
	case "FETCH", "UIDFETCH":
		return d.Fetch(r, nil)
	case "LIST", "LSUB", "XLIST":
		return d.List()
	case "STATUS":
		return d.Status()
	case "SEARCH":
		return d.Search()
	case "ESEARCH":
		return d.ESearch()
	case "SORT":
		return d.Sort()
	case "THREAD":
		return d.Thread()
	case "VANISHED":
		return d.Vanished()
	case "NAMESPACE":
		return d.Namespace()
	case "QUOTA":
		return d.Quota()
	case "QUOTAROOT":
		return d.QuotaRoot()
	case "ID":
		return d.ID()
	case "CAPABILITY":
		return d.Capability()
	case "ENABLED":
		return d.Enabled()
	case "FLAGS":
		return d.Flags()
	}
	return nil, nil
}

func TestData(t *testing.T) {
	t.Parallel()
	list := func(raw string, l imap.ListData) *ListData { return &ListData{ListData: l, RawName: raw} }
	uids := func(pairs ...imap.UID) (set imap.UIDSet) {
		for i := 0; i < len(pairs); i += 2 {
			set = append(set, imap.UIDRange{Start: pairs[i], Stop: pairs[i+1]})
		}
		return set
	}
	tests := []struct {
		name, line string
		want       any
	}{
		{"list", `LIST (\HasNoChildren \sent) "/" "Sent Items"`, list("Sent Items", imap.ListData{
			Attrs: []imap.MailboxAttr{imap.MailboxAttrHasNoChildren, imap.MailboxAttrSent}, Delim: '/', Mailbox: "Sent Items"})},
		{"list, inbox and NIL", `LIST () NIL inbox`, list("inbox", imap.ListData{Mailbox: "INBOX"})},
		{"list, backslash", `LIST () "\\" {3}` + "\na\\b", list(`a\b`, imap.ListData{Delim: '\\', Mailbox: `a\b`})},
		{"list, UTF-7", `XLIST (\Drafts) "." INBOX.Entw&APw-rfe`, list("INBOX.Entw&APw-rfe", imap.ListData{
			Attrs: []imap.MailboxAttr{imap.MailboxAttrDrafts}, Delim: '.', Mailbox: "INBOX.Entwürfe"})},
		{"list, bad UTF-7", `LSUB () "/" "R&D &!"`, list("R&D &!", imap.ListData{Delim: '/', Mailbox: "R&D &!"})},
		{"list, 8-bit", "LIST () \"/\" \"caf\xe9\"", list("caf\xe9", imap.ListData{Delim: '/', Mailbox: "café"})},
		{"list, attributes NIL", `LIST NIL "/" a`, list("a", imap.ListData{Delim: '/', Mailbox: "a"})},
		{"list, brackets", `LIST (\HasChildren) "/" [Gmail]`, list("[Gmail]", imap.ListData{
			Attrs: []imap.MailboxAttr{imap.MailboxAttrHasChildren}, Delim: '/', Mailbox: "[Gmail]"})},
		{"list, extended", `LIST (\Subscribed) "/" a ("CHILDINFO" ("SUBSCRIBED") OLDNAME (b) X (y (z)) MYRIGHTS "lr")`, list("a", imap.ListData{
			Attrs: []imap.MailboxAttr{imap.MailboxAttrSubscribed}, Delim: '/', Mailbox: "a", OldName: "b", ChildInfo: &imap.ListDataChildInfo{Subscribed: true}})},

		{"status", `STATUS "a b" (MESSAGES 3 UNSEEN 0 UIDNEXT 9 UIDVALIDITY 4294967295 RECENT 1 DELETED 2 SIZE 99999999999 HIGHESTMODSEQ 18446744073709551615 MAILBOXID (F1) APPENDLIMIT 5 DELETED-STORAGE 6 X (y))`,
			&StatusData{RawName: "a b", MailboxID: "F1", StatusData: imap.StatusData{Mailbox: "a b", NumMessages: ptr(uint32(3)), NumUnseen: ptr(uint32(0)),
				UIDNext: 9, UIDValidity: 4294967295, NumRecent: ptr(uint32(1)), NumDeleted: ptr(uint32(2)), Size: ptr(int64(99999999999)),
				HighestModSeq: 18446744073709551615, AppendLimit: ptr(uint32(5)), DeletedStorage: ptr(int64(6))}}},
		{"status, odd values", `STATUS a (UIDNEXT 4294967296 UIDVALIDITY NIL APPENDLIMIT NIL MESSAGES 4294967296)`,
			&StatusData{RawName: "a", StatusData: imap.StatusData{Mailbox: "a", NumMessages: ptr(uint32(4294967295))}}},
		{"status of nothing", `STATUS a ()`, &StatusData{RawName: "a", StatusData: imap.StatusData{Mailbox: "a"}}},

		{"search", "SEARCH 2 3 4 9", &SearchData{All: uids(2, 4, 9, 9)}},
		{"search, out of order", "SEARCH 9 3 2 4 4 9 1", &SearchData{All: uids(1, 4, 9, 9)}},
		{"search, descending", "SEARCH 9 8 7 3 2", &SearchData{All: uids(2, 3, 7, 9)}},
		{"search, nothing", "SEARCH", &SearchData{}},
		{"search, trailing spaces", "SEARCH  5   ", &SearchData{All: uids(5, 5)}},
		{"search, zero", "SEARCH 0 1", &SearchData{All: uids(1, 1)}},
		{"search, the largest", "SEARCH 4294967295 1 4294967294", &SearchData{All: uids(1, 1, 4294967294, 4294967295)}},
		{"search, modseq", "SEARCH 2 (MODSEQ 917162500)", &SearchData{All: uids(2, 2), ModSeq: 917162500}},
		{"esearch", `ESEARCH (TAG "A282") UID MIN 2 MAX 4294967295 COUNT 3 ALL 1:4294967295 MODSEQ 7 X-NEW (a b)`,
			&SearchData{Tag: "A282", UID: true, Min: 2, Max: 4294967295, Count: ptr(uint32(3)), All: uids(1, 4294967295), ModSeq: 7}},
		{"esearch, nothing", `ESEARCH (TAG A1)`, &SearchData{Tag: "A1"}},
		{"esearch, ALL of nothing", `ESEARCH (TAG "A1") UID ALL`, &SearchData{Tag: "A1", UID: true}},
		{"esearch, sets out of order", `ESEARCH UID ALL 5:3,1,2`, &SearchData{UID: true, All: uids(1, 5)}},
		{"esearch, partial", `ESEARCH (TAG "A") UID PARTIAL (-1:-100 200:250,252)`,
			&SearchData{Tag: "A", UID: true, Partial: &SearchPartial{Range: "-1:-100", Nums: uids(200, 250, 252, 252)}}},
		{"esearch, partial of nothing", `ESEARCH (TAG "A") UID PARTIAL (1:100 NIL) COUNT 0`,
			&SearchData{Tag: "A", UID: true, Partial: &SearchPartial{Range: "1:100"}, Count: ptr(uint32(0))}},
		{"sort", "SORT 5 3 4 (MODSEQ 12)", &SortData{Nums: []uint32{5, 3, 4}, ModSeq: 12}},
		{"sort, nothing", "SORT ", &SortData{}},
		{"thread", "THREAD (2)(3 6 (4 23)(44 7 96))", []ThreadNode{{2, -1}, {3, -1}, {6, 1}, {4, 2}, {23, 3}, {44, 2}, {7, 5}, {96, 6}}},
		{"thread without root", "THREAD ((3)(5))", []ThreadNode{{0, -1}, {3, 0}, {5, 0}}},
		{"thread, nothing", "THREAD", []ThreadNode(nil)},
		{"vanished", "VANISHED 405,407,1:4", &VanishedData{UIDs: uids(1, 4, 405, 405, 407, 407)}},
		{"vanished earlier", "VANISHED (EARLIER) 1:4294967295", &VanishedData{Earlier: true, UIDs: uids(1, 4294967295)}},
		{"namespace", `NAMESPACE (("" "/")) NIL (("#shared/" "/" "X-PARAM" ("a" "b")) ("&APw-" NIL))`, &imap.NamespaceData{
			Personal: []imap.NamespaceDescriptor{{Delim: '/'}}, Shared: []imap.NamespaceDescriptor{{Prefix: "#shared/", Delim: '/'}, {Prefix: "ü"}}}},
		{"namespace, short", `NAMESPACE NIL`, &imap.NamespaceData{}},
		{"quota", `QUOTA "" (STORAGE 10 512 message 1 99999999999)`, &QuotaData{Resources: map[imap.QuotaResourceType]QuotaResource{
			imap.QuotaResourceStorage: {10, 512}, imap.QuotaResourceMessage: {1, 99999999999}}}},
		{"quota root", `QUOTAROOT INBOX "" "user/ann"`, &QuotaRootData{Mailbox: "INBOX", Roots: []string{"", "user/ann"}}},
		{"id", `ID ("name" "Dovecot" "version" NIL "x-y" "z" "support-url" "u")`, &imap.IDData{Name: "Dovecot", SupportURL: "u"}},
		{"id NIL", `ID NIL`, &imap.IDData{}},
		{"capability", `CAPABILITY imap4REV1  idle AUTH=plain `, imap.CapSet{imap.CapIMAP4rev1: {}, imap.CapIdle: {}, "AUTH=PLAIN": {}}},
		{"enabled", `ENABLED CONDSTORE`, imap.CapSet{imap.CapCondStore: {}}},
		{"enabled, nothing", `ENABLED`, imap.CapSet{}},
		{"flags", `FLAGS (\Answered \RECENT $MDNSent foo)`, []imap.Flag{imap.FlagAnswered, `\RECENT`, imap.FlagMDNSent, "foo"}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			eachChunking(t, "* "+tc.line+"\n* 7 RECENT\n", func(t *testing.T, d *Decoder) {
				got, err := payload(d, mustNext(t, d))
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				if r := mustNext(t, d); r.Name != "RECENT" {
					t.Errorf("then %+v", r)
				}
			})
		})
	}
}

func TestMalformedData(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		"LIST", "LIST ()", `LIST () "/"`, "LIST (", "LIST x", "STATUS", "STATUS a (MESSAGES", "STATUS a (MESSAGES)", "SEARCH 1 x", "SEARCH 4294967296", "SEARCH *",
		"ESEARCH UID ALL 1:*", "ESEARCH (TAG", "SORT 1 -1", "THREAD (1", "THREAD 1", "THREAD )", "VANISHED", "VANISHED 1:", "NAMESPACE (x)",
		"QUOTA", "QUOTA a (STORAGE", "QUOTAROOT", "FETCH", "FETCH 1", `ID ("a`,
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			d := decode("* " + line + "\n* 7 RECENT\n")
			if got, err := payload(d, mustNext(t, d)); err == nil {
				t.Errorf("no error, but %+v", got)
			} else if d.Err() != nil {
				t.Errorf("the stream is lost: %v", d.Err())
			}
			if r := mustNext(t, d); r.Name != "RECENT" {
				t.Errorf("then %+v", r)
			}
		})
	}
}

func TestUTF8Mailboxes(t *testing.T) {
	t.Parallel()
	d := decode("* LIST () \"/\" \"R&D &APw- ü\"\n")
	d.UTF8 = true
	mustNext(t, d)
	if l, err := d.List(); err != nil || l.Mailbox != "R&D &APw- ü" {
		t.Errorf("List = %+v, %v", l, err)
	}
}

func TestStatusCodes(t *testing.T) {
	t.Parallel()
	code := func(line string) *Status {
		d := decode("* OK [" + line + "] text\n")
		return mustNext(t, d).Status
	}
	check := func(name string, got, want any, ok bool) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" || !ok {
			t.Errorf("%s: ok = %v (-want +got):\n%s", name, ok, diff)
		}
	}
	caps, ok := code("CAPABILITY IMAP4rev1 idle").Capabilities()
	check("CAPABILITY", caps, imap.CapSet{imap.CapIMAP4rev1: {}, imap.CapIdle: {}}, ok)
	flags, ok := code(`PERMANENTFLAGS (\Seen a[1] \*)`).PermanentFlags()
	check("PERMANENTFLAGS", flags, []imap.Flag{imap.FlagSeen, "a[1]", imap.FlagWildcard}, ok)
	uid, ok := code("UIDNEXT 4392").UIDNext()
	check("UIDNEXT", uid, imap.UID(4392), ok)
	n, ok := code("UIDVALIDITY 4294967295").UIDValidity()
	check("UIDVALIDITY", n, uint32(4294967295), ok)
	n, ok = code("UNSEEN 17").Unseen()
	check("UNSEEN", n, uint32(17), ok)
	m, ok := code("HIGHESTMODSEQ 715194045007").HighestModSeq()
	check("HIGHESTMODSEQ", m, uint64(715194045007), ok)
	n, set, ok := code("APPENDUID 38505 3955:3957").AppendUID()
	check("APPENDUID", n, uint32(38505), ok)
	check("APPENDUID", set, imap.UIDSet{{Start: 3955, Stop: 3957}}, ok)
	cp, ok := code("COPYUID 38505 304,319:320 3956:3958").CopyUID()
	check("COPYUID", cp, &imap.CopyData{UIDValidity: 38505, SourceUIDs: imap.UIDSet{{Start: 304, Stop: 304}, {Start: 319, Stop: 320}}, DestUIDs: imap.UIDSet{{Start: 3956, Stop: 3958}}}, ok)
	set, ok = code("MODIFIED 7,9").Modified()
	check("MODIFIED", set, imap.UIDSet{{Start: 7, Stop: 7}, {Start: 9, Stop: 9}}, ok)
	cs, ok := code(`BADCHARSET (US-ASCII "UTF-8")`).BadCharset()
	check("BADCHARSET", cs, []string{"US-ASCII", "UTF-8"}, ok)
	_, ok = code("BADCHARSET").BadCharset()
	check("BADCHARSET alone", nil, nil, ok)
	id, ok := code("MAILBOXID (F2212ea87-6097-4256-9d51-71338625)").MailboxID()
	check("MAILBOXID", id, "F2212ea87-6097-4256-9d51-71338625", ok)

	if _, ok := code("UIDNEXT x").UIDNext(); ok {
		t.Error("UIDNEXT x")
	}
	if _, ok := code("UIDVALIDITY 4294967296").UIDValidity(); ok {
		t.Error("UIDVALIDITY over 32 bits")
	}
	if _, ok := code("CLOSED").UIDNext(); ok {
		t.Error("UIDNEXT of another code")
	}
	if _, ok := (*Status)(nil).CopyUID(); ok {
		t.Error("COPYUID of no status")
	}
}

func TestCopiedTo(t *testing.T) {
	t.Parallel()
	d := decode("A1 OK [COPYUID 1 20:22,5,7:8 101:104,90,95]\n")
	data, ok := mustNext(t, d).Status.CopyUID()
	if !ok {
		t.Fatal("no COPYUID")
	}
	for src, want := range map[imap.UID]imap.UID{20: 101, 21: 102, 22: 103, 5: 104, 7: 90, 8: 95, 6: 0, 1: 0} {
		if got, ok := CopiedTo(data, src); got != want || ok != (want != 0) {
			t.Errorf("CopiedTo(%d) = %d, %v, want %d", src, got, ok, want)
		}
	}
}
