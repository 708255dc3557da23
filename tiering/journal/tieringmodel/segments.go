package tieringmodel

// Segments searches the model of merged segments. It needs some 400 bytes per
// state.
func Segments(cfg Config) Result { return run[state](cfg, &segments{cfg: cfg}) }

// segments is the machine of Segments.
type segments struct {
	cfg  Config
	view view
	emit func(*state, step, string)
}

func (m *segments) on(r Rules) bool { return m.cfg.Without&r == 0 }

// view is the states that actors have.
type view struct {
	at   [maxEntries + 1]sum // after log[:i], at the borders of objects
	plan sum                 // with everything that the leader has under way
}

// look computes the view of s.
func (m *segments) look(s *state) {
	a := sum{}
	m.view.at[0] = a
	for i := 0; i < int(s.length); {
		n := m.apply(&a, s, s.log[:s.length], i)
		for i++; i <= n; i++ {
			m.view.at[i] = a
		}
		i--
	}
	m.view.plan = a
	l := &s.leaders[0]
	for i := 0; i < int(l.underWay); {
		i = m.apply(&m.view.plan, s, l.pending[:l.underWay], i)
	}
}

// steps emits the steps from s, each with the promise that is broken behind it.
func (m *segments) steps(s *state, emit func(*state, step, string)) {
	m.look(s)
	m.emit = func(n *state, st step, broken string) {
		if broken == "" && m.concerns(s, n) {
			a := m.view.at[s.length]
			for i := int(s.length); i < int(n.length); {
				i = m.apply(&a, n, n.log[:n.length], i)
			}
			broken = m.check(s, n, &m.view.at[s.length], &a)
		}
		emit(n, st, broken)
	}
	m.all(s)
}

// concerns reports whether a step from s to n changes anything that check looks at.
func (m *segments) concerns(s, n *state) bool {
	return n.length != s.length || n.bucket != s.bucket || n.gone != s.gone || n.begun != s.begun || n.flying != s.flying || n.leaders[0] != s.leaders[0]
}

// all emits the steps from s, whose view is computed.
func (m *segments) all(s *state) {
	if s.leaders[0].epoch != 0 {
		m.write(s)
		m.tidy(s)
		m.commit(s)
		m.takeOver(s)
	}
	for w := range s.leaders {
		m.work(s, w)
	}
	m.land(s)
	m.deleteMerged(s)
	m.deleteJournal(s)
	if m.cfg.Bounds.Reader {
		m.follow(s)
	}
}

// append adds an entry to those that the leader has under way, as an object of its own,
// or in the last one of these.
func (m *segments) append(s *state, e entry, also func(*state)) {
	l := &s.leaders[0]
	if l.underWay == maxUnderWay || int(s.length)+int(l.underWay) >= min(maxEntries, m.cfg.Bounds.Length) {
		return
	}
	objects := 0 // under way, or committed and not applied here
	for _, e := range s.log[l.applied:s.length] {
		if e&joined == 0 {
			objects++
		}
	}
	for _, e := range l.pending[:l.underWay] {
		if e&joined == 0 {
			objects++
		}
	}
	add := func(e entry) {
		n := *s
		n.leaders[0].pending[l.underWay] = e
		n.leaders[0].underWay++
		if also != nil {
			also(&n)
		}
		m.emit(&n, step{appended, e.kind(), e.a(), e.b()}, "")
	}
	if objects < m.cfg.Bounds.Window {
		add(e)
	}
	if m.cfg.Bounds.Join && m.joins(l, e) {
		add(e | joined)
	}
}

// joins reports whether e may be in the last object under way. DeleteRecords deletes
// only records that were there before its object.
func (m *segments) joins(l *leader, e entry) bool {
	if l.underWay == 0 {
		return false
	}
	for q := l.underWay - 1; e.kind() == deleteRecords; q-- {
		if l.pending[q].kind() == records {
			return false
		}
		if l.pending[q]&joined == 0 {
			break
		}
	}
	return true
}
