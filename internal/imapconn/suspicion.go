package imapconn

import (
	"slices"

	"github.com/emersion/go-imap/v2"
)

const (
	// wholeDeaths is how many connections a FETCH may cost before it is asked in
	// pieces: a link that breaks is not the fault of a message.
	wholeDeaths = 2
	// aloneDeaths is how many connections in a row a message has to cost when
	// nothing else is asked for, while all other commands are answered. A link on
	// which one command in ten breaks it gets that far with one message in ten
	// thousand.
	aloneDeaths = 4
	// pieces is into how many pieces a FETCH is divided. They go one after the
	// other, so that the one that costs the connection is known.
	pieces = 25
)

// suspicion is what is known of the messages of a mailbox at whose FETCH the
// connection was lost, as far as one rung is concerned. Sets are in ascending
// order.
type suspicion struct {
	// deaths counts the connections since all was well.
	deaths int
	// unknown says that the last FETCH did not name its messages.
	unknown bool
	// suspects had no answer when a connection was lost, and narrow are those of
	// them of the last time.
	suspects, narrow []imap.UID
	// alone counts the connections in a row that a FETCH of loner alone cost.
	loner imap.UID
	alone int
	// guilty are the messages that are not asked for again.
	guilty map[imap.UID]bool
}

// wary reports whether a FETCH has to name its messages.
func (s *suspicion) wary() bool { return s.deaths > 0 || len(s.guilty) > 0 }

// plan divides messages into the pieces to fetch one after the other, and those
// that must not be fetched. What nobody suspects goes first, for it shows that the
// link is good, and then what was being fetched when the connection was lost.
func (s *suspicion) plan(asked []imap.UID) (groups [][]imap.UID, guilty []imap.UID) {
	var rest []imap.UID
	for _, uid := range asked {
		if s.guilty[uid] {
			guilty = append(guilty, uid)
		} else {
			rest = append(rest, uid)
		}
	}
	if s.deaths < wholeDeaths || len(s.suspects) == 0 {
		return appendPieces(nil, rest, 1), guilty
	}
	suspects, innocent := part(rest, s.suspects)
	narrow, wide := part(suspects, s.narrow)
	groups = appendPieces(nil, innocent, 1)
	groups = appendPieces(groups, narrow, pieces)
	return appendPieces(groups, wide, pieces), guilty
}

func appendPieces(groups [][]imap.UID, uids []imap.UID, n int) [][]imap.UID {
	for piece := range slices.Chunk(uids, max(1, (len(uids)+n-1)/n)) {
		groups = append(groups, piece)
	}
	return groups
}

// died takes note of a connection that was lost while messages were fetched; nil
// stands for messages that are not known. alone says that nothing else was asked
// for, not even what was answered. It reports whether that proves one of them
// guilty.
func (s *suspicion) died(asked []imap.UID, alone bool) (proved bool) {
	s.deaths++
	if len(asked) == 0 {
		s.unknown = true
		return false
	}
	s.unknown = false
	again, others := part(asked, s.suspects)
	switch {
	case len(again) == 0: // others than before, or the first
		s.suspects = append(s.suspects, others...)
		slices.Sort(s.suspects)
		s.narrow = asked
	case s.deaths <= wholeDeaths:
		s.suspects, s.narrow = again, again
	default:
		s.narrow = again
	}
	if len(s.narrow) > 1 || !alone {
		s.calm()
		return false
	}
	if loner := s.narrow[0]; loner == s.loner {
		s.alone++
	} else {
		s.loner, s.alone = loner, 1
	}
	if s.alone < aloneDeaths {
		return false
	}
	if s.guilty == nil {
		s.guilty = make(map[imap.UID]bool)
	}
	s.guilty[s.loner] = true
	s.acquit([]imap.UID{s.loner})
	return true
}

// survived takes note of messages that were fetched without harm.
func (s *suspicion) survived(uids []imap.UID) {
	if len(s.suspects) > 0 {
		s.acquit(uids)
	}
}

// acquit takes messages off the suspects. The others are asked for in pieces
// until nobody is left.
func (s *suspicion) acquit(uids []imap.UID) {
	_, s.suspects = part(s.suspects, uids)
	_, s.narrow = part(s.narrow, uids)
	if slices.Contains(uids, s.loner) {
		s.calm()
	}
	if len(s.suspects) == 0 && !s.unknown {
		s.deaths = 0
	} else {
		s.deaths = min(s.deaths, wholeDeaths)
	}
}

// known takes note that a FETCH which did not name its messages was answered, or
// one which named all of them.
func (s *suspicion) known() {
	if s.unknown = false; len(s.suspects) == 0 {
		s.deaths = 0
	}
}

// calm forgets the connections in a row: another command cost one as well, so it
// may be the link.
func (s *suspicion) calm() { s.loner, s.alone = 0, 0 }

// part divides a set in order by whether the elements are in another.
func part(uids, by []imap.UID) (in, out []imap.UID) {
	for _, uid := range uids {
		if _, found := slices.BinarySearch(by, uid); found {
			in = append(in, uid)
		} else {
			out = append(out, uid)
		}
	}
	return in, out
}
