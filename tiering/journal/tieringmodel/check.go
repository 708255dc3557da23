package tieringmodel

// check looks at the state n that follows s: as a fresh reader at the head, as a start,
// and as a listing. was and is are the sums of their logs.
func (m *segments) check(s, n *state, was, is *sum) string {
	if is.broken != "" {
		return "BRICKED: " + is.broken
	}
	for p := int8(0); p < 2; p++ {
		for o := is.start[p]; o < is.end[p] && is.over[p] == 0; o++ {
			if broken := m.readable(n, is, p, o); broken != "" {
				return broken
			}
		}
	}
	for p := range is.place { // records with which the next job begins
		for o := max(is.merged[p], is.start[p]); o < is.end[p] && is.over[p] == 0; o++ {
			if is.place[p][o] != inJournal {
				return violated("MERGE DEBT STAYS: %c %d is above M and not in the journal", 'A'+p, o)
			}
		}
	}
	for p := range is.start {
		if s.length < n.length && (is.start[p] < was.start[p] || is.over[p] < was.over[p]) {
			return violated("DELETED RECORDS ARE BACK: %c", 'A'+p)
		}
	}
	if m.cfg.Bounds.NoLeak {
		return ""
	}
	return m.leak(n, is)
}

// readable looks at one record as a fresh reader.
func (m *segments) readable(s *state, a *sum, p, o int8) string {
	at, i := a.place[p][o], a.key[p][o]
	switch {
	case at == inJournal && s.gone>>i&1 != 0:
		return violated("UNREADABLE: %c %d, journal object %d is gone", 'A'+p, o, i)
	case at == inJournal && s.damaged>>i&1 != 0 && !m.on(AroundDamage) && o >= a.merged[p]:
		return "MERGE DEBT STAYS: a damaged source is in the way"
	case at == inJournal:
		return ""
	case at < inMerged:
		return violated("UNREADABLE: %c %d is nowhere", 'A'+p, o)
	}
	j := at - inMerged
	x := s.jobs[j].object
	if found := s.bucket[x]; found != j+1 || o < s.jobs[j].holds[p] || o >= s.jobs[j].to[p] {
		return violated("UNREADABLE: %c %d in object %d of job %d, the store has version %d of it", 'A'+p, o, x, j, found-1)
	}
	return ""
}

// leak finds objects that are in the bucket, or may land there, and that nothing names.
func (m *segments) leak(s *state, a *sum) string {
	for j := int8(0); j < s.begun; j++ {
		x := s.jobs[j].object
		bit := uint8(1) << x
		if s.bucket[x] == 0 && s.inFlight(x) == 0 || (a.garbage|a.table)&bit != 0 || a.refers(s, x) || m.intended(s, a, x) {
			continue
		}
		return violated("LEAK: object %d is in the bucket or may land there, and nothing names it", x)
	}
	l := &s.leaders[0]
	for i := int8(0); i < s.length && !m.on(Judge); i++ {
		if s.log[i].kind() == records && a.released>>i&1 == 0 && !a.needs(i) && l.judged>>i&1 == 0 && l.applied == s.length && l.underWay == 0 {
			return violated("GARBAGE THAT NO LEADER MAY RELEASE: journal object %d", i)
		}
	}
	return ""
}

// intended reports whether an open intent names object x, or one under way.
func (m *segments) intended(s *state, a *sum, x int8) bool {
	l := &s.leaders[0]
	for q := int8(0); q < s.begun; q++ {
		if s.jobs[q].object != x {
			continue
		}
		for _, e := range l.pending[:l.underWay] {
			if e.kind() == intent && e.a() == q {
				return true
			}
		}
		if a.open>>q&1 != 0 && (m.on(FenceEndsIntents) || l.job == q+1) {
			return true
		}
	}
	return false
}
