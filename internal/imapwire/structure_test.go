package imapwire

import (
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/google/go-cmp/cmp"
)

func TestEnvelope(t *testing.T) {
	t.Parallel()
	ann := []imap.Address{{Name: "Ann Lee", Mailbox: "ann", Host: "example.com"}}
	tests := []struct {
		name, in string
		want     *imap.Envelope
	}{
		{"RFC 9051 example", `("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)" "IMAP4rev2 WG mtg summary and minutes" (("Terry Gray" NIL "gray" "cac.washington.edu")) NIL NIL ((NIL NIL "imap" "cac.washington.edu")) ((NIL NIL "minutes" "CNRI.Reston.VA.US") ("John Klensin" NIL "KLENSIN" "MIT.EDU")) NIL NIL "<B27397-0100000@cac.washington.edu>")`,
			&imap.Envelope{
				Date: time.Date(1996, 7, 17, 2, 23, 25, 0, time.FixedZone("", -7*3600)), Subject: "IMAP4rev2 WG mtg summary and minutes",
				From:      []imap.Address{{Name: "Terry Gray", Mailbox: "gray", Host: "cac.washington.edu"}},
				To:        []imap.Address{{Mailbox: "imap", Host: "cac.washington.edu"}},
				Cc:        []imap.Address{{Mailbox: "minutes", Host: "CNRI.Reston.VA.US"}, {Name: "John Klensin", Mailbox: "KLENSIN", Host: "MIT.EDU"}},
				MessageID: "B27397-0100000@cac.washington.edu",
			}},
		{"encoded words", `(NIL "=?UTF-8?Q?Gr=C3=BC=C3=9Fe?= =?iso-2022-jp?B?GyRCRnxLXBsoQg==?=" (("=?gb2312?B?xOO6ww==?=" NIL "a" "b")) NIL NIL NIL NIL NIL NIL NIL)`,
			&imap.Envelope{Subject: "Grüße日本", From: []imap.Address{{Name: "你好", Mailbox: "a", Host: "b"}}}},
		{"broken words", `(NIL "=?UTF-8?Q?=ZZ?= =?x-none?Q?caf=E9?= =?utf-8" NIL NIL NIL NIL NIL NIL NIL NIL)`,
			&imap.Envelope{Subject: "=?UTF-8?Q?=ZZ?= café =?utf-8"}},
		{"raw 8-bit", "(NIL \"caf\xe9\" ((\"Jos\xe9\" NIL \"a\" \"b\")) NIL NIL NIL NIL NIL NIL NIL)",
			&imap.Envelope{Subject: "café", From: []imap.Address{{Name: "José", Mailbox: "a", Host: "b"}}}},
		{"broken date", `("yesterday" "x" NIL NIL NIL NIL NIL NIL NIL NIL)`, &imap.Envelope{Subject: "x"}},
		{"date without zone", `("Tue, 3 Nov 2026 09:08:07" NIL NIL NIL NIL NIL NIL NIL NIL NIL)`,
			&imap.Envelope{Date: time.Date(2026, 11, 3, 9, 8, 7, 0, time.UTC)}},
		{"date of date(1)", `("Tue Nov  3 09:08:07 UTC 2026" NIL NIL NIL NIL NIL NIL NIL NIL NIL)`,
			&imap.Envelope{Date: time.Date(2026, 11, 3, 9, 8, 7, 0, time.UTC)}},
		{"broken: no addresses at all", `(NIL "x" NIL "<a@b>")`, nil},
		{"empty lists as strings", `("" "x" "" "" "" "" "" "" "" "")`, &imap.Envelope{Subject: "x"}},
		{"empty lists", `("" "x" () () () () () () NIL "<a@b>")`, &imap.Envelope{Subject: "x", MessageID: "a@b"}},
		{"lists where strings are due", `((x (y)) ("z") (("Ann Lee" NIL "ann" "example.com")) NIL NIL NIL NIL NIL (q) "<a@b>")`,
			&imap.Envelope{From: ann, MessageID: "a@b"}},
		{"an address without its list", `(NIL NIL ("Ann Lee" NIL "ann" "example.com") NIL NIL NIL NIL NIL NIL NIL)`, &imap.Envelope{From: ann}},
		{"addresses of odd shape", `(NIL NIL (("Ann Lee" NIL "ann" "example.com") "" NIL (("x") "y") () ) NIL NIL NIL NIL NIL NIL NIL)`,
			&imap.Envelope{From: []imap.Address{ann[0], {}, {}}}},
		{"groups", `(NIL NIL NIL NIL NIL ((NIL NIL "undisclosed-recipients" NIL)(NIL NIL NIL NIL)) NIL NIL NIL NIL)`,
			&imap.Envelope{To: []imap.Address{{Mailbox: "undisclosed-recipients"}, {}}}},
		{"ids", `(NIL NIL NIL NIL NIL NIL NIL NIL "Ann's mail of <a@b> and <c d@e> <>" "no-brackets@x")`,
			&imap.Envelope{InReplyTo: []string{"a@b", "cd@e"}, MessageID: "no-brackets@x"}},
		{"id never closed", `(NIL NIL NIL NIL NIL NIL NIL NIL NIL "<a@b")`, &imap.Envelope{MessageID: "a@b"}},
		{"broken: quotes that split a string", `(NIL "one" "two" NIL NIL NIL NIL NIL NIL NIL NIL "<a@b>")`, nil},
		{"broken: quotes that split a name", `(NIL "x" (("Ann" "A" "Lee" NIL "ann" "example.com")) NIL NIL NIL NIL NIL NIL NIL)`, nil},
		{"broken: quotes that leave a word", `(NIL "x" (("Ann" A" Lee" NIL "ann" "example.com")) NIL NIL NIL NIL NIL NIL NIL)`, nil},
		{"broken: quotes not escaped", `(NIL "the "best" offer"" (("Ann "A" Lee" NIL "ann" "example.com")) NIL NIL NIL NIL NIL NIL NIL)`,
			nil},
		{"literals", "(NIL {3}\na\"( (({3}\nAnn NIL {3}\nann {3}\nx.y)) NIL NIL NIL NIL NIL NIL NIL)",
			&imap.Envelope{Subject: "a\"(", From: []imap.Address{{Name: "Ann", Mailbox: "ann", Host: "x.y"}}}},
		{"NIL", "NIL", nil},
		{"empty", "()", &imap.Envelope{}},
		{"a string", `""`, nil},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			eachChunking(t, "* 1 FETCH (ENVELOPE "+tc.in+" UID 5)\n* 2 EXISTS\n", func(t *testing.T, d *Decoder) {
				got := readFetch(t, d).Data
				if diff := cmp.Diff(tc.want, got.Envelope); diff != "" {
					t.Errorf("envelope (-want +got):\n%s", diff)
				}
				if broken := strings.HasPrefix(tc.name, "broken:"); broken != got.IsBroken("ENVELOPE") {
					t.Errorf("Broken = %v", got.Broken)
				} else if !broken && got.UID != 5 {
					t.Errorf("UID = %d, Broken = %v", got.UID, got.Broken)
				}
				if r := mustNext(t, d); r.Num != 2 {
					t.Errorf("then %+v", r)
				}
			})
		})
	}
}

