package model

// This file is the part of a process that writes: fence, settle, lead.

// own returns the object of a process's slot: all its fields follow from the
// process, so the slot need not keep it.
func (m *machine) own(p *process, k int) object {
	self := newRef(p.next+uint8(k), p.mine, p.writer)
	switch p.phase {
	case fencing:
		return newObject(fence, self, p.last, 0)
	case settling:
		return newObject(filler, self, p.fence, 0)
	}
	return newObject(data, self, p.fence, p.slots[k].version())
}

// sendFence tries to open an epoch at next, which was found absent, or lies
// above the object that took the place of the last try. It reports false if the
// bounds do not allow it now.
func (m *machine) sendFence(s *state, p *process) bool {
	if int(p.next)+m.cfg.Window > m.cfg.Seqs {
		p.end() // no room to settle and to write
		return true
	}
	switch {
	case !m.on(EpochFromLog):
		p.mine = p.writer
	case !m.on(FenceRebuilt) && p.first != 0:
		p.mine = p.first.epoch()
	default:
		p.mine = p.epoch + 1
	}
	p.phase, p.lost = fencing, false
	p.slots[0] = newSlot(slotSending, 0)
	if p.first == 0 && m.cfg.Without&(FenceRebuilt|SettleFromWinner) != 0 {
		p.first = newRef(p.next, p.mine, p.writer)
	}
	return s.send(m.own(p, 0))
}

// fenceCounts: the fence is stored, and the floor is not above it. Fillers for
// the old leader's window go out together.
func (m *machine) fenceCounts(v *move, p *process) bool {
	won := p.next
	settled := won + uint8(m.cfg.Window)
	if !m.on(SettleFromWinner) {
		settled = p.first.seq() + uint8(m.cfg.Window)
	}
	if !m.on(Settle) {
		settled = 0
	}
	p.phase, p.fence, p.next = settling, newRef(won, p.mine, p.writer), won+1
	p.epoch, p.last, p.first, p.known = 0, 0, 0, 0
	for k := 0; p.next+uint8(k) < settled; k++ {
		p.slots[k] = newSlot(slotSending, 0)
		if !v.send(m.own(p, k)) {
			return false
		}
	}
	m.advance(v, p)
	return true
}

// lead sends one more data segment, and asks whether the head is where the
// leader assumes it.
func (m *machine) lead(s *state, i int) {
	p := &s.procs[i]
	used, unresolved := 0, 0
	for used < maxSlots && p.slots[used].state() != slotFree {
		if p.slots[used].state() != slotStored {
			unresolved++
		}
		used++
	}
	inWindow := used
	if !m.on(WindowFromLowest) {
		inWindow = unresolved
	}
	seq := p.next + uint8(used)
	if p.left > 0 && inWindow < m.cfg.Window && used < maxSlots && int(seq) <= m.cfg.Seqs {
		v := m.begin(s, step{what: sent, writer: p.writer})
		q := &v.procs[i]
		q.left--
		q.slots[used] = newSlot(slotSending, 0)
		v.step.object = m.own(q, used)
		if !v.send(v.step.object) {
			m.drop()
		}
	}
	m.claimEnd(s, p)
}

// resolve: an answer does not come in time, or a key is read back.
func (m *machine) resolve(s *state, i int) {
	p := &s.procs[i]
	for k, sl := range p.slots {
		switch sl.state() {
		case slotSending:
			v := m.begin(s, step{what: timedOut, object: m.own(p, k)})
			v.procs[i].slots[k] = newSlot(slotChecking, sl.version())
		case slotChecking:
			m.readBack(s, i, k)
		}
	}
}

// readBack resolves a slot by the object at its key (rule 4).
func (m *machine) readBack(s *state, i, k int) {
	p := &s.procs[i]
	own, found := m.own(p, k), s.bucket[p.next+uint8(k)]
	v := m.begin(s, step{what: readBack, writer: p.writer, seq: own.seq(), object: found})
	q := &v.procs[i]
	switch {
	case found == 0:
		if !m.resend(v, q, k) {
			m.drop()
		}
	case found.ref() == own.ref():
		m.confirmed(v, q, k)
	case p.phase == fencing:
		q.slots[k] = 0
		if !m.consider(v, q, found, true) {
			m.drop()
		}
	case found.epoch() > own.epoch():
		q.end()
	case found.epoch() == own.epoch():
		v.violate("TWINS: p%d and p%d both lead epoch %d", own.writer(), found.writer(), own.epoch())
	case p.phase == settling:
		q.slots[k] = newSlot(slotTaken, 0)
		m.advance(v, q)
	default:
		v.violate("SETTLING BROKEN: p%d has settled epoch %d and finds a %v at seq %d", own.writer(), own.epoch(), found, own.seq())
	}
}

// resend sends a slot's bytes again: absent is not lost.
func (m *machine) resend(v *move, p *process, k int) bool {
	if p.again == 0 {
		return false
	}
	p.again--
	version := p.slots[k].version()
	if p.phase == leading && !m.on(SameBytes) {
		version++
	}
	p.slots[k] = newSlot(slotSending, version)
	v.step.again = true
	return v.send(m.own(p, k))
}

// stored: the own object of slot k holds its seq, as far as the process knows.
func (m *machine) confirmed(v *move, p *process, k int) {
	if p.phase == fencing {
		p.slots[k] = 0
		p.phase = checking
		return
	}
	p.slots[k] = newSlot(slotStored, p.slots[k].version())
	if p.phase == leading && !m.on(AckInOrder) {
		m.acknowledge(v, p, k)
	}
	m.advance(v, p)
}

// advance moves past the resolved slots, in order; only then do they count.
func (m *machine) advance(v *move, p *process) {
	for p.slots[0].state() >= slotStored {
		if p.phase == leading && m.on(AckInOrder) {
			m.acknowledge(v, p, 0)
		}
		copy(p.slots[:], p.slots[1:])
		p.slots[maxSlots-1] = 0
		p.next++
	}
	if p.phase == settling && p.slots == [maxSlots]slot{} {
		p.phase = leading
	}
}

// acknowledge reports to clients that slot k's records are in the log forever.
// The log must then confirm that.
func (m *machine) acknowledge(v *move, p *process, k int) {
	own := m.own(p, k)
	seq := own.seq()
	v.step.acked |= 1 << seq
	switch has := v.log[seq]; {
	case has != own:
		v.violate("ACKED LOST: p%d acknowledges its %v at seq %d, where the log has the %v", p.writer, own, seq, has)
	case v.meaning(seq) == open:
		v.violate("ACKED LOST: p%d acknowledges its %v at seq %d, below which the log has a hole", p.writer, own, seq)
	case v.meaning(seq) == void:
		v.violate("ACKED LOST: p%d acknowledges its %v at seq %d, which is void", p.writer, own, seq)
	}
}
