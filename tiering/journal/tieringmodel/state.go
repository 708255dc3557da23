package tieringmodel

import "math/bits"

// leader is a leadership, and how far it is with its job.
type leader struct {
	epoch, applied int8 // entries of the log that it has applied; epoch 0: none
	underWay       int8
	job            int8   // of the intent that it works on, from 1; 0: none
	done, read     int8   // partitions whose Result it has sent; the output is read back
	judged         uint16 // journal objects whose headers its jobs have read
	pending        [maxUnderWay]entry
}

// reader is a follower that reads a record.
type reader struct {
	applied, looks         int8 // entries of the log that it has applied; how often it has looked
	part, offset, at, from int8 // the record, and its place
}

// state is the whole system of Segments.
type state struct {
	log           [maxEntries]entry
	jobs          [maxJobs]job
	flying, sent  [maxJobs]int8  // PUTs, by job
	bucket        [maxJobs]bytes // by object
	gone          uint16         // journal objects that are deleted
	damaged       uint16
	doubled       uint16 // journal objects with a second PUT under way
	length, begun int8   // of the log, and of the jobs
	before, floor int8   // the last floor but one, and the last
	floors        int8
	known         int8 // longest prefix that any leadership has applied
	flips, twins  int8
	leaders       [2]leader // the current one, and a deposed one
	reader        reader
}

// first: objects of records that the first leader has committed.
func (m *segments) first() state {
	s := state{}
	s.leaders[0].epoch = 1
	for range m.cfg.Bounds.Objects {
		s.log[s.length] = newEntry(records, 0, 0, 0)
		s.length++
	}
	s.leaders[0].applied, s.known = s.length, s.length
	return s
}

// inFlight counts the PUTs of object x that are under way.
func (s *state) inFlight(x int8) (n int8) {
	for j := int8(0); j < s.begun; j++ {
		if s.jobs[j].object == x {
			n += s.flying[j]
		}
	}
	return n
}

// count counts the entries of a kind, committed or under way.
func (s *state) count(k kind) (n int) {
	for _, e := range s.log[:s.length] {
		if e.kind() == k {
			n++
		}
	}
	l := &s.leaders[0]
	for _, e := range l.pending[:l.underWay] {
		if e.kind() == k {
			n++
		}
	}
	return n
}

// places of a record.
const (
	inJournal = 1
	inMerged  = 2 // and the job
)

// Of a partition that is deleted.
const (
	dropped = 1
	left    = 2 // the state, too
)

// sum is the state that a prefix of the log adds up to.
type sum struct {
	start, end, merged [2]int8 // merged is M
	place              [2][maxRecords]int8
	key                [2][maxRecords]int8 // of the journal object that brought the record
	over               [2]int8
	open               uint8         // intents
	done               [maxJobs]int8 // partitions whose Results are applied
	placed             uint8         // objects that a Result has put in place
	table              uint8         // objects that the state knows as merged segments
	garbage            uint8
	listed             uint8 // ever on the garbage list
	twice              uint8 // to be deleted twice
	freed              uint8 // named by a Release
	released           uint16
	broken             string
}

// refers reports whether an extent names object x.
func (a *sum) refers(s *state, x int8) bool {
	for p := range a.place {
		for _, at := range a.place[p][a.start[p]:a.end[p]] {
			if at >= inMerged && s.jobs[at-inMerged].object == x {
				return true
			}
		}
	}
	return false
}

// needs reports whether an extent names the journal object at key i.
func (a *sum) needs(i int8) bool {
	for p := range a.place {
		for o := a.start[p]; o < a.end[p]; o++ {
			if a.place[p][o] == inJournal && a.key[p][o] == i {
				return true
			}
		}
	}
	return false
}

// list puts objects on the garbage list.
func (a *sum) list(x uint8, twice bool) {
	a.garbage |= x
	a.listed |= x
	if twice {
		a.twice |= x
	}
}

// waiting counts the listed objects that count against the limit.
func (m *segments) waiting(a *sum) int {
	if m.on(LimitSparesEnded) {
		return bits.OnesCount8(a.garbage & a.freed)
	}
	return bits.OnesCount8(a.garbage)
}

// full reports whether one more Release would pass the limit of the list.
func (m *segments) full(a *sum) bool {
	return m.cfg.Bounds.Limit > 0 && m.waiting(a) >= m.cfg.Bounds.Limit
}