func TestBodyStructure(t *testing.T) {
	t.Parallel()
	text := func(subtype string, size uint32, lines int64) *imap.BodyStructureSinglePart {
		return &imap.BodyStructureSinglePart{Type: "text", Subtype: subtype, Encoding: "7bit", Size: size, Text: &imap.BodyStructureText{NumLines: lines}}
	}
	message := func(m *imap.BodyStructureMessageRFC822, x *imap.BodyStructureSinglePartExt) *imap.BodyStructureSinglePart {
		return &imap.BodyStructureSinglePart{Type: "message", Subtype: "rfc822", Encoding: "7bit", Size: 9, MessageRFC822: m, Extended: x}
	}
	attachment := func(name string) *imap.BodyStructureSinglePartExt {
		return &imap.BodyStructureSinglePartExt{Disposition: &imap.BodyStructureDisposition{Value: "attachment", Params: map[string]string{"filename": name}}}
	}
	const plain = `("text" "plain" NIL NIL NIL "7bit" 3 1)`
	tests := []struct {
		name, in string
		want     imap.BodyStructure
	}{
		{"RFC 9051 example", `("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 3028 92)`,
			&imap.BodyStructureSinglePart{Type: "TEXT", Subtype: "PLAIN", Params: map[string]string{"charset": "US-ASCII"}, Encoding: "7BIT", Size: 3028, Text: &imap.BodyStructureText{NumLines: 92}}},
		{"Dovecot, mixed", `(("text" "plain" ("charset" "utf-8") NIL NIL "quoted-printable" 20 1 NIL NIL NIL NIL)("application" "pdf" ("name" "a.pdf") "<id@x>" "=?utf-8?q?d=C3=A9?=" "base64" 1000 NIL ("attachment" ("filename" "a.pdf" "size" "700")) ("en" "de") "loc") "mixed" ("boundary" "x") NIL NIL NIL)`,
			&imap.BodyStructureMultiPart{Subtype: "mixed", Extended: &imap.BodyStructureMultiPartExt{Params: map[string]string{"boundary": "x"}}, Children: []imap.BodyStructure{
				&imap.BodyStructureSinglePart{Type: "text", Subtype: "plain", Params: map[string]string{"charset": "utf-8"}, Encoding: "quoted-printable", Size: 20, Text: &imap.BodyStructureText{NumLines: 1}, Extended: &imap.BodyStructureSinglePartExt{}},
				&imap.BodyStructureSinglePart{Type: "application", Subtype: "pdf", Params: map[string]string{"name": "a.pdf"}, ID: "<id@x>", Description: "dé", Encoding: "base64", Size: 1000,
					Extended: &imap.BodyStructureSinglePartExt{Disposition: &imap.BodyStructureDisposition{Value: "attachment", Params: map[string]string{"filename": "a.pdf", "size": "700"}}, Language: []string{"en", "de"}, Location: "loc"}},
			}}},
		{"message", `("message" "rfc822" NIL NIL NIL "7bit" 9 (NIL "sub" NIL NIL NIL NIL NIL NIL NIL NIL) ` + plain + ` 4 NIL ("attachment" ("filename" "m.eml")))`,
			message(&imap.BodyStructureMessageRFC822{Envelope: &imap.Envelope{Subject: "sub"}, BodyStructure: text("plain", 3, 1), NumLines: 4}, attachment("m.eml"))},
		{"message of eleven fields", `("message" "rfc822" NIL NIL NIL "7bit" 9 NIL ("attachment" ("filename" "m.eml")) NIL NIL)`,
			message(nil, attachment("m.eml"))},
		{"message of seven fields", `("message" "rfc822" NIL NIL NIL "7bit" 9)`, message(nil, nil)},
		{"message with MD5 only", `("message" "rfc822" NIL NIL NIL "7bit" 9 "md5")`, message(nil, nil)},
		{"message with envelope NIL", `("message" "rfc822" NIL NIL NIL "7bit" 9 NIL ` + plain + ` 4)`,
			message(&imap.BodyStructureMessageRFC822{BodyStructure: text("plain", 3, 1), NumLines: 4}, nil)},
		{"message with envelope NIL and multipart", `("message" "rfc822" NIL NIL NIL "7bit" 9 NIL (` + plain + ` "mixed") 4)`,
			message(&imap.BodyStructureMessageRFC822{BodyStructure: &imap.BodyStructureMultiPart{Subtype: "mixed", Children: []imap.BodyStructure{text("plain", 3, 1)}}, NumLines: 4}, nil)},
		{"message without structure", `("message" "rfc822" NIL NIL NIL "7bit" 9 (NIL "sub") 4)`,
			message(&imap.BodyStructureMessageRFC822{Envelope: &imap.Envelope{Subject: "sub"}, NumLines: 4}, nil)},
		{"text without lines", `("text" "plain" NIL NIL NIL "7bit" 3 NIL ("attachment" ("filename" "a")) NIL NIL)`,
			&imap.BodyStructureSinglePart{Type: "text", Subtype: "plain", Encoding: "7bit", Size: 3, Text: &imap.BodyStructureText{}, Extended: attachment("a")}},
		{"text of seven fields", `("text" "plain" NIL NIL NIL "7bit" 3)`, text("plain", 3, 0)},
		{"encoding NIL, size -1", `("text" "plain" NIL NIL NIL NIL -1 -1)`, text("plain", 0, 0)},
		{"size over 32 bits", `("text" "plain" NIL NIL NIL "7bit" 9999999999 1)`, text("plain", 4294967295, 1)},
		{"size NIL", `("text" "plain" NIL NIL NIL "7bit" NIL 1)`, text("plain", 0, 1)},
		{"Gmail, empty multipart", `("MIXED" ("BOUNDARY" "x") NIL NIL)`,
			&imap.BodyStructureMultiPart{Subtype: "MIXED", Extended: &imap.BodyStructureMultiPartExt{Params: map[string]string{"boundary": "x"}}}},
		{"empty multipart of one word", `("mixed")`, &imap.BodyStructureMultiPart{Subtype: "mixed"}},
		{"empty list", `()`, &imap.BodyStructureMultiPart{}},
		{"empty multipart within", `((NIL "alternative")("mixed") "mixed")`,
			&imap.BodyStructureMultiPart{Subtype: "mixed", Children: []imap.BodyStructure{
				&imap.BodyStructureSinglePart{Subtype: "alternative", Encoding: "7bit"}, &imap.BodyStructureMultiPart{Subtype: "mixed"}}}},
		{"multipart without subtype", `(` + plain + `)`, &imap.BodyStructureMultiPart{Children: []imap.BodyStructure{text("plain", 3, 1)}}},
		{"raw Unicode file name", `("image" "png" ("name" "фото "1".png") NIL NIL "base64" 3)`,
			&imap.BodyStructureSinglePart{Type: "image", Subtype: "png", Params: map[string]string{"name": `фото "1".png`}, Encoding: "base64", Size: 3}},
		{"8-bit file name", "(\"image\" \"png\" (\"name\" \"caf\xe9\") NIL NIL \"base64\" 3)",
			&imap.BodyStructureSinglePart{Type: "image", Subtype: "png", Params: map[string]string{"name": "café"}, Encoding: "base64", Size: 3}},
		{"parameters of odd number", `("image" "png" ("name" "x" "y") NIL NIL "base64" 3)`,
			&imap.BodyStructureSinglePart{Type: "image", Subtype: "png", Params: map[string]string{"name": "x"}, Encoding: "base64", Size: 3}},
		{"parameters as a string", `("image" "png" "" NIL NIL "base64" 3 NIL "inline" "en")`,
			&imap.BodyStructureSinglePart{Type: "image", Subtype: "png", Encoding: "base64", Size: 3, Extended: &imap.BodyStructureSinglePartExt{
				Disposition: &imap.BodyStructureDisposition{Value: "inline"}, Language: []string{"en"}}}},
		{"disposition without parameters", `("image" "png" NIL NIL NIL "base64" 3 NIL ("inline"))`,
			&imap.BodyStructureSinglePart{Type: "image", Subtype: "png", Encoding: "base64", Size: 3, Extended: &imap.BodyStructureSinglePartExt{
				Disposition: &imap.BodyStructureDisposition{Value: "inline"}}}},
		{"disposition empty", `("image" "png" NIL NIL NIL "base64" 3 NIL ())`,
			&imap.BodyStructureSinglePart{Type: "image", Subtype: "png", Encoding: "base64", Size: 3, Extended: &imap.BodyStructureSinglePartExt{}}},
		{"more fields", `(` + plain + ` "mixed" NIL NIL NIL NIL (x (y)) 5)`,
			&imap.BodyStructureMultiPart{Subtype: "mixed", Children: []imap.BodyStructure{text("plain", 3, 1)}, Extended: &imap.BodyStructureMultiPartExt{}}},
		{"lower-case nil and spaces", `( "text"  "plain" nil nil nil "7bit" 3 1 )`, text("plain", 3, 1)},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			eachChunking(t, "* 1 FETCH (BODYSTRUCTURE "+tc.in+" UID 5)\n", func(t *testing.T, d *Decoder) {
				got := readFetch(t, d).Data
				if diff := cmp.Diff(tc.want, got.BodyStructure); diff != "" {
					t.Errorf("structure (-want +got):\n%s", diff)
				}
				if got.UID != 5 || got.Broken != nil {
					t.Errorf("UID = %d, Broken = %v", got.UID, got.Broken)
				}
			})
		})
	}
}
