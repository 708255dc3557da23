package tieringmodel

import "fmt"

// Pages searches the model of index pages, checkpoints and floors. It needs some 150
// bytes per state.
//
// It has one chunk of final extents, whose journal objects are long gone. Each node
// has it in memory or as a page. The node that leads writes checkpoints, and a page
// when it likes. The others follow, and may lead later with the pages that they have,
// which are those of the checkpoint that they began with. Floors move to any
// checkpoint above. A checkpoint may rot at any time until a leader has read it to
// delete below it. From every state a start must find a checkpoint that it can read.
func Pages(cfg Config) Result { return run[paged](cfg, &pages{cfg: cfg}) }

type pages struct{ cfg Config }

func (m *pages) on(r Rules) bool { return m.cfg.Without&r == 0 }

// Rooms of Pages.
const (
	maxSeqs  = 8
	maxPages = 3
	maxNodes = 3
)

// A node or a checkpoint has the chunk itself, or names a page.
const (
	inMemory = 1
	asPage   = 2 // and the page
)

// paged is the whole system of Pages.
type paged struct {
	seq, written int8 // of the journal; pages so far
	leader       int8
	before, last int8 // seqs of the last floor but one, and of the last
	older        int8 // of the floor before these
	starts       int8 // left
	checkpoints  [maxSeqs]int8
	keys         [maxPages]int8 // the seq in the page's key
	judged, gone uint8          // pages that some leader will delete; deleted
	nodes        [maxNodes]int8
	rotten, read uint8 // checkpoints, by seq; read is found good, to delete below it
	below        int8  // journal objects below it are deleted
	rots         int8
}

func (m *pages) first() paged {
	s := paged{starts: int8(m.cfg.Bounds.Starts), nodes: [maxNodes]int8{inMemory, inMemory, inMemory}}
	s.checkpoints[0] = inMemory
	s.read = 1
	return s
}

func (s *paged) good(seq int8) bool { return s.rotten>>seq&1 == 0 }

// named reports whether page q is named by the last two floors' checkpoints, or is
// too young. A checkpoint that cannot be read names nothing.
func (m *pages) named(s *paged, q int8) bool {
	names := func(seq int8) bool { return s.good(seq) && s.checkpoints[seq] == asPage+q }
	return m.on(PagesYoung) && s.keys[q] >= s.before || names(s.last) || m.on(PagesOfTwoFloors) && names(s.before)
}

// mayGo reports whether a leader may remove page q.
func (m *pages) mayGo(s *paged, q int8) bool {
	return !m.named(s, q) && (s.read>>s.before&1 != 0 || !m.on(PagesOfGoodFloors))
}

// steps of Pages.
const (
	wrote int8 = iota
	wrotePage
	passed
	passedPage
	planned
	judgedPage
	deletedPage
	leads
	startsFrom
	rots
	readGood
	stuck
)

func (m *pages) steps(s *paged, emit func(*paged, step, string)) {
	begin := func(n *paged, st step, broken string) {
		if broken == "" {
			broken = n.start()
		}
		emit(n, st, broken)
	}
	m.checkpoint(s, begin)
	m.floor(s, begin)
	m.remove(s, begin)
	m.others(s, begin)
	m.rot(s, begin)
}

// start: with the newest of the floors whose checkpoint can be read.
func (s *paged) start() string {
	for _, seq := range []int8{s.last, s.before, s.older} {
		if !s.good(seq) {
			continue
		}
		if seq < s.below {
			break
		}
		if c := s.checkpoints[seq]; c >= asPage && s.gone>>(c-asPage)&1 != 0 {
			return violated("A FLOOR'S CHECKPOINT NAMES A PAGE THAT IS GONE: %d", seq)
		}
		return ""
	}
	return "NO START: no checkpoint of a floor can be read"
}

// checkpoint: the leader writes the next object, with a checkpoint or without one.
func (m *pages) checkpoint(s *paged, emit func(*paged, step, string)) {
	if int(s.seq) >= m.cfg.Bounds.Seqs {
		return
	}
	has := s.nodes[s.leader]
	write := func(names int8, what int8) {
		n := *s
		n.seq++
		n.nodes[s.leader], n.checkpoints[n.seq] = names, names
		emit(&n, step{what, s.leader, n.seq, names}, "")
		n.checkpoints[n.seq] = 0
		emit(&n, step{what + passed, s.leader, n.seq, names}, "")
	}
	page := func() {
		if s.written == maxPages {
			return
		}
		n := *s
		n.keys[s.written] = s.seq + 1
		n.written++
		before := *s
		*s = n
		write(asPage+before.written, wrotePage)
		*s = before
	}
	switch {
	case has == inMemory:
		write(inMemory, wrote)
		page()
	case m.on(PagesAgain) && !m.named(s, has-asPage):
		page()
	default:
		write(has, wrote)
	}
}

