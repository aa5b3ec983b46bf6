package imapwire

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/emersion/go-imap/v2"
)

// transcripts are sessions in the dialects of the servers that are met most.
var transcripts = []string{
	// Dovecot
	`* OK [CAPABILITY IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ AUTH=PLAIN] Dovecot (Debian) ready.
* ID ("name" "Dovecot")
* LIST (\HasNoChildren \UnMarked \Drafts) "/" Drafts
* LIST (\NonExistent \NoSelect \HasChildren) "/" "a b"
* STATUS Drafts (MESSAGES 0 UIDNEXT 1 UIDVALIDITY 1763900000 UNSEEN 0 HIGHESTMODSEQ 1)
* FLAGS (\Answered \Flagged \Deleted \Seen \Draft)
* OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft \*)] Flags permitted.
* 3 EXISTS
* 0 RECENT
* OK [UNSEEN 2] First unseen.
* VANISHED (EARLIER) 1:5,8
* 1 FETCH (UID 6 FLAGS (\Seen) MODSEQ (12) ENVELOPE ("Tue, 03 Nov 2026 09:08:07 +0100" "=?UTF-8?Q?Gr=C3=BC=C3=9Fe?=" (("Ann Lee" NIL "ann" "example.com")) (("Ann Lee" NIL "ann" "example.com")) (("Ann Lee" NIL "ann" "example.com")) ((NIL NIL "bob" "example.org")) NIL NIL "<1@x>" "<2@x>") BODYSTRUCTURE (("text" "plain" ("charset" "utf-8") NIL NIL "quoted-printable" 20 1 NIL NIL NIL NIL)("application" "pdf" ("name" "a.pdf") NIL NIL "base64" 1000 NIL ("attachment" ("filename" "a.pdf")) NIL NIL) "mixed" ("boundary" "x") NIL NIL NIL) BODY[HEADER.FIELDS (LIST-ID)] {2}

)
* ESEARCH (TAG "A3") UID COUNT 3 ALL 1:3
* THREAD (1)(2 (3)(4))
A4 OK [COPYUID 1763900000 6 1] Copy completed (0.001 + 0.000 secs).
+ idling
* OK Still here
A5 NO [TRYCREATE] Mailbox doesn't exist: x
`,
	// Gmail
	`* CAPABILITY IMAP4rev1 UNSELECT IDLE NAMESPACE QUOTA ID XLIST CHILDREN X-GM-EXT-1 UIDPLUS COMPRESS=DEFLATE ENABLE MOVE CONDSTORE ESEARCH UTF8=ACCEPT LIST-EXTENDED LIST-STATUS LITERAL- SPECIAL-USE APPENDLIMIT=35651584
* LIST (\HasChildren \Noselect) "/" "[Gmail]"
* LIST (\All \HasNoChildren) "/" "[Gmail]/Alle Nachrichten"
* 1 FETCH (X-GM-THRID 1266894439832287888 X-GM-MSGID 1278455344230334865 X-GM-LABELS ("\\Inbox" "\\Sent" Important "Muy Importante") UID 4 RFC822.SIZE 3000 INTERNALDATE "03-Nov-2026 09:08:07 +0000" BODYSTRUCTURE ("MIXED" ("BOUNDARY" "x") NIL NIL))
* QUOTA "" (STORAGE 12 15728640)
* BYE [UNAVAILABLE] Session expired, please login again.
A1 NO [THROTTLED] Too many simultaneous connections. (Failure)
`,
	// Exchange
	`* OK The Microsoft Exchange IMAP4 service is ready. [QQBBAEEA]
* LIST (\Marked \HasNoChildren) "/" INBOX
* LIST (\HasChildren) "/" Kalender
* 2 FETCH (FLAGS (\Recent) UID 12 BODY[HEADER.FIELDS (FROM TO)] {5}
a

 BODYSTRUCTURE ("message" "rfc822" NIL NIL NIL "7bit" 900 NIL ("attachment" ("filename" "m.eml")) NIL NIL))
* BYE Connection is closed. 13
A1 BAD User is authenticated but not connected.
A2 BAD Request is throttled. Suggested Backoff Time: 5000 milliseconds
`,
	// Courier
	`* OK [CAPABILITY IMAP4rev1 UIDPLUS CHILDREN NAMESPACE THREAD=ORDEREDSUBJECT THREAD=REFERENCES SORT QUOTA IDLE ACL ACL2=UNION] Courier-IMAP ready.
* NAMESPACE (("INBOX." ".")) NIL (("#shared." ".")("shared." "."))
* LIST (\Marked \HasChildren) "." "INBOX"
* LSUB () "." "INBOX.Entw&APw-rfe"
* SEARCH 2 3 6
* SORT 6 3 2
* QUOTAROOT "INBOX" "ROOT"
* QUOTA "ROOT" (STORAGE 10 512)
`,
	// Cyrus
	`* OK [CAPABILITY IMAP4 IMAP4rev1 LITERAL+ ID ENABLE] mail Cyrus IMAP4 v3 server ready
* 1 FETCH (FLAGS (\Seen $X-ME-Annot-2) UID 1 EMAILID (M6d99ac3275bb4e) THREADID (T64b478a75b7ea9) SAVEDATE " 3-Nov-2026 09:08:07 +0000" PREVIEW NIL BINARY[1] ~{3}
abc BINARY.SIZE[1] 3)
* OK [HIGHESTMODSEQ 65] Ok
* OK [MAILBOXID (abc)] Ok
* STATUS "x" (MAILBOXID (abc) SIZE 5000000000)
* NO [OVERQUOTA] Over quota
* XCONVMULTISORT (x {3}
a)( NIL)
A1 OK [MODIFIED 1,3:5] done
`,
	// and what no standard knows
	"\x00\r\n  \r\n* 1 fetch (uid 3 envelope (\"\" \"a\" \"\" \"\" \"\" \"\" \"\" \"\" nil \"<a@b>\") flags (a[b] c))\r\n* SEARCH 1 2  \r\n",
	"* 1 FETCH (ENVELOPE (NIL \"the \"best\" offer\"\" ((\"A\"B\" NIL \"a\" \"b\"))) UID 4)\r\n* LIST () \"\\\" a\r\n",
	"* 1 FETCH (BODYSTRUCTURE ((((((((((\"\"\r\n* 2 FETCH (BODY[1.2.HEADER.FIELDS.NOT (a b)]<7> \"x\" RFC822 NIL)\r\n",
}

