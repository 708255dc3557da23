package tieringmodel

import "fmt"

// Compacting searches the model of log compaction. Its states are small and few.
//
// It has one partition, with values and tombstones of one key; each offset is an
// extent of its own. A pass has a map of the offsets from cleaned to its end, and
// applies it to all extents below its end, in any order and one at a time. Its leader
// may die between any two. In each state, a fresh reader gets the last value of the
// key, and so does a coordinator that restarts with a snapshot, and a slow reader at
// its end.
func Compacting(cfg Config) Result { return run[compacted](cfg, &compacting{cfg: cfg}) }

type compacting struct{ cfg Config }

func (m *compacting) on(r Rules) bool { return m.cfg.Without&r == 0 }

const maxOffsets = 6

// Records of the key.
const (
	noRecord int8 = iota
	value
	tombstone
)

// pass is a pass under way.
type pass struct {
	end, last int8  // 0: none; last is the last offset in the map, -1 if there is none
	todo      uint8 // extents that it has yet to look at
}

// slow is a reader that reads from the start, offset by offset.
type slow struct {
	reads  bool
	before bool // it began before cleaned was set
	next   int8
	has    int8 // offset of the value that it knows, -1: none
}

// compacted is the whole system of Compacting.
type compacted struct {
	end     int8
	kinds   [maxOffsets]int8
	removed uint8
	cleaned int8
	below   int8 // tombstones below it may be missing
	passes  int8 // begun
	pass    pass
	reader  slow
	taken   bool // a coordinator has a snapshot
	at, has int8 // of the snapshot
}

func (*compacting) first() compacted {
	return compacted{pass: pass{last: -1}, reader: slow{has: -1}, has: -1}
}

// reads is the value that a reader has which had the value has, after it has read from
// offset from on: the value's offset, -1 if there is none.
func (s *compacted) reads(has, from int8) int8 {
	for o := from; o < s.end; o++ {
		if s.removed>>o&1 == 0 {
			has = s.learn(has, o)
		}
	}
	return has
}

func (s *compacted) learn(has, o int8) int8 {
	switch s.kinds[o] {
	case value:
		return o
	case tombstone:
		return -1
	}
	return has
}

// truth is the value that was written last.
func (s *compacted) truth() int8 {
	if s.end == 0 {
		return -1
	}
	return s.learn(-1, s.end-1)
}

// steps of Compacting.
const (
	written int8 = iota
	passBegins
	named
	looksAt
	removes
	cleans
	passDies
	readerBegins
	readerReads
	readerEnds
	snapshot
)

func (m *compacting) steps(s *compacted, emit func(*compacted, step, string)) {
	try := func(n *compacted, st step, broken string) {
		if broken == "" {
			broken = m.check(n)
		}
		emit(n, st, broken)
	}
	for k := value; k <= tombstone && int(s.end) < m.cfg.Bounds.Seqs; k++ {
		n := *s
		n.kinds[s.end] = k
		n.end++
		try(&n, step{what: written, a: s.end, b: k}, "")
	}
	m.compact(s, try)
	m.read(s, try)
	if n := *s; !s.taken || s.at < s.end {
		n.taken, n.at, n.has = true, s.end, s.truth()
		try(&n, step{what: snapshot, b: s.end}, "")
	}
}

// compact begins a pass, goes on with it, and lets it die.
func (m *compacting) compact(s *compacted, emit func(*compacted, step, string)) {
	if s.pass.end == 0 {
		for e := s.cleaned; e <= s.end && int(s.passes) < m.cfg.Bounds.Passes; e++ {
			if e > 0 {
				n := *s
				n.passes++
				n.pass = m.begin(s, e)
				emit(&n, step{what: passBegins, a: s.cleaned, b: e}, "")
			}
		}
		return
	}
	if old := m.old(s); m.on(TombstonesNamed) && s.below < old {
		n := *s
		n.below = old
		emit(&n, step{what: named, b: n.below}, "")
	}
	for o := int8(0); o < s.pass.end; o++ {
		if s.pass.todo>>o&1 != 0 {
			m.look(s, o, emit)
		}
	}
	if s.pass.todo == 0 || !m.on(CleanedLast) {
		n := *s
		n.below = max(n.below, m.old(s))
		n.cleaned = s.pass.end
		n.reader.before = n.reader.reads
		if s.pass.todo == 0 {
			n.pass = pass{last: -1}
		}
		emit(&n, step{what: cleans, b: n.cleaned}, "")
	}
	n := *s
	n.pass = pass{last: -1}
	emit(&n, step{what: passDies}, "")
}

