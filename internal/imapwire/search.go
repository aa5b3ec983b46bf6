package imapwire

import (
	"math"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// SearchData is what SEARCH or ESEARCH answers. Its sets are ranges, and they
// are not go-imap's SearchData, whose methods list every number.
type SearchData struct {
	// Tag is the tag of the command that is answered (ESEARCH), or empty.
	Tag string
	// UID says that the numbers are UIDs (ESEARCH). SEARCH does not tell: they
	// are what was asked for.
	UID bool
	// All holds the result as if it were UIDs, see SeqSet.
	All imap.UIDSet
	// Min and Max are 0 for an empty result or where they were not asked for.
	Min, Max uint32
	// Count is nil where it was not asked for.
	Count *uint32
	// ModSeq is the highest of the messages found (RFC 7162 section 3.1.5).
	ModSeq uint64
	// Partial is the part of the result that was asked for (RFC 9394), or nil.
	Partial *SearchPartial
}

// SearchPartial is a part of a result.
type SearchPartial struct {
	// Range is the range of positions as the server echoes it, such as "1:100".
	Range string
	// Nums is what lies in it, in ascending order. It is nil for nothing.
	Nums imap.UIDSet
}

// Search reads the payload of a SEARCH response (RFC 9051 section 7.3.4, as in
// RFC 3501 section 7.2.5). Numbers become ranges while they are read.
func (d *Decoder) Search() (*SearchData, error) {
	data, list := new(SearchData), d.newRangeList()
	err := d.numbers(&data.ModSeq, func() error { return d.readRange(list) })
	if err != nil {
		return nil, err
	}
	data.All, err = d.finishSet(list)
	return data, err
}

// numbers calls read for each number up to the end of the line, and reads the
// "(MODSEQ n)" that may follow them.
func (d *Decoder) numbers(modSeq *uint64, read func() error) error {
	for {
		c, err := d.next()
		if err != nil {
			return err
		}
		switch {
		case c == '\r' || c == '\n':
			return nil
		case c == '(':
			err = d.searchModSeq(modSeq)
		default:
			err = read()
		}
		if err != nil {
			return err
		}
	}
}

// searchModSeq reads search-sort-mod-seq (RFC 7162 section 7).
func (d *Decoder) searchModSeq(modSeq *uint64) error {
	return d.ReadList(func() error {
		name, err := d.Atom()
		if err != nil {
			return err
		}
		if !strings.EqualFold(name, "MODSEQ") {
			return nil
		}
		*modSeq, err = d.number()
		return err
	})
}

// ESearch reads the payload of an ESEARCH response (RFC 9051 section 7.3.4, RFC
// 4731, RFC 9394). Return data that is not known is skipped.
func (d *Decoder) ESearch() (*SearchData, error) {
	data := new(SearchData)
	c, err := d.next()
	if err != nil {
		return nil, err
	}
	if c == '(' {
		if err := d.correlator(data); err != nil {
			return nil, err
		}
	}
	for {
		if end, err := d.atEnd(); err != nil || end {
			return data, err
		}
		name, err := d.Atom()
		if err != nil {
			return nil, err
		}
		if strings.EqualFold(name, "UID") {
			data.UID = true
			continue
		}
		if end, err := d.atEnd(); err != nil || end {
			return data, err // "ALL" of nothing
		}
		if err := d.searchReturn(data, strings.ToUpper(name)); err != nil {
			return nil, err
		}
	}
}

// correlator reads the tag that an answer belongs to.
func (d *Decoder) correlator(data *SearchData) error {
	return d.ReadList(func() error {
		name, err := d.Atom()
		if err != nil {
			return err
		}
		if !strings.EqualFold(name, "TAG") {
			return nil
		}
		data.Tag, err = d.AString()
		return err
	})
}

func (d *Decoder) searchReturn(data *SearchData, name string) (err error) {
	switch name {
	case "MIN":
		data.Min, err = d.Number()
	case "MAX":
		data.Max, err = d.Number()
	case "COUNT":
		var n uint64
		n, err = d.number()
		count := uint32(min(n, math.MaxUint32))
		data.Count = &count
	case "ALL":
		data.All, err = d.setOrNIL()
	case "MODSEQ":
		data.ModSeq, err = d.number()
	case "PARTIAL":
		data.Partial, err = d.partialResult()
	default:
		err = d.SkipValue()
	}
	return err
}

// setOrNIL reads a set. NIL is an empty one in PARTIAL (RFC 9394 section 4), and
// by mistake elsewhere.
func (d *Decoder) setOrNIL() (imap.UIDSet, error) {
	c, err := d.next()
	if err != nil {
		return nil, err
	}
	if !isDigit(c) {
		_, err := d.field()
		return nil, err
	}
	return d.uidSet()
}

// partialResult reads "(range set)" (RFC 9394 section 4).
func (d *Decoder) partialResult() (*SearchPartial, error) {
	if err := d.openList(); err != nil {
		return nil, err
	}
	p := new(SearchPartial)
	var err error
	if p.Range, err = d.Atom(); err != nil {
		return nil, err
	}
	if closed, err := d.closeList(); err != nil || closed {
		return p, err
	}
	if p.Nums, err = d.setOrNIL(); err != nil {
		return nil, err
	}
	return p, d.skipMembers()
}

// SortData is what SORT answers: the messages in order.
type SortData struct {
	Nums   []uint32
	ModSeq uint64 // RFC 7162 section 3.1.6
}

// Sort reads the payload of a SORT response (RFC 5256 section 4).
func (d *Decoder) Sort() (*SortData, error) {
	data := new(SortData)
	err := d.numbers(&data.ModSeq, func() error {
		n, err := d.Number()
		if err == nil && len(data.Nums) >= d.limits.Numbers {
			err = d.limitError("Numbers", int64(d.limits.Numbers))
		}
		data.Nums = append(data.Nums, n)
		return err
	})
	if err != nil {
		return nil, err
	}
	return data, nil
}
