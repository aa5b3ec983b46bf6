package imapconn

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/text/encoding/htmlindex"

	"github.com/postern-mail/postern/internal/dovecottest"
)

// sampleMail returns messages of many shapes.
func sampleMail() [][]byte {
	var mail [][]byte
	add := func(format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		mail = append(mail, []byte(strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\n", "\r\n")))
	}
	for _, subject := range []string{
		"plain", "", `quotes " and \ backslashes`, "brackets ( ) { } [ ]", "=?utf-8?q?Gr=C3=BC=C3=9Fe?=",
		"=?iso-2022-jp?b?GyRCRnxLXBsoQg==?=", "=?koi8-r?B?8NLJ18XU?=", "=?broken?x?zz?=", "raw üñí bytes", "NIL", "{5}",
		strings.Repeat("long ", 300), "=?utf-8?b?" + base64.StdEncoding.EncodeToString([]byte("日本語の件名")) + "?=",
	} {
		add("From: =?utf-8?q?J=C3=B6rg?= <joerg@example.org>\nTo: ann@example.org, \"B, Bob\" <bob@example.org>\n"+
			"Cc: Friends: cat@example.org, dan@example.org;\nSubject: %s\nMessage-ID: <%d@example.org>\n"+
			"Date: Mon, 23 Nov 2026 10:00:00 +0100\n\nhello %d\n", subject, len(mail), len(mail))
	}
	for _, from := range []string{
		"ann@example.org", "<>", "undisclosed-recipients:;", "no at sign", `"a \" b" <x@y.z>`, "a@b, c@d, e@f", "(comment) a@b", "",
	} {
		add("From: %s\nReply-To: %s\nSender: s@example.org\nSubject: addresses\nIn-Reply-To: <1@x> <2@x>\n\nx\n", from, from)
	}
	for _, date := range []string{"Mon, 23 Nov 2026 10:00:00 +0100", "23 Nov 26 10:00 GMT", "yesterday", "Mon, 1 Jan 1970 00:00:00 -0000 (UTC)"} {
		add("Date: %s\nSubject: date\n\nx\n", date)
	}
	part := func(header, body string) string { return "--b\n" + header + "\n\n" + body + "\n" }
	for _, parts := range []string{
		part("Content-Type: text/plain; charset=utf-8", "text") + part("Content-Type: text/html", "<p>html</p>"),
		part("Content-Type: application/pdf; name=\"a b.pdf\"\nContent-Disposition: attachment; filename=\"a b.pdf\"\nContent-Transfer-Encoding: base64", "AAAA"),
		part("Content-Type: message/rfc822", "Subject: inner\nFrom: i@example.org\nContent-Type: multipart/mixed; boundary=c\n\n--c\n\ninner text\n--c--\n"),
		part("Content-Type: image/png\nContent-ID: <cid@x>\nContent-Disposition: inline\nContent-Location: http://x/y\nContent-Language: de, en\nContent-MD5: abc", "x"),
		part("Content-Type: text/plain; format=flowed; x=\"a;b\"; y*=utf-8''%C3%BC", "x"),
		part("", "no header"), "", part("Content-Type: garbage", "x"), part("Content-Disposition: attachment; filename*0=a; filename*1=b", "x"),
	} {
		for _, subtype := range []string{"mixed", "alternative"} {
			add("Subject: parts\nMIME-Version: 1.0\nContent-Type: multipart/%s; boundary=b\n\npreamble\n%s--b--\nepilogue\n", subtype, parts)
		}
	}
	add("Subject: nested\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/related; boundary=c\n\n--c\n\none\n--c\n\ntwo\n--c--\n--b--\n")
	add("no header at all\n")
	add("Subject: large\n\n%s", strings.Repeat("0123456789abcdef\n", 20000))
	return mail
}

// sample is a mailbox with all of it, and both clients with it selected.
func sample(t *testing.T) (ours *Conn, theirs *imapclient.Client) {
	t.Helper()
	srv := dovecottest.Shared(t)
	username, _ := srv.User(t)
	ours, theirs = dialConfig(t, dovecotConfig(srv, username, ModeTLS)), srv.Client(t, username)
	for i, raw := range sampleMail() {
		flags := [][]imap.Flag{nil, {imap.FlagSeen}, {imap.FlagFlagged, imap.FlagForwarded, "keyword"}, {imap.FlagAnswered, imap.FlagDraft}}
		opts := &imap.AppendOptions{Flags: flags[i%len(flags)], Time: time.Date(2026, 1, 1+i%28, 12, 0, 0, 0, time.UTC)}
		cmd := theirs.Append("INBOX", int64(len(raw)), opts)
		if _, err := cmd.Write(raw); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := theirs.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	selectInbox(t, ours)
	return ours, theirs
}

// TestDifferential compares what this client and go-imap's see in one mailbox.
func TestDifferential(t *testing.T) {
	t.Parallel()
	ours, theirs := sample(t)
	if n := int(ours.NumMessages()); n < 40 || n != len(sampleMail()) {
		t.Fatalf("%d messages", n)
	}
	compareMessages(t, ours, theirs)
	compareFolders(t, ours, theirs)
	compareSearches(t, ours, theirs)
}

func compareMessages(t *testing.T, ours *Conn, theirs *imapclient.Client) {
	all := imap.SeqSet{{Start: 1, Stop: ours.NumMessages()}}
	want := imap.FetchOptions{
		UID: true, Flags: true, InternalDate: true, RFC822Size: true, Envelope: true, ModSeq: false,
		BodyStructure: &imap.FetchItemBodyStructure{Extended: true},
		BodySection:   []*imap.FetchItemBodySection{{Peek: true}},
	}
	hashes := make(map[imap.UID][32]byte)
	opts := plain(want)
	opts.Body = func(m *FetchMessage, s *BodySection) error {
		h := sha256.New()
		if _, err := io.Copy(h, s.Literal); err != nil {
			return err
		}
		hashes[m.UID] = [32]byte(h.Sum(nil))
		return nil
	}
	got, err := fetched(t, ours, all, opts)
	if err != nil {
		t.Fatal(err)
	}
	theirMessages, err := theirs.Fetch(all, &want).Collect()
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(theirMessages) {
		t.Fatalf("%d messages, go-imap has %d", len(got), len(theirMessages))
	}
	raw := sampleMail()
	for i, other := range theirMessages {
		m := got[i]
		if m.UID != other.UID || m.SeqNum != other.SeqNum || m.Size != other.RFC822Size || !m.InternalDate.Equal(other.InternalDate) {
			t.Errorf("message %d: UID %d, size %d, date %v; go-imap: %d, %d, %v",
				i, m.UID, m.Size, m.InternalDate, other.UID, other.RFC822Size, other.InternalDate)
		}
		if diff := gocmp.Diff(sortedFlags(other.Flags), sortedFlags(m.Flags), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("message %d: flags: %s", i, diff)
		}
		body := other.FindBodySection(&imap.FetchItemBodySection{})
		if hashes[m.UID] != sha256.Sum256(body) || !bytes.Equal(body, raw[i]) {
			t.Errorf("message %d: other contents", i)
		}
		// By default go-imap knows fewer charsets.
		if subject, err := words.DecodeHeader(other.Envelope.Subject); err == nil {
			other.Envelope.Subject = subject
		}
		if diff := gocmp.Diff(other.Envelope, m.Envelope, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("message %d: envelope (-go-imap +ours): %s\n%.400s", i, diff, raw[i])
		}
		if diff := gocmp.Diff(other.BodyStructure, m.BodyStructure, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("message %d: body structure (-go-imap +ours): %s\n%.400s", i, diff, raw[i])
		}
		if len(m.Broken) > 0 {
			t.Errorf("message %d: broken items %v", i, m.Broken)
		}
	}
}

var words = mime.WordDecoder{CharsetReader: func(charset string, r io.Reader) (io.Reader, error) {
	enc, err := htmlindex.Get(charset)
	if err != nil {
		return nil, err
	}
	return enc.NewDecoder().Reader(r), nil
}}

func sortedFlags(flags []imap.Flag) []imap.Flag {
	flags = slices.DeleteFunc(slices.Clone(flags), func(f imap.Flag) bool { return f == `\Recent` }) // per session
	slices.Sort(flags)
	return flags
}

func compareFolders(t *testing.T, ours *Conn, theirs *imapclient.Client) {
	for _, name := range []string{"Grüße", "a&b", "Projekte/2026/日本", "50% *", `quo"te`, "UPPER", "trailing "} {
		if _, err := ours.Create(testContext(t), name); err != nil && !isRefusal(err) {
			t.Fatal(err)
		}
	}
	list, err := ours.List(testContext(t), &ListOptions{
		ListOptions: imap.ListOptions{ReturnSpecialUse: true, ReturnChildren: true, ReturnSubscribed: true},
		Status:      &StatusOptions{StatusOptions: imap.StatusOptions{NumMessages: true, UIDNext: true, UIDValidity: true, NumUnseen: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	other, err := theirs.List("", "*", &imap.ListOptions{
		ReturnSpecialUse: true, ReturnChildren: true, ReturnSubscribed: true,
		ReturnStatus: &imap.StatusOptions{NumMessages: true, UIDNext: true, UIDValidity: true, NumUnseen: true},
	}).Collect()
	if err != nil {
		t.Fatal(err)
	}
	got := []*imap.ListData{}
	for _, d := range list {
		plain := d.ListData.ListData
		if d.Status != nil {
			plain.Status = &d.Status.StatusData
		}
		got = append(got, &plain)
	}
	for _, l := range [][]*imap.ListData{got, other} {
		slices.SortFunc(l, func(a, b *imap.ListData) int { return cmp.Compare(a.Mailbox, b.Mailbox) })
		for _, d := range l {
			d.Attrs = slices.DeleteFunc(d.Attrs, func(a imap.MailboxAttr) bool {
				return a == imap.MailboxAttrUnmarked // Dovecot learns it by the first STATUS
			})
			slices.Sort(d.Attrs)
		}
	}
	if len(got) < 5 {
		t.Errorf("only %d folders", len(got))
	}
	if diff := gocmp.Diff(other, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("folders (-go-imap +ours): %s", diff)
	}
}

func compareSearches(t *testing.T, ours *Conn, theirs *imapclient.Client) {
	for _, criteria := range []imap.SearchCriteria{
		{},
		{Flag: []imap.Flag{imap.FlagSeen}},
		{NotFlag: []imap.Flag{imap.FlagSeen, "$Forwarded"}},
		{Text: []string{"hello"}},
		{Header: []imap.SearchCriteriaHeaderField{{Key: "Subject", Value: "Grüße"}}},
		{Header: []imap.SearchCriteriaHeaderField{{Key: "Subject", Value: `quotes "`}}},
		{Since: time.Date(2026, 1, 10, 0, 0, 0, 0, time.UTC), Before: time.Date(2026, 1, 20, 0, 0, 0, 0, time.UTC)},
		{Larger: 1000},
		{Or: [][2]imap.SearchCriteria{{{Body: []string{"html"}}, {Smaller: 200}}}},
		{Not: []imap.SearchCriteria{{Text: []string{"x"}}}},
	} {
		got, err := ours.Search(testContext(t), &SearchCriteria{SearchCriteria: criteria}, nil)
		if err != nil {
			t.Errorf("%+v: %v", criteria, err)
			continue
		}
		want, err := theirs.UIDSearch(&criteria, nil).Wait()
		if err != nil {
			t.Errorf("go-imap: %+v: %v", criteria, err)
			continue
		}
		if got.All.String() != want.All.String() {
			t.Errorf("%+v: %v, go-imap has %v", criteria, got.All, want.All)
		}
	}
}
