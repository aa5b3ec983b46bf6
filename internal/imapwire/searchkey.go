package imapwire

import (
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/emersion/go-imap/v2"
)

// maxSearchDepth bounds how deep criteria may nest; servers recurse over them.
const maxSearchDepth = 50

// SearchCriteria is go-imap's with the keys it lacks. All of it must match.
type SearchCriteria struct {
	imap.SearchCriteria

	// Not and Or are in addition to those of the embedded criteria, for keys
	// that only this type has.
	Not []SearchCriteria
	Or  [][2]SearchCriteria

	// Younger and Older are distances from the server's now, in whole seconds
	// (WITHIN, RFC 5032). Zero means no condition.
	Younger, Older time.Duration
	// SavedSince and SavedBefore need SAVEDATE (RFC 8514). Only the date counts.
	SavedSince, SavedBefore time.Time
	// EmailID and ThreadID need OBJECTID (RFC 8474).
	EmailID, ThreadID []string
	// GmailRaw is a query in Gmail's own syntax (X-GM-RAW).
	GmailRaw []string
	// GmailMsgID and GmailThreadID need X-GM-EXT-1.
	GmailMsgID, GmailThreadID []uint64
	// GmailLabels need X-GM-EXT-1.
	GmailLabels []string
}

// IsASCII reports whether the criteria hold no string that needs a CHARSET.
func (c *SearchCriteria) IsASCII() bool {
	ascii := plainIsASCII(&c.SearchCriteria)
	for _, list := range [][]string{c.EmailID, c.ThreadID, c.GmailRaw} {
		ascii = ascii && allASCII(list)
	}
	for i := range c.Not {
		ascii = ascii && c.Not[i].IsASCII()
	}
	for i := range c.Or {
		ascii = ascii && c.Or[i][0].IsASCII() && c.Or[i][1].IsASCII()
	}
	return ascii
}

func plainIsASCII(c *imap.SearchCriteria) bool {
	ascii := allASCII(c.Body) && allASCII(c.Text)
	for _, h := range c.Header {
		ascii = ascii && isASCII(h.Key) && isASCII(h.Value)
	}
	for i := range c.Not {
		ascii = ascii && plainIsASCII(&c.Not[i])
	}
	for i := range c.Or {
		ascii = ascii && plainIsASCII(&c.Or[i][0]) && plainIsASCII(&c.Or[i][1])
	}
	return ascii
}

