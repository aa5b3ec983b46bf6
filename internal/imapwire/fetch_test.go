package imapwire

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// fetched is what a test wants of a FETCH response: the data, and each body
// section as a line.
type fetched struct {
	Data   *FetchData
	Bodies []string
}

func readFetch(t *testing.T, d *Decoder) fetched {
	t.Helper()
	var out fetched
	resp := mustNext(t, d)
	data, err := d.Fetch(resp, func(_ *FetchData, s *BodySection) error {
		text := "NIL"
		if s.Literal != nil {
			b, err := io.ReadAll(s.Literal)
			if err != nil {
				return err
			}
			text = string(b)
		}
		var e Encoder
		if s.Section.Partial != nil {
			s.Section.Partial.Size = 1 // so that it can be written
		}
		out.Bodies = append(out.Bodies, fmt.Sprintf("%s%s=%s", s.Name, wire(t, e.BodySection(&s.Section)), text))
		return nil
	})
	if err != nil {
		t.Fatalf("Fetch: %v", err)
	}
	out.Data = data
	return out
}

func brokenNames(f *FetchData) (names []string) {
	for _, b := range f.Broken {
		names = append(names, b.Name)
	}
	return names
}

var date = time.Date(2026, 11, 3, 9, 8, 7, 0, time.FixedZone("", 3600))