// floor: it moves to any checkpoint above.
func (m *pages) floor(s *paged, emit func(*paged, step, string)) {
	has := s.nodes[s.leader]
	floors := has >= asPage && (s.checkpoints[s.last] == has || s.checkpoints[s.before] == has)
	if m.on(FloorOfKeptPages) && has >= asPage && !m.named(s, has-asPage) && (!m.on(PagesAgain) || !m.on(PagesYoung) && !floors) {
		emit(s, step{what: stuck, a: s.leader, b: has - asPage}, "NO CHECKPOINT OF THIS LEADER MAY EVER BE A FLOOR")
	}
	for c := s.last + 1; c <= s.seq; c++ {
		names := s.checkpoints[c]
		if names == 0 || names >= asPage && m.on(FloorOfKeptPages) && !m.named(s, names-asPage) {
			continue
		}
		n := *s
		n.older, n.before, n.last = s.before, s.last, c
		broken := ""
		if names >= asPage && s.gone>>(names-asPage)&1 != 0 {
			broken = "A FLOOR'S CHECKPOINT NAMES A PAGE THAT IS GONE"
		}
		emit(&n, step{what: planned, a: s.leader, b: c}, broken)
	}
}

// remove: leaders judge pages, and remove them at any time after that.
func (m *pages) remove(s *paged, emit func(*paged, step, string)) {
	for q := int8(0); q < s.written; q++ {
		n := *s
		if s.judged>>q&1 == 0 && m.mayGo(s, q) {
			n.judged |= 1 << q
			emit(&n, step{what: judgedPage, a: q, b: s.keys[q]}, "")
		}
		if s.judged>>q&1 == 0 || s.gone>>q&1 != 0 {
			continue
		}
		n.gone |= 1 << q
		broken := n.start()
		for i := range n.nodes {
			switch {
			case n.nodes[i] != asPage+q:
			case m.on(PageReload): // it finds out when it reads
				n.nodes[i] = n.newest()
			case broken == "":
				broken = violated("node %d, alive, CAN NO LONGER READ THE CHUNK", i)
			}
		}
		emit(&n, step{what: deletedPage, a: q}, broken)
	}
}

// newest is the chunk as the newest floor's checkpoint has it.
func (s *paged) newest() int8 {
	if s.good(s.last) {
		return s.checkpoints[s.last]
	}
	return s.checkpoints[s.before]
}

// others: another node leads, or one starts from a checkpoint.
func (m *pages) others(s *paged, emit func(*paged, step, string)) {
	for i := int8(0); i < maxNodes; i++ {
		if i != s.leader {
			n := *s
			n.leader = i
			emit(&n, step{what: leads, a: i}, "")
		}
		for c := int8(0); c <= s.seq && s.starts > 0; c++ {
			if s.checkpoints[c] == 0 || c < s.last && c != s.before || !s.good(c) {
				continue
			}
			n := *s
			n.starts--
			n.nodes[i] = s.checkpoints[c]
			broken := ""
			if p := n.nodes[i]; p >= asPage && s.gone>>(p-asPage)&1 != 0 {
				if n.nodes[i] = s.newest(); !m.on(PageReload) {
					broken = "A START FROM A CHECKPOINT FINDS A PAGE GONE"
				}
			}
			emit(&n, step{what: startsFrom, a: i, b: c}, broken)
		}
	}
}

// rot: checkpoints rot. A leader reads that of the last floor but one, and deletes
// journal objects below it.
func (m *pages) rot(s *paged, emit func(*paged, step, string)) {
	for c := int8(1); c <= s.seq; c++ {
		if s.checkpoints[c] != 0 && (c == s.last || c == s.before) && s.good(c) && s.read>>c&1 == 0 && int(s.rots) < m.cfg.Bounds.Rots {
			n := *s
			n.rotten |= 1 << c
			n.rots++
			emit(&n, step{what: rots, a: c}, "")
		}
	}
	if s.before > s.below && (s.good(s.before) || !m.on(FloorReadGood)) {
		n := *s
		n.below = s.before
		n.read |= 1 << s.before &^ s.rotten
		emit(&n, step{what: readGood, a: s.leader, b: s.before}, "")
	}
}

func (m *pages) tidied(*paged) string { return "" }

func (m *pages) describe(st step, _, _ *paged) string {
	holds := fmt.Sprintf("names page %d", st.c-asPage)
	if st.c == inMemory {
		holds = "holds the extents itself"
	}
	switch st.what {
	case wrote, wrotePage:
		return fmt.Sprintf("node %d, leading: checkpoint %d %s", st.a, st.b, holds)
	case passed:
		return fmt.Sprintf("node %d, leading: object %d, no checkpoint", st.a, st.b)
	case passedPage:
		return fmt.Sprintf("node %d, leading: object %d, page %d and no checkpoint", st.a, st.b, st.c-asPage)
	case planned:
		return fmt.Sprintf("node %d, leading: the floor moves to checkpoint %d", st.a, st.b)
	case judgedPage:
		return fmt.Sprintf("a leader finds that page %d, of seq %d, may go", st.a, st.b)
	case deletedPage:
		return fmt.Sprintf("DELETE of page %d", st.a)
	case leads:
		return fmt.Sprintf("node %d leads", st.a)
	case startsFrom:
		return fmt.Sprintf("node %d starts from checkpoint %d", st.a, st.b)
	case rots:
		return fmt.Sprintf("checkpoint %d rots", st.a)
	case readGood:
		return fmt.Sprintf("node %d, leading: journal objects below checkpoint %d are deleted", st.a, st.b)
	}
	return fmt.Sprintf("node %d leads and has page %d", st.a, st.b)
}