func (m *compacting) begin(s *compacted, e int8) pass {
	p := pass{end: e, last: -1}
	for o := s.cleaned; o < e; o++ {
		if s.removed>>o&1 == 0 {
			p.last = o
		}
	}
	for o := int8(0); o < e; o++ {
		p.todo |= 1 << o
	}
	return p
}

// old is the offset below which the pass may remove tombstones.
func (m *compacting) old(s *compacted) int8 {
	if !m.on(TombstonesOfBefore) {
		return s.pass.end
	}
	return s.cleaned
}

// look: the pass writes the extent of offset o again, without its record if that may go.
func (m *compacting) look(s *compacted, o int8, emit func(*compacted, step, string)) {
	n := *s
	n.pass.todo &^= 1 << o
	tomb := s.kinds[o] == tombstone && o < m.old(s)
	if tomb && m.on(TombstonesWait) {
		tomb = !s.reader.reads || !s.reader.before
	}
	if tomb && m.on(TombstonesNamed) {
		tomb = o < s.below
	}
	st := step{what: looksAt, b: o}
	superseded := s.pass.last > o && (m.on(PassToTheStart) || o >= s.cleaned)
	if superseded || tomb {
		n.removed |= 1 << o
		st.what = removes
	}
	emit(&n, st, "")
}

// read: the slow reader goes on.
func (m *compacting) read(s *compacted, emit func(*compacted, step, string)) {
	n := *s
	switch r := &n.reader; {
	case !r.reads:
		r.reads = true
		emit(&n, step{what: readerBegins}, "")
	case r.next < s.end:
		if s.removed>>r.next&1 == 0 {
			r.has = s.learn(r.has, r.next)
		}
		r.next++
		emit(&n, step{what: readerReads, b: r.next - 1}, "")
	default:
		broken := ""
		if r.has != s.truth() {
			broken = "A SLOW READER HAS AN OLD VALUE"
		}
		n.reader = slow{has: -1}
		emit(&n, step{what: readerEnds}, broken)
	}
}

// check looks at a state as a fresh reader, and as a coordinator that restarts.
func (m *compacting) check(s *compacted) string {
	truth := s.truth()
	if got := s.reads(-1, 0); got != truth {
		return violated("AN OLD VALUE IS BACK: a fresh reader has that of offset %d, the last one is that of %d", got, truth)
	}
	if !s.taken || s.at < s.below && m.on(SnapshotDiscarded) {
		return ""
	}
	if got := s.reads(s.has, s.at); got != truth {
		return violated("A DELETED VALUE IS BACK: a coordinator with a snapshot before %d has that of offset %d, the last one is that of %d", s.at, got, truth)
	}
	return ""
}

func (m *compacting) tidied(*compacted) string { return "" }

func (m *compacting) describe(st step, _, _ *compacted) string {
	switch st.what {
	case written:
		return fmt.Sprintf("a client writes a %s at %d", []string{"", "value", "tombstone"}[st.b], st.a)
	case passBegins:
		return fmt.Sprintf("a pass begins, with a map from %d to %d", st.a, st.b)
	case named:
		return fmt.Sprintf("an entry says that tombstones below %d may be missing", st.b)
	case looksAt:
		return fmt.Sprintf("the pass keeps offset %d", st.b)
	case removes:
		return fmt.Sprintf("the pass removes offset %d", st.b)
	case cleans:
		return fmt.Sprintf("an entry says that the log is cleaned up to %d", st.b)
	case passDies:
		return "the leader dies, its pass is forgotten"
	case readerBegins:
		return "a slow reader begins"
	case readerReads:
		return fmt.Sprintf("the slow reader reads offset %d, if it is there", st.b)
	case readerEnds:
		return "the slow reader is at the end"
	}
	return fmt.Sprintf("the coordinator keeps a snapshot of everything before %d", st.b)
}