func TestFetch(t *testing.T) {
	t.Parallel()
	str := func(s string) *string { return &s }
	tests := []struct {
		name, line string
		want       FetchData
		bodies     []string
		broken     []string
	}{
		{"attributes", `(UID 7 FLAGS (\Seen $Forwarded) INTERNALDATE " 3-Nov-2026 09:08:07 +0100" RFC822.SIZE 44827 MODSEQ (12345678901))`,
			FetchData{UID: 7, Flags: []imap.Flag{`\Seen`, "$Forwarded"}, InternalDate: date, Size: 44827, ModSeq: 12345678901}, nil, nil},
		{"no flags", "(FLAGS ())", FetchData{Flags: []imap.Flag{}}, nil, nil},
		{"flags in odd forms", `(FLAGS ( \seen  foo[1] "with space" \* NIL))`,
			FetchData{Flags: []imap.Flag{`\Seen`, "foo[1]", "with space", `\*`, "NIL"}}, nil, nil},
		{"flags NIL", "(FLAGS NIL UID 3)", FetchData{UID: 3, Flags: []imap.Flag{}}, nil, nil},
		{"lower case and double spaces", `(uid  7   flags (\answered) )`,
			FetchData{UID: 7, Flags: []imap.Flag{`\Answered`}}, nil, nil},
		{"OBJECTID", "(EMAILID (M6d99ac3275bb4e) THREADID (T64b478a75b7ea9))",
			FetchData{EmailID: "M6d99ac3275bb4e", ThreadID: "T64b478a75b7ea9"}, nil, nil},
		{"THREADID NIL", "(THREADID NIL UID 1)", FetchData{UID: 1}, nil, nil},
		{"Gmail", `(X-GM-THRID 1266894439832287888 X-GM-MSGID 18446744073709551615 X-GM-LABELS ("\\Inbox" "\\Sent" Important "Muy Importante" "Entw&APw-rfe" R&D) UID 4)`,
			FetchData{UID: 4, GmailThreadID: 1266894439832287888, GmailMsgID: 18446744073709551615,
				GmailLabels: []string{`\Inbox`, `\Sent`, "Important", "Muy Importante", "Entwürfe", "R&D"}}, nil, nil},
		{"PREVIEW", `(PREVIEW "hello" UID 1)`, FetchData{UID: 1, Preview: str("hello")}, nil, nil},
		{"PREVIEW not there yet", "(PREVIEW NIL UID 1)", FetchData{UID: 1}, nil, nil},
		{"SAVEDATE", `(SAVEDATE "03-Nov-2026 09:08:07 +0100")`, FetchData{SaveDate: date}, nil, nil},
		{"SAVEDATE NIL", `(SAVEDATE NIL UID 2)`, FetchData{UID: 2}, nil, nil},
		{"body", "(UID 1 BODY[] {5}\nhello)", FetchData{UID: 1}, []string{"BODY[]=hello"}, nil},
		{"body before UID", "(BODY[] {5}\nhello UID 1)", FetchData{UID: 1}, []string{"BODY[]=hello"}, nil},
		{"body without a space", "(BODY[]{5}\nhello UID 1)", FetchData{UID: 1}, []string{"BODY[]=hello"}, nil},
		{"body quoted", `(BODY[1.2.MIME] "he(l)o" UID 1)`, FetchData{UID: 1}, []string{"BODY[1.2.MIME]=he(l)o"}, nil},
		{"body NIL", "(BODY[3] NIL UID 1)", FetchData{UID: 1}, []string{"BODY[3]=NIL"}, nil},
		{"body empty", "(BODY[TEXT] {0}\n UID 1)", FetchData{UID: 1}, []string{"BODY[TEXT]="}, nil},
		{"partial", "(BODY[1]<100> {2}\nab)", FetchData{}, []string{"BODY[1]<100.1>=ab"}, nil},
		{"partial with size", "(BODY[1]<0.2> {2}\nab)", FetchData{}, []string{"BODY[1]<0.1>=ab"}, nil},
		{"header fields", `(BODY[HEADER.FIELDS ("From" TO)] {2}` + "\n\n" + ` BODY[4.HEADER.FIELDS.NOT (X)] "")`, FetchData{},
			[]string{"BODY[HEADER.FIELDS (From TO)]=\r\n", "BODY[4.HEADER.FIELDS.NOT (X)]="}, nil},
		{"BINARY", "(BINARY[2]<5> ~{3}\na\x00b BINARY.SIZE[2] 300)",
			FetchData{BinarySizes: []BinarySize{{Part: []int{2}, Size: 300}}}, []string{"BINARY[2]<5.1>=a\x00b"}, nil},
		{"RFC822", "(RFC822 {1}\na RFC822.HEADER {1}\nb RFC822.TEXT {1}\nc)", FetchData{},
			[]string{"RFC822[]=a", "RFC822.HEADER[HEADER]=b", "RFC822.TEXT[TEXT]=c"}, nil},
		{"unknown items", "(X-FOO (a {3}\n)\"( (b)) X-BAR[1 (c)] ~{1}\n( ANNOTATION NIL UID 9)", FetchData{UID: 9}, nil, nil},
		{"empty", "()", FetchData{}, nil, nil},
		{"trailing space", "(UID 1) ", FetchData{UID: 1}, nil, nil},
		{"number in quotes", `(UID "12" RFC822.SIZE "5")`, FetchData{UID: 12, Size: 5}, nil, nil},
		{"size unknown", "(RFC822.SIZE -1 UID 2)", FetchData{UID: 2}, nil, nil},

		{"broken UID", "(UID 12x FLAGS () MODSEQ (5))", FetchData{Flags: []imap.Flag{}, ModSeq: 5}, nil, []string{"UID"}},
		{"UID zero", "(UID 0 MODSEQ (5))", FetchData{ModSeq: 5}, nil, []string{"UID"}},
		{"UID twice", "(UID 4 UID 4)", FetchData{UID: 4}, nil, nil},
		{"two UIDs", "(UID 4 UID 5 MODSEQ (5))", FetchData{ModSeq: 5}, nil, []string{"UID"}},
		{"UID too large", "(UID 4294967296 MODSEQ (5))", FetchData{ModSeq: 5}, nil, []string{"UID"}},
		{"UID a list", "(UID (1 (2)) MODSEQ (5))", FetchData{ModSeq: 5}, nil, []string{"UID"}},
		{"date a list", "(INTERNALDATE (UID 3) UID 4)", FetchData{UID: 4}, nil, []string{"INTERNALDATE"}},
		{"date broken", `(INTERNALDATE "yesterday" UID 4)`, FetchData{UID: 4}, nil, []string{"INTERNALDATE"}},
		{"value missing at the end", "(UID 4 RFC822)", FetchData{UID: 4}, nil, []string{"RFC822"}},
		{"value of an unknown item missing", "(UID 4 X-FOO)", FetchData{UID: 4}, nil, []string{"X-FOO"}},
		{"envelope broken", `(ENVELOPE ("a" "b" ((NIL NIL {3}` + "\nxyz" + ` "h") x "stray" UID 1`, FetchData{}, nil, []string{"ENVELOPE"}},
		{"stray quote", `(UID 4 ENVELOPE (NIL "a" b" NIL) FLAGS ())`, FetchData{UID: 4}, nil, []string{"ENVELOPE"}},
		{"stray values", `(UID 4 "x" (y) MODSEQ (5))`, FetchData{UID: 4, ModSeq: 5}, nil, []string{"", ""}},
		{"line ends early", "(UID 4 FLAGS (a", FetchData{UID: 4}, nil, []string{"FLAGS"}},
		{"list never closed", "(UID 4", FetchData{UID: 4}, nil, []string{""}},
		{"bad section", "(BODY[1.2 {3}\nabc UID 4)", FetchData{UID: 4}, nil, []string{"BODY"}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			eachChunking(t, "* 3 FETCH "+tc.line+"\n* 7 RECENT\n", func(t *testing.T, d *Decoder) {
				got := readFetch(t, d)
				tc.want.SeqNum = 3
				if diff := cmp.Diff(&tc.want, got.Data, cmpopts.IgnoreFields(FetchData{}, "Broken")); diff != "" {
					t.Errorf("data (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(tc.bodies, got.Bodies); diff != "" {
					t.Errorf("bodies (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(tc.broken, brokenNames(got.Data)); diff != "" {
					t.Errorf("broken (-want +got):\n%s", diff)
				}
				if r := mustNext(t, d); r.Name != "RECENT" || r.Num != 7 {
					t.Errorf("the response after it is %+v", r)
				}
			})
		})
	}
}

func TestUIDFetch(t *testing.T) {
	t.Parallel()
	got := readFetch(t, decode("* 25997 UIDFETCH (FLAGS (a))\n"))
	if got.Data.UID != 25997 || got.Data.SeqNum != 0 {
		t.Errorf("got %+v", got.Data)
	}
}

func TestFetchBodyFails(t *testing.T) {
	t.Parallel()
	d := decode("* 1 FETCH (BODY[] {5}\nhello UID 2)\n* 3 EXISTS\n")
	oops := errors.New("oops")
	if _, err := d.Fetch(mustNext(t, d), func(*FetchData, *BodySection) error { return oops }); err != oops {
		t.Fatalf("Fetch: %v", err)
	}
	if r := mustNext(t, d); r.Num != 3 {
		t.Fatalf("then %+v", r)
	}
}

func TestFetchWithoutBodyFunc(t *testing.T) {
	t.Parallel()
	d := decode("* 1 FETCH (BODY[] {5}\nhello UID 2)\n")
	if f, err := d.Fetch(mustNext(t, d), nil); err != nil || f.UID != 2 {
		t.Fatalf("Fetch: %+v, %v", f, err)
	}
}

func TestFetchCutInLiteral(t *testing.T) {
	t.Parallel()
	d := NewDecoder(strings.NewReader("* 1 FETCH (BODY[] {50}\r\nhello"), Limits{})
	_, err := d.Fetch(mustNext(t, d), func(_ *FetchData, s *BodySection) error {
		_, err := io.Copy(io.Discard, s.Literal)
		return err
	})
	if err != io.ErrUnexpectedEOF || d.Err() != io.ErrUnexpectedEOF {
		t.Fatalf("Fetch: %v, Err: %v", err, d.Err())
	}
}
