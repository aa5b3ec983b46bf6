package imapwire

import (
	"math"
	"time"

	"github.com/emersion/go-imap/v2"
)

// maxBroken is how many broken items FetchData keeps; one is reason enough to
// distrust the answer.
const maxBroken = 16

// FetchData is what a FETCH response says of a message, except for the contents
// of body sections, which are streamed. What the response did not say is zero.
type FetchData struct {
	SeqNum uint32
	UID    imap.UID
	// Flags is not nil if the response had FLAGS, and empty if there are none.
	Flags        []imap.Flag
	InternalDate time.Time
	Size         int64 // RFC822.SIZE
	Envelope     *imap.Envelope
	// BodyStructure has the extension data if BODYSTRUCTURE was asked for, and
	// not BODY.
	BodyStructure imap.BodyStructure
	BinarySizes   []BinarySize
	ModSeq        uint64    // RFC 7162
	EmailID       string    // RFC 8474
	ThreadID      string    // RFC 8474; empty also for a message without a thread
	SaveDate      time.Time // RFC 8514
	// Preview is nil if there is none (yet), see RFC 8970 section 3.1.
	Preview       *string
	GmailMsgID    uint64
	GmailThreadID uint64
	// GmailLabels is not nil if the response had X-GM-LABELS. The names are
	// decoded, where that can be undone.
	GmailLabels []string
	// Broken lists the items whose value could not be read. If the line itself
	// came apart, the items after it are missing as well.
	Broken []BrokenItem
}

// BrokenItem is an item of a FETCH response that could not be read.
type BrokenItem struct {
	// Name is the item's name, such as "ENVELOPE".
	Name string
	// Err is a *SyntaxError or a *LimitError.
	Err error
}

// BinarySize is the size of a part when decoded (RFC 3516 section 4.3).
type BinarySize struct {
	Part []int
	Size int64
}

// IsBroken reports whether the item of that name could not be read.
func (f *FetchData) IsBroken(name string) bool {
	for _, b := range f.Broken {
		if b.Name == name {
			return true
		}
	}
	return false
}

// Fetch reads the payload of a FETCH response, or of a UIDFETCH one (RFC 9586).
//
// It calls body for each body section, with what the response has said so far;
// items may come after it. The section's Literal is valid during the call; what
// body leaves of it is skipped. If body fails, Fetch returns its error as it is,
// and the next call of Next skips the rest. A nil body skips all sections.
//
// An item that is malformed, or exceeds a limit, ends up in Broken and the items
// after it are read. Only if there is no list of items at all, or the stream
// ends, or body fails, Fetch returns an error.
func (d *Decoder) Fetch(resp Response, body func(*FetchData, *BodySection) error) (*FetchData, error) {
	data := new(FetchData)
	if err := d.FetchInto(data, resp, body); err != nil {
		return nil, err
	}
	return data, nil
}

// FetchInto is Fetch into data, which must be zero.
func (d *Decoder) FetchInto(data *FetchData, resp Response, body func(*FetchData, *BodySection) error) error {
	f := fetchReader{d: d, data: data, body: body}
	if resp.Name == "UIDFETCH" {
		data.UID = imap.UID(resp.Num)
	} else {
		data.SeqNum = resp.Num
	}
	if err := d.openList(); err != nil {
		return err
	}
	for {
		if done, err := f.item(); err != nil || done {
			return err
		}
	}
}

// fetchReader reads one FETCH response.
type fetchReader struct {
	d       *Decoder
	body    func(*FetchData, *BodySection) error
	bodyErr error
	data    *FetchData
}

// item reads an item. It reports true after the last one, or when the rest of
// the line makes no sense.
func (f *fetchReader) item() (done bool, err error) {
	d := f.d
	if closed, err := d.closeList(); err != nil || closed {
		return closed, err
	}
	d.elements, d.doubt = 0, doubt{} // each item stands for itself
	base := d.depth
	b, err := d.span(&inItem)
	if err != nil {
		return f.broken("", err, base)
	}
	name := d.upper(b)
	if name == "" { // a stray string or list
		return f.broken("", d.syntaxError("an item"), base)
	}
	if err = f.value(name); err == nil || f.bodyErr != nil {
		return false, f.bodyErr
	}
	f.drop(name)
	return f.broken(name, err, base)
}

// drop removes what was read of a value that turned out to be broken.
func (f *fetchReader) drop(name string) {
	switch name {
	case "FLAGS":
		f.data.Flags = nil
	case "ENVELOPE":
		f.data.Envelope = nil
	case "BODY", "BODYSTRUCTURE":
		f.data.BodyStructure = nil
	case "X-GM-LABELS":
		f.data.GmailLabels = nil
	}
}