func allASCII(list []string) bool {
	for _, s := range list {
		if !isASCII(s) {
			return false
		}
	}
	return true
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// SearchProgram writes the criteria, with CHARSET UTF-8 before them if a string
// needs it: some servers refuse CHARSET altogether, and where UTF8=ACCEPT is
// enabled it is forbidden (RFC 6855 section 3).
func (e *Encoder) SearchProgram(c *SearchCriteria) *Encoder {
	if !e.UTF8 && !c.IsASCII() {
		e.raw("CHARSET UTF-8 ")
	}
	return e.SearchCriteria(c)
}

// SearchCriteria writes criteria as search keys (RFC 9051 section 6.4.4), ALL
// for empty ones. SORT and THREAD take them after a charset.
func (e *Encoder) SearchCriteria(c *SearchCriteria) *Encoder {
	k := keyWriter{e: e}
	k.criteria(c, 0)
	if !k.any {
		e.raw("ALL")
	}
	return e
}

// keyWriter writes search keys with spaces between.
type keyWriter struct {
	e   *Encoder
	any bool
}

func (k *keyWriter) key(name string) *Encoder {
	if k.any {
		k.e.SP()
	}
	k.any = true
	return k.e.raw(name)
}

// group writes nested criteria in parentheses.
func (k *keyWriter) group(depth int, f func(k *keyWriter)) {
	if depth > maxSearchDepth {
		k.e.fail("search criteria that nest too deep")
		return
	}
	inner := keyWriter{e: k.e.raw("(")}
	f(&inner)
	if !inner.any {
		k.e.raw("ALL")
	}
	k.e.raw(")")
}

func (k *keyWriter) criteria(c *SearchCriteria, depth int) {
	k.plain(&c.SearchCriteria, depth)
	k.seconds("YOUNGER ", c.Younger)
	k.seconds("OLDER ", c.Older)
	k.date("SAVEDSINCE ", c.SavedSince)
	k.date("SAVEDBEFORE ", c.SavedBefore)
	// The alphabet of RFC 8474's identifiers is within that of atoms.
	for _, id := range c.EmailID {
		k.key("EMAILID ").Atom(id)
	}
	for _, id := range c.ThreadID {
		k.key("THREADID ").Atom(id)
	}
	for _, q := range c.GmailRaw {
		k.key("X-GM-RAW ").String(q)
	}
	for _, n := range c.GmailMsgID {
		k.key("X-GM-MSGID ").ModSeq(n)
	}
	for _, n := range c.GmailThreadID {
		k.key("X-GM-THRID ").ModSeq(n)
	}
	for _, label := range c.GmailLabels {
		k.key("X-GM-LABELS ").Mailbox(label)
	}
	for i := range c.Not {
		k.key("NOT ")
		k.group(depth+1, func(k *keyWriter) { k.criteria(&c.Not[i], depth+1) })
	}
	for i := range c.Or {
		k.key("OR ")
		k.group(depth+1, func(k *keyWriter) { k.criteria(&c.Or[i][0], depth+1) })
		k.e.SP()
		k.group(depth+1, func(k *keyWriter) { k.criteria(&c.Or[i][1], depth+1) })
	}
}

// plain writes what go-imap's type holds.
func (k *keyWriter) plain(c *imap.SearchCriteria, depth int) {
	for _, set := range c.SeqNum {
		k.key("").NumSet(set)
	}
	for _, set := range c.UID {
		k.key("UID ").NumSet(set)
	}
	k.date("SINCE ", c.Since)
	k.date("BEFORE ", c.Before)
	k.date("SENTSINCE ", c.SentSince)
	k.date("SENTBEFORE ", c.SentBefore)
	for _, h := range c.Header {
		k.header(h)
	}
	for _, s := range c.Body {
		k.key("BODY ").String(s)
	}
	for _, s := range c.Text {
		k.key("TEXT ").String(s)
	}
	k.flags(c.Flag, "", "KEYWORD ")
	k.flags(c.NotFlag, "UN", "UNKEYWORD ")
	if c.Larger != 0 {
		k.key("LARGER ").Number64(c.Larger)
	}
	if c.Smaller != 0 {
		k.key("SMALLER ").Number64(c.Smaller)
	}
	if c.ModSeq != nil {
		k.modSeq(c.ModSeq)
	}
	for i := range c.Not {
		k.key("NOT ")
		k.group(depth+1, func(k *keyWriter) { k.plain(&c.Not[i], depth+1) })
	}
	for i := range c.Or {
		k.key("OR ")
		k.group(depth+1, func(k *keyWriter) { k.plain(&c.Or[i][0], depth+1) })
		k.e.SP()
		k.group(depth+1, func(k *keyWriter) { k.plain(&c.Or[i][1], depth+1) })
	}
}

func (k *keyWriter) date(name string, t time.Time) {
	if !t.IsZero() {
		k.key(name).Date(t)
	}
}

// seconds writes an nz-number of seconds, at least one.
func (k *keyWriter) seconds(name string, d time.Duration) {
	switch n := int64((d + time.Second - 1) / time.Second); {
	case d < 0 || n > math.MaxUint32:
		k.e.fail("a distance in time that is negative or too large")
	case d > 0:
		k.key(name).Number64(n)
	}
}

func (k *keyWriter) header(h imap.SearchCriteriaHeaderField) {
	switch name := strings.ToUpper(h.Key); name {
	case "BCC", "CC", "FROM", "SUBJECT", "TO":
		k.key(name).SP().String(h.Value)
	default:
		k.key("HEADER ").String(h.Key).SP().String(h.Value)
	}
}

// flags writes flags: those with a key of their own, with the prefix, and others
// as keywords.
func (k *keyWriter) flags(flags []imap.Flag, prefix, keyword string) {
	for _, f := range flags {
		switch known, _ := knownFlag([]byte(f)); known {
		case imap.FlagSeen, imap.FlagAnswered, imap.FlagFlagged, imap.FlagDeleted, imap.FlagDraft:
			k.key(prefix).raw(strings.ToUpper(string(f[1:])))
		default:
			k.key(keyword).Atom(string(f))
		}
	}
}

// modSeq writes a MODSEQ key (RFC 7162 section 3.1.5).
func (k *keyWriter) modSeq(m *imap.SearchCriteriaModSeq) {
	e := k.key("MODSEQ ")
	if m.MetadataName != "" {
		switch m.MetadataType {
		case imap.SearchCriteriaMetadataAll, imap.SearchCriteriaMetadataPrivate, imap.SearchCriteriaMetadataShared:
		default:
			e.fail("an unknown kind of metadata")
		}
		e.String(m.MetadataName).SP().raw(string(m.MetadataType)).SP()
	}
	e.ModSeq(m.ModSeq)
}
