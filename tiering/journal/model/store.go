package model

// This file is the bucket's side: PUTs that arrive, floors, deletion.

// deliver lets any PUT under way arrive: it creates the object or finds one.
func (m *machine) deliver(s *state) {
	for i, o := range s.flight {
		if o == 0 || i > 0 && s.flight[i-1] == o {
			continue
		}
		seq := o.seq()
		created := s.bucket[seq] == 0
		v := m.begin(s, step{what: exists, object: o})
		v.flight[i] = 0
		if created {
			v.step.what = stored
			v.bucket[seq] = o
			if v.log[seq] == 0 {
				v.log[seq] = o
			}
		}
		j, k := m.awaiting(s, o)
		switch {
		case j < 0: // no process waits for the answer any more
		case created, !m.on(ReadBack):
			m.confirmed(v, &v.procs[j], k)
		default:
			v.procs[j].slots[k] = newSlot(slotChecking, o.version())
		}
	}
}

// awaiting finds the process and slot that wait for the answer to o; -1 if none.
func (m *machine) awaiting(s *state, o object) (proc, slot int) {
	for i := range s.procs {
		p := &s.procs[i]
		earlier := !m.on(AnswerOfObject) && p.was == o.writer()
		if p.writer != o.writer() && !earlier || p.phase != fencing && p.phase != settling && p.phase != leading {
			continue
		}
		k := int(o.seq()) - int(p.next)
		if k < 0 || k >= maxSlots || p.slots[k].state() != slotSending || !earlier && m.own(p, k) != o {
			return -1, 0
		}
		return i, k
	}
	return -1, 0
}

// publishFloors: a leader, which may be an old one, writes the next floor. The
// only condition here is that the floor is at most the leader's last confirmed
// seq.
func (m *machine) publishFloors(s *state) {
	most := uint8(0)
	for i := range s.procs {
		if p := &s.procs[i]; p.phase == leading {
			most = max(most, p.next-1)
		}
	}
	if !m.on(FloorBelowHead) {
		most = s.head()
	}
	n := s.floorCount()
	for f := max(s.floor()+1, 2); f <= most && int(n) < m.cfg.Floors; f++ {
		m.writeFloor(s, n+1, f)
	}
	for f := uint8(2); f < min(s.floor(), most+1) && !m.on(FloorsOnce); f++ {
		m.writeFloor(s, n, f)
	}
}

func (m *machine) writeFloor(s *state, n, floor uint8) {
	v := m.begin(s, step{what: floorMoved, seq: floor, value: n})
	v.floors[n-1] = floor
}

// delete removes the object at any key that may be deleted. It leaves out steps
// without a visible effect: if nothing is under way to the key, and no process
// has yet to pass it. A process that starts later begins at the floor.
func (m *machine) delete(s *state) {
	below := s.floor()
	if !m.on(FloorFirst) {
		for i := range s.procs {
			if p := &s.procs[i]; p.phase == leading {
				below = max(below, p.next-1)
			}
		}
	}
	for q := uint8(1); q < below; q++ {
		if s.bucket[q] == 0 || !m.deletable(s, q) || m.on(FloorFirst) && !s.concerns(q) {
			continue
		}
		v := m.begin(s, step{what: deleted, seq: q, object: s.bucket[q]})
		v.bucket[q] = 0
	}
}

// concerns reports whether anything under way may still touch the key of seq.
func (s *state) concerns(seq uint8) bool {
	for _, o := range s.flight {
		if o != 0 && o.seq() == seq {
			return true
		}
	}
	for i := range s.procs {
		if p := &s.procs[i]; p.phase > idle && p.phase < ended && p.next <= seq {
			return true
		}
	}
	return false
}

// deletable reports whether a key may be deleted once it lies below the floor.
// The first object stored there decides; a late DELETE hits the present one.
func (m *machine) deletable(s *state, seq uint8) bool {
	switch s.meaning(seq) {
	case open:
		return false
	case void:
		return !m.on(VoidsKept)
	}
	switch s.log[seq].kind() {
	case fence:
		return !m.on(FencesKept)
	case filler:
		return !m.on(FillersKept)
	}
	return true
}
