package folder

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/emersion/go-imap/v2"
)

// A set of UIDs is written in blocks of 65,536 UIDs, each in the shorter of two
// forms: as runs, which are short where most or few of the UIDs are there, or as
// a bitmap, which is where every second is. So no set takes much more than its
// information, whatever its holes are like.
const (
	blockBits = 16
	blockSize = 1 << blockBits
	mapSize   = blockSize / 8

	blockRuns   = 0
	blockBitmap = 1
)

// run is a range within a block.
type run struct{ start, stop uint32 }

// appendUIDs writes a set of sorted, disjoint ranges.
func appendUIDs(b []byte, set imap.UIDSet) []byte {
	var (
		blocks []byte
		count  uint64
		number uint32 // of the block that runs are of
		next   uint32 // of the block that may come then
		runs   []run
	)
	flush := func() {
		if len(runs) > 0 {
			blocks = binary.AppendUvarint(blocks, uint64(number-next))
			blocks = appendBlock(blocks, runs)
			count++
			next, runs = number+1, runs[:0]
		}
	}
	for _, r := range set {
		for start := uint64(r.Start); start <= uint64(r.Stop); {
			block := start >> blockBits
			stop := min(uint64(r.Stop), (block+1)<<blockBits-1)
			if uint64(number) != block {
				flush()
				number = uint32(block)
			}
			runs = append(runs, run{uint32(start) % blockSize, uint32(stop) % blockSize})
			start = stop + 1
		}
	}
	flush()
	b = binary.AppendUvarint(b, count)
	return append(b, blocks...)
}

func appendBlock(b []byte, runs []run) []byte {
	var asRuns []byte
	asRuns = binary.AppendUvarint(asRuns, uint64(len(runs)))
	next := uint32(0)
	for _, r := range runs {
		asRuns = binary.AppendUvarint(asRuns, uint64(r.start-next))
		next = r.stop + 1
	}
	// The lengths apart from the gaps: they are much alike, and compress well.
	for _, r := range runs {
		asRuns = binary.AppendUvarint(asRuns, uint64(r.stop-r.start))
	}
	if len(asRuns) <= mapSize {
		return append(append(b, blockRuns), asRuns...)
	}
	b = append(b, blockBitmap)
	b = append(b, make([]byte, mapSize)...)
	bitmap := b[len(b)-mapSize:]
	for _, r := range runs {
		for i := r.start; i <= r.stop; i++ {
			bitmap[i/8] |= 1 << (i % 8)
		}
	}
	return b
}

// uids reads what appendUIDs wrote.
func (d *snapshotReader) uids() imap.UIDSet {
	var set imap.UIDSet
	next := uint64(0)
	for range d.count(3) {
		block := next + d.number(math.MaxUint32>>blockBits)
		if block > math.MaxUint32>>blockBits {
			d.fail()
		}
		next = block + 1
		var runs []run
		switch d.number(blockBitmap) {
		case blockRuns:
			runs = d.runs()
		case blockBitmap:
			runs = d.bitmap()
		}
		if len(runs) == 0 || block == 0 && runs[0].start == 0 {
			d.fail() // no UID is 0, and a block without any is not written
		}
		if d.bad {
			return nil
		}
		for _, r := range runs {
			start, stop := imap.UID(block<<blockBits)+imap.UID(r.start), imap.UID(block<<blockBits)+imap.UID(r.stop)
			if n := len(set); n > 0 && set[n-1].Stop+1 == start {
				set[n-1].Stop = stop // a run over the edge of two blocks
			} else {
				set = append(set, imap.UIDRange{Start: start, Stop: stop})
			}
		}
	}
	return slices.Clip(set)
}

func (d *snapshotReader) runs() []run {
	runs := make([]run, d.count(2))
	gaps := make([]uint64, len(runs))
	for i := range gaps {
		gaps[i] = d.number(blockSize)
	}
	next := uint64(0)
	for i := range runs {
		start := next + gaps[i]
		stop := start + d.number(blockSize)
		// Runs that touch would have been one.
		if stop >= blockSize || i > 0 && gaps[i] == 0 {
			d.fail()
			return nil
		}
		runs[i] = run{uint32(start), uint32(stop)}
		next = stop + 1
	}
	return runs
}

func (d *snapshotReader) bitmap() []run {
	bitmap := d.bytes(mapSize)
	var runs []run
	for i := range uint32(blockSize) {
		if bitmap[i/8]&(1<<(i%8)) == 0 {
			continue
		}
		if n := len(runs); n > 0 && runs[n-1].stop+1 == i {
			runs[n-1].stop = i
		} else {
			runs = append(runs, run{i, i})
		}
	}
	return runs
}
