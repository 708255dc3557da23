package tieringmodel

// This file is the part of the current leader that writes entries.

// write: clients write and delete; partitions are dropped.
func (m *segments) write(s *state) {
	b, plan := &m.cfg.Bounds, &m.view.plan
	if s.count(records) < b.Objects+b.Records && plan.end[0] < maxRecords && plan.end[1] < maxRecords && (plan.over[0] == 0 || plan.over[1] == 0) {
		m.append(s, newEntry(records, 0, 0, 0), nil)
	}
	for p := int8(0); p < 2; p++ {
		if plan.over[p] == 0 && s.count(deleteRecords) < b.Deletes {
			for before := plan.start[p] + 1; before <= plan.end[p]; before++ {
				m.append(s, newEntry(deleteRecords, p, before, 0), nil)
			}
		}
		if plan.over[p] == 0 && s.count(drop) < b.Drops {
			m.append(s, newEntry(drop, p, 0, 0), nil)
		}
		m.leave(s, p)
	}
	m.goOn(s)
}

// leave: a dropped partition leaves the state, once its objects are released.
func (m *segments) leave(s *state, p int8) {
	mine := &m.view.at[s.leaders[0].applied]
	if m.view.plan.over[p] != dropped || mine.over[p] != dropped {
		return
	}
	for j := int8(0); j < s.begun && m.on(LeaveLast); j++ {
		x := uint8(1) << s.jobs[j].object
		if s.jobs[j].parts == 1<<p && mine.table&x != 0 && mine.garbage&x == 0 {
			return
		}
	}
	m.append(s, newEntry(leave, p, 0, 0), nil)
}

// goOn begins a job, or goes on with the one that was begun.
func (m *segments) goOn(s *state) {
	l := &s.leaders[0]
	if l.job == 0 && int(s.begun) < m.cfg.Bounds.Jobs {
		m.begin(s)
	}
	if l.job > 0 {
		m.finish(s, l.job-1)
	}
}

// tidy: Releases, and Swept.
func (m *segments) tidy(s *state) {
	b := &m.cfg.Bounds
	mine, plan := &m.view.at[s.leaders[0].applied], &m.view.plan
	if s.count(release) < b.Releases {
		m.release(s)
	}
	if s.count(releaseJournal) < b.JournalReleases {
		m.releaseJournal(s)
	}
	for x := int8(0); x < s.begun && s.count(swept) < b.Swepts; x++ {
		bit := uint8(1) << x
		if mine.garbage&plan.garbage&bit != 0 && s.bucket[x] == 0 && (mine.twice&bit == 0 || !m.mayLand(s, x)) {
			m.append(s, newEntry(swept, x, 0, 0), nil)
		}
	}
}

// base is the state on which a Release is built.
func (m *segments) base(s *state) *sum {
	if m.on(ReleaseApplied) {
		return &m.view.at[s.leaders[0].applied]
	}
	return &m.view.plan
}

// release releases a merged object that no extent names.
func (m *segments) release(s *state) {
	base, plan := m.base(s), &m.view.plan
	limited := plan
	if !m.on(LimitUnderWay) {
		limited = &m.view.at[s.leaders[0].applied]
	}
	if m.full(limited) {
		return
	}
	for j := int8(0); j < s.begun; j++ {
		x := s.jobs[j].object
		bit := uint8(1) << x
		switch {
		case base.table&plan.table&bit == 0 || (plan.garbage|base.garbage)&bit != 0:
		case base.refers(s, x) && (m.on(Count) || !superseded(s, base, j)):
		case m.on(OpenNotGarbage) && base.open&(1<<j) != 0 || !m.verified(s, base):
		default:
			m.append(s, newEntry(release, x, 0, 0), nil)
		}
	}
}

// releaseJournal releases all journal objects that no extent names.
func (m *segments) releaseJournal(s *state) {
	l, base := &s.leaders[0], m.base(s)
	mask, highest := uint16(0), int8(-1)
	for i := int8(0); i < min(l.applied, 16); i++ { // a mask has room for these
		e := s.log[i]
		judged := m.on(Judge) || l.judged>>i&1 != 0 || e.kind() != records
		if e&joined == 0 && e.kind() != fence && m.view.plan.released>>i&1 == 0 && !base.needs(i) && judged {
			mask |= 1 << i
			highest = i
		}
	}
	for i := int8(0); i <= highest && !m.on(DataOnly); i++ {
		if s.log[i].kind() == fence {
			mask |= 1 << i
		}
	}
	if mask != 0 && m.verified(s, base) {
		m.append(s, newEntry(releaseJournal, 0, 0, mask), nil)
	}
}

// superseded: some partition of job j has gone on to another segment. A leader that
// does not count looks only at that.
func superseded(s *state, a *sum, j int8) bool {
	for p := int8(0); p < 2; p++ {
		for o := max(a.start[p], s.jobs[j].from[p]); s.jobs[j].parts>>p&1 != 0 && o < s.jobs[j].to[p]; o++ {
			if at := a.place[p][o]; at >= inMerged && at-inMerged != j {
				return true
			}
		}
	}
	return false
}

// verified: if outputs are read back before a Release only, all that are in use are good.
func (m *segments) verified(s *state, a *sum) bool {
	if m.on(ReadBackFirst) || !m.on(ReadBack) {
		return true
	}
	for p := range a.place {
		for _, at := range a.place[p][a.start[p]:a.end[p]] {
			if at >= inMerged && s.bucket[s.jobs[at-inMerged].object] != at-inMerged+1 {
				return false
			}
		}
	}
	return true
}

// mayLand: a PUT of object x is under way, or a deposed leader may still begin one.
// The second deletion assumes that this ends within a day.
func (m *segments) mayLand(s *state, x int8) bool {
	z := &s.leaders[1]
	return s.inFlight(x) > 0 || z.job > 0 && s.jobs[z.job-1].object == x && int(s.sent[z.job-1]) < m.cfg.Bounds.Sends
}