// broken notes a broken item and skips what is left of its value.
func (f *fetchReader) broken(name string, cause error, base int) (done bool, err error) {
	d := f.d
	if d.err != nil {
		return false, d.err
	}
	if len(f.data.Broken) < maxBroken {
		f.data.Broken = append(f.data.Broken, BrokenItem{Name: name, Err: cause})
	}
	if err := f.skipBroken(base); err != nil {
		if d.err != nil {
			return false, d.err
		}
		return true, nil // the line came apart: Next skips the rest of it
	}
	return false, nil
}

// skipBroken skips what is left of a value, in a list of the depth base. The
// value was begun: spaces before it were skipped, so a space is its end.
func (f *fetchReader) skipBroken(base int) error {
	d := f.d
	if d.literal != nil || d.depth > base {
		return d.leave(base)
	}
	switch c, err := d.peek(); {
	case err != nil:
		return err
	case d.depth < base:
		return d.syntaxError("an item")
	case c == ' ' || c == ')':
		return nil
	}
	return d.SkipValue()
}

// value reads an item's value.
func (f *fetchReader) value(name string) (err error) {
	d, m := f.d, f.data
	c, err := d.next()
	if err != nil {
		return err
	}
	if c == '[' {
		return f.section(name)
	}
	switch name {
	case "UID":
		err = f.uid()
	case "FLAGS":
		m.Flags, err = d.flagList()
	case "INTERNALDATE":
		m.InternalDate, err = d.dateTime()
	case "RFC822.SIZE":
		m.Size, err = d.size()
	case "ENVELOPE":
		if m.Envelope, err = d.envelope(); err == nil {
			err = d.doubtful()
		}
	case "BODY", "BODYSTRUCTURE":
		if m.BodyStructure, err = d.bodyStructure(); err == nil {
			err = d.doubtful()
		}
	case "RFC822", "RFC822.HEADER", "RFC822.TEXT":
		err = f.contents(&BodySection{Name: name, Section: legacySection(name)})
	case "MODSEQ":
		m.ModSeq, err = d.modSeq()
	case "SAVEDATE":
		m.SaveDate, err = d.dateTime()
	case "PREVIEW":
		m.Preview, err = d.preview()
	default:
		return f.identity(name)
	}
	return err
}

// identity reads an item that says what a message is, by RFC 8474 or Gmail.
func (f *fetchReader) identity(name string) (err error) {
	d, m := f.d, f.data
	switch name {
	case "EMAILID":
		m.EmailID, err = d.objectID()
	case "THREADID":
		m.ThreadID, err = d.objectID()
	case "X-GM-MSGID":
		m.GmailMsgID, err = d.number()
	case "X-GM-THRID":
		m.GmailThreadID, err = d.number()
	case "X-GM-LABELS":
		m.GmailLabels, err = d.labels()
	default:
		err = d.SkipValue()
	}
	return err
}

// uid reads the UID. A second, other one means that something in between came
// apart, and which of them is right cannot be known.
func (f *fetchReader) uid() error {
	n, err := f.d.Number()
	if err != nil {
		return err
	}
	if uid := imap.UID(n); uid == 0 || f.data.UID != 0 && f.data.UID != uid {
		f.data.UID = 0
		return &SyntaxError{Response: f.d.name, Want: "one UID", Got: "zero or two"}
	}
	f.data.UID = imap.UID(n)
	return nil
}

// size reads a number of bytes or lines. Servers send "-1" for unknown.
func (d *Decoder) size() (int64, error) {
	minus, err := d.accept('-')
	if err != nil {
		return 0, err
	}
	n, err := d.Number64()
	if minus {
		return 0, err
	}
	return n, err
}

// size32 is size clamped to what go-imap's body structure holds.
func (d *Decoder) size32() (uint32, error) {
	n, err := d.size()
	return uint32(min(n, math.MaxUint32)), err
}

// modSeq reads a MODSEQ in parentheses (RFC 7162 section 3.1.4), or without.
func (d *Decoder) modSeq() (n uint64, err error) {
	if c, err := d.next(); err != nil || c != '(' {
		if err != nil {
			return 0, err
		}
		return d.number()
	}
	if err := d.openList(); err != nil {
		return 0, err
	}
	if n, err = d.number(); err != nil {
		return 0, err
	}
	return n, d.skipMembers()
}

func (d *Decoder) preview() (*string, error) {
	s, ok, err := d.NString()
	if err != nil || !ok {
		return nil, err
	}
	s = validText(s)
	return &s, nil
}

// labels reads Gmail's labels: strings in modified UTF-7, system labels with a
// backslash.
func (d *Decoder) labels() ([]string, error) {
	labels := []string{}
	err := d.ReadNList(func() error {
		raw, err := d.AString()
		if err != nil {
			return err
		}
		name, exact := d.mailboxName(raw)
		if !exact {
			name = validText(raw)
		}
		labels = append(labels, name)
		return nil
	})
	return labels, err
}
