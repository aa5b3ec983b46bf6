package idle

// pushes judges whether a server that has IDLE tells of new mail: by what was
// found by looking although the server had not told of it.
//
// One such find proves nothing, for mail may arrive a moment before the look,
// and servers gather what they tell for half a second or so. Two in a row, with
// nothing told in between, do. Likewise one push does not clear a server that
// looks for mail itself now and then; two in a row do.
type pushes struct {
	told, missed int // in a row
	silent       bool
}

// enoughPushes is how many in a row settle the matter.
const enoughPushes = 2

// tells takes note of new mail that the server told of.
func (p *pushes) tells() {
	p.missed, p.told = 0, min(p.told+1, enoughPushes)
	if p.told == enoughPushes {
		p.silent = false
	}
}

// misses takes note of new mail that was found by looking. fair says that the
// server had time enough to tell of it.
func (p *pushes) misses(fair bool) {
	p.told = 0
	if !fair {
		return
	}
	p.missed = min(p.missed+1, enoughPushes)
	if p.missed == enoughPushes {
		p.silent = true
	}
}

// proved reports whether the server is known to tell.
func (p pushes) proved() bool { return !p.silent && p.told > 0 }
