package model

// This file is the part of a process that reads: followers, and leaders before
// they fence.

// start begins to lead at the floor in force, with its checkpoint.
func (m *machine) start(s *state, i int) {
	if s.starts >= maxEpoch {
		return
	}
	v := m.begin(s, step{what: started, writer: s.starts + 1, seq: max(s.floor(), 1)})
	v.starts++
	p := &v.procs[i]
	p.writer, p.phase, p.known = v.starts, reading, v.floorCount()
	p.beginAt(s, max(s.floor(), 1))
	if m.cfg.SlowRead {
		return
	}
	for s.bucket[p.next] != 0 {
		m.accept(v, p, s.bucket[p.next])
		if p.phase != reading {
			return
		}
	}
	v.step.seq = p.next
	if !m.sendFence(&v.state, p) {
		m.drop()
	}
}

// beginAt goes to seq, with the state of the log below it.
func (p *process) beginAt(s *state, seq uint8) {
	for p.next = 0; p.next < seq; {
		p.pass(s.log[p.next], s.meaning(p.next))
	}
}

// pass moves past o, whose meaning is mean.
func (p *process) pass(o object, mean meaning) {
	p.next++
	if mean != valid {
		return
	}
	p.last = o.ref()
	if o.kind() == fence {
		p.epoch, p.fence = o.epoch(), o.ref()
	}
}

// read reads the object at next.
func (m *machine) read(s *state, i int) {
	p := &s.procs[i]
	if int(p.next) > m.cfg.Seqs {
		return
	}
	o := s.bucket[p.next]
	switch {
	case o != 0:
		v := m.begin(s, step{what: got, writer: p.writer, seq: p.next, object: o})
		if !m.consider(v, &v.procs[i], o, false) {
			m.drop()
		}
	case p.follower:
		m.claimEnd(s, p)
	default:
		if m.cfg.Lives > 0 {
			m.claimEnd(s, p)
		}
		v := m.begin(s, step{what: fenced, writer: p.writer, seq: p.next})
		if !m.sendFence(&v.state, &v.procs[i]) {
			m.drop()
		}
	}
}

// claimEnd: a process finds no object at next and takes that for the end of the
// log. A floor read that begins then finds at least the present floor.
func (m *machine) claimEnd(s *state, p *process) {
	next := p.next
	if int(next) > m.cfg.Seqs || s.bucket[next] != 0 || s.log[next] == 0 {
		return
	}
	rule := LeadFloorAtGap
	if p.phase == reading {
		rule = ReadFloorAtGap
	}
	if m.on(rule) && s.floor() > next {
		return
	}
	v := m.begin(s, step{what: got, writer: p.writer, seq: next})
	v.violate("HOLE FOR THE END: %s takes seq %d for the end of the log, where a %v has been", v.step.who(), next, s.log[next])
}

// judge returns the meaning of o at next, as Chain.Check does; broken reports
// that it contradicts objects read before.
func (m *machine) judge(p *process, o object) (mean meaning, broken bool) {
	anyEpoch := m.cfg.Without&(EpochFromLog|FenceRebuilt) != 0
	switch {
	case o.epoch() < p.epoch:
		return void, false
	case o.epoch() > p.epoch:
		return valid, o.kind() != fence || o.prev() != p.last || o.epoch() != p.epoch+1 && !anyEpoch
	case o.kind() == fence || o.prev() != p.fence:
		return valid, true
	}
	if m.cfg.Without&(Settle|SettleFromWinner) != 0 {
		return valid, false
	}
	settled := p.fence.seq() == 0 || o.seq() >= p.fence.seq()+uint8(m.cfg.Window)
	return valid, (o.kind() == data) != settled
}

// consider takes o, which was read at next, or holds it back until the floor
// has been read (rule 8). lost reports that it took the place of an own fence.
func (m *machine) consider(v *move, p *process, o object, lost bool) bool {
	p.phase, p.lost = reading, lost
	mean, broken := m.judge(p, o)
	var wants Rules
	switch {
	case broken:
		wants = ReadFloorAtContradiction
	case mean == void:
		wants = ReadFloorAtVoid
	case o.kind() == fence:
		wants = ReadFloorAtFence
	}
	if wants == 0 || !m.on(wants) {
		return m.accept(v, p, o)
	}
	p.phase, p.held = judging, o
	return true
}

// readFloor is one GET of a floor read, with the consequences of the last one.
func (m *machine) readFloor(s *state, i int) {
	p := &s.procs[i]
	late := p.phase == checking && !m.on(FenceFloor)
	stale := p.phase == checking && !m.on(FenceFloorFresh) || p.phase == judging && !m.on(ReadFloorFresh)
	if !late && !stale && p.known < s.floorCount() {
		v := m.begin(s, step{what: gotFloor, writer: p.writer, value: p.known + 1, seq: s.floors[p.known]})
		v.procs[i].known++
		return
	}
	floor := s.floorAt(p.known)
	v := m.begin(s, step{what: floorIs, writer: p.writer, seq: floor})
	q, allowed := &v.procs[i], true
	switch {
	case floor > p.next && !late:
		q.end()
	case p.phase == checking:
		allowed = m.fenceCounts(v, q)
	default:
		q.phase, q.held = reading, 0
		allowed = m.accept(v, q, p.held)
	}
	if !allowed {
		m.drop()
	}
}

// accept takes o at next by its apparent meaning, and goes on.
func (m *machine) accept(v *move, p *process, o object) bool {
	mean, broken := m.judge(p, o)
	v.step.took = true
	has, truth := v.log[p.next], v.meaning(p.next)
	switch {
	case broken:
		v.violate("CALLED BROKEN: %s finds the %v at seq %d, where the log has the %v", v.step.who(), o, p.next, has)
	case o.kind() == filler && truth == void, mean == void && has.kind() == filler:
		// Neither says anything, so nothing is wrong yet.
	case mean == valid && has != o:
		v.violate("WRONG DATA: %s takes the %v at seq %d, where the log has the %v", v.step.who(), o, p.next, has)
	case mean == valid && truth != valid:
		v.violate("WRONG DATA: %s takes the %v at seq %d, which is void", v.step.who(), o, p.next)
	case mean == void && truth == valid:
		v.violate("SKIPPED: %s passes over seq %d, where the log has the %v", v.step.who(), p.next, has)
	}
	p.pass(o, mean)
	if p.lost {
		return m.sendFence(&v.state, p)
	}
	return true
}