// FuzzResponse reads anything. Nothing may panic, hang, or depend on how the
// bytes come in pieces; what comes out is UTF-8; and reading goes on after each
// error unless the stream is at its end.
func FuzzResponse(f *testing.F) {
	for _, s := range transcripts {
		f.Add([]byte(crlf(s)))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		limits := Limits{Response: 1 << 20, String: 1 << 12, Stream: 1 << 16, Depth: 20, Elements: 1000, Ranges: 1000, Numbers: 1000}
		whole := readAll(t, NewDecoder(strings.NewReader(string(in)), limits), len(in))
		pieces := readAll(t, NewDecoder(iotest.OneByteReader(strings.NewReader(string(in))), limits), len(in))
		if whole != pieces {
			t.Errorf("as a whole:\n%s\nin pieces:\n%s", whole, pieces)
		}
	})
}

// readAll reads to the end of the stream and returns what happened.
func readAll(t *testing.T, d *Decoder, size int) string {
	var log strings.Builder
	for range size + 2 { // each response takes a byte at least
		resp, err := d.Next()
		switch {
		case d.Err() != nil:
			log.WriteString("end: " + d.Err().Error())
			return log.String()
		case err != nil:
			checkError(t, err)
			log.WriteString("error\n")
			continue
		}
		checkStatus(t, resp.Status)
		log.WriteString(resp.Tag + " " + resp.Name + "\n")
		if resp.Name == "FETCH" {
			checkFetch(t, d, resp, &log)
			continue
		}
		if _, err := payload(d, resp); err != nil && d.Err() == nil {
			checkError(t, err)
			log.WriteString("error in " + resp.Name + "\n")
		}
	}
	t.Fatal("the stream has no end")
	return ""
}

func checkError(t *testing.T, err error) {
	var syntax *SyntaxError
	var limit *LimitError
	if !errors.As(err, &syntax) && !errors.As(err, &limit) {
		t.Errorf("an error of type %T: %v", err, err)
	}
}

func checkStatus(t *testing.T, s *Status) {
	if s == nil {
		return
	}
	if !utf8.ValidString(s.Text) {
		t.Errorf("text is not UTF-8: %q", s.Text)
	}
	s.Capabilities()
	s.PermanentFlags()
	s.UIDNext()
	s.HighestModSeq()
	s.AppendUID()
	s.Modified()
	s.BadCharset()
	s.MailboxID()
	if data, ok := s.CopyUID(); ok {
		CopiedTo(data, 7)
	}
}

func checkFetch(t *testing.T, d *Decoder, resp Response, log *strings.Builder) {
	m, err := d.Fetch(resp, func(_ *FetchData, s *BodySection) error {
		if s.Literal == nil {
			return nil
		}
		n, err := io.Copy(io.Discard, io.LimitReader(s.Literal, s.Literal.Size()/2))
		if err == nil && n != s.Literal.Size()/2 {
			t.Errorf("%d bytes of a literal of %d", n, s.Literal.Size())
		}
		return err
	})
	if err != nil {
		if d.Err() == nil {
			checkError(t, err)
		}
		return
	}
	for _, b := range m.Broken {
		checkError(t, b.Err)
		log.WriteString("broken " + b.Name + "\n")
	}
	for _, f := range m.Flags {
		if !utf8.ValidString(string(f)) {
			t.Errorf("flag %q", f)
		}
	}
	if e := m.Envelope; e != nil {
		for _, s := range append([]string{e.Subject, e.MessageID}, e.InReplyTo...) {
			if !utf8.ValidString(s) {
				t.Errorf("not UTF-8: %q", s)
			}
		}
	}
	if m.BodyStructure != nil {
		m.BodyStructure.Walk(func(_ []int, part imap.BodyStructure) bool {
			if !utf8.ValidString(part.MediaType()) {
				t.Errorf("not UTF-8: %q", part.MediaType())
			}
			return true
		})
	}
}

func TestTranscripts(t *testing.T) {
	t.Parallel()
	for _, s := range transcripts[:5] {
		d := decode(s)
		for {
			resp, err := d.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("Next: %v", err)
			}
			got, err := payload(d, resp)
			if err != nil {
				t.Errorf("%s: %v", resp.Name, err)
			}
			if f, ok := got.(*FetchData); ok && len(f.Broken) > 0 {
				t.Errorf("FETCH: %v", f.Broken)
			}
		}
	}
}
