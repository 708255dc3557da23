package tieringmodel

// This file is the bucket's side: PUTs that arrive, DELETEs, damage.

// land lets PUTs of merged segments arrive, whole or damaged.
func (m *segments) land(s *state) {
	for j := int8(0); j < s.begun; j++ {
		if s.flying[j] == 0 {
			continue
		}
		x := s.jobs[j].object
		n := *s
		n.flying[j]--
		if n.bucket[x] == 0 || !m.on(CreateIfAbsent) {
			n.bucket[x] = j + 1
		}
		m.emit(&n, step{what: landed, b: j}, "")
		if int(s.flips) < m.cfg.Bounds.Flips && (s.bucket[x] == 0 || !m.on(CreateIfAbsent)) {
			n.bucket[x] = -(j + 1)
			n.flips++
			m.emit(&n, step{what: flipped, b: j}, "")
		}
	}
}

// lists returns all that leaders may delete: merged objects, and keys of the journal.
func (m *segments) lists(s *state) (objects uint8, released uint16) {
	objects, released = m.view.at[s.known].listed, m.view.at[s.known].released
	for w := range s.leaders {
		if m.on(DeleteApplied) {
			break
		}
		z := &s.leaders[w]
		a := m.view.at[z.applied]
		if w == 0 {
			a = m.view.plan
		}
		for i := 0; w > 0 && i < int(z.underWay); {
			i = m.apply(&a, s, z.pending[:z.underWay], i)
		}
		objects |= a.listed
		released |= a.released
	}
	return objects, released
}

func (m *segments) deleteMerged(s *state) {
	head := &m.view.at[s.length]
	objects, _ := m.lists(s)
	for x := int8(0); x < s.begun; x++ {
		if objects>>x&1 == 0 || s.bucket[x] == 0 {
			continue
		}
		n := *s
		n.bucket[x] = 0
		broken := ""
		if head.refers(s, x) {
			broken = violated("DELETED UNDER AN EXTENT: object %d", x)
		}
		m.emit(&n, step{what: deletedMerged, b: x}, broken)
	}
}

// deleteJournal deletes journal objects. It also lets second PUTs of them land, and
// lets them rot.
func (m *segments) deleteJournal(s *state) {
	head := &m.view.at[s.length]
	_, released := m.lists(s)
	below := s.before
	switch {
	case !m.on(BelowFloor):
		below = s.length
	case !m.on(FloorButOne):
		below = s.floor
	}
	for i := int8(0); i < s.length; i++ {
		if s.log[i]&joined != 0 {
			continue
		}
		if i < below && released>>i&1 != 0 && s.gone>>i&1 == 0 {
			n := *s
			n.gone |= 1 << i
			m.emit(&n, step{what: deletedJournal, b: i}, deletedKey(s, head, i))
		}
		if s.log[i].kind() == records {
			m.resend(s, i)
			if s.damaged == 0 && m.cfg.Bounds.Rots > 0 && s.gone>>i&1 == 0 && head.needs(i) {
				n := *s
				n.damaged |= 1 << i
				m.emit(&n, step{what: rotted, b: i}, "")
			}
		}
	}
}

// deletedKey is the promise that a DELETE of the journal object at key i breaks.
func deletedKey(s *state, head *sum, i int8) string {
	switch {
	case s.log[i].kind() == fence:
		return "FENCE DELETED"
	case head.needs(i):
		return violated("DELETED UNDER AN EXTENT: journal object %d", i)
	case i >= s.before:
		return violated("START LOST: a start from the last floor but one (%d) needs journal object %d", s.before, i)
	}
	return ""
}

// resend: a second PUT of the journal object at key i is under way, and lands.
func (m *segments) resend(s *state, i int8) {
	if int(s.twins) < m.cfg.Bounds.Doubled {
		n := *s
		n.twins++
		n.doubled |= 1 << i
		m.emit(&n, step{what: doubled, b: i}, "")
	}
	if s.doubled>>i&1 != 0 {
		n := *s
		n.doubled &^= 1 << i
		n.gone &^= 1 << i
		m.emit(&n, step{what: doubleLanded, b: i}, "")
	}
}

// follow: the follower looks for a record in the state that it has. At 404 it proves
// the head and looks again.
func (m *segments) follow(s *state) {
	f := &s.reader
	if f.looks > 0 {
		m.get(s)
		return
	}
	mine := &m.view.at[f.applied]
	if f.applied < s.length {
		n := *s
		if s.gone>>f.applied&1 != 0 { // deletion has overtaken it: it takes the last floor's checkpoint
			n.reader.applied = s.floor
		} else {
			for n.reader.applied++; n.reader.applied < s.length && s.log[n.reader.applied]&joined != 0; n.reader.applied++ {
			}
		}
		m.emit(&n, step{what: followed}, "")
	}
	for p := int8(0); p < 2; p++ {
		for o := mine.start[p]; o < mine.end[p]; o++ {
			if mine.over[p] == 0 && s.damaged>>mine.key[p][o]&1 == 0 {
				n := *s
				n.reader = reader{applied: f.applied, looks: 1, part: p, offset: o, at: mine.place[p][o], from: mine.key[p][o]}
				m.emit(&n, step{looked, p, o, 0}, "")
			}
		}
	}
}

// get reads the place that the follower found.
func (m *segments) get(s *state) {
	f := &s.reader
	n := *s
	n.reader = reader{applied: f.applied}
	found := bytes(0)
	if f.at >= inMerged {
		found = s.bucket[s.jobs[f.at-inMerged].object]
	}
	switch {
	case f.at == inJournal && s.gone>>f.from&1 == 0 || f.at >= inMerged && found == f.at-inMerged+1:
		m.emit(&n, step{what: got}, "")
	case found != 0:
		m.emit(&n, step{what: got}, "WRONG BYTES for the follower")
	default:
		m.again(s, &n)
	}
}

// again: the follower got 404.
func (m *segments) again(s, n *state) {
	f, head := &s.reader, &m.view.at[s.length]
	live := head.over[f.part] == 0 && f.offset >= head.start[f.part]
	same := live && head.place[f.part][f.offset] == f.at
	most := int8(2)
	switch {
	case !m.on(Look):
		most = 0
	case !m.on(LookOn):
		most = 1
	}
	n.reader.applied = s.length
	broken := ""
	switch {
	case f.looks > most && (most < 2 || same):
		if live {
			broken = violated("STORAGE ERROR for %c %d, which is there", 'A'+f.part, f.offset)
		}
	case same && most == 2:
		broken = "STORAGE ERROR: the head names an object that is gone"
	case live:
		n.reader = reader{applied: s.length, looks: 2, part: f.part, offset: f.offset, at: head.place[f.part][f.offset], from: head.key[f.part][f.offset]}
	}
	m.emit(n, step{what: lookedAgain}, broken)
}
