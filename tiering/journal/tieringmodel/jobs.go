package tieringmodel

// This file is merge: jobs with their intents, uploads and Results.

// begin begins a job: of the journal for both partitions, or of one partition's merged
// segments.
func (m *segments) begin(s *state) {
	mine, plan := &m.view.at[s.leaders[0].applied], &m.view.plan
	first := job{first: true}
	stuck := false
	for p := int8(0); p < 2; p++ {
		low := max(plan.merged[p], plan.start[p])
		if plan.over[p] != 0 || low >= mine.end[p] {
			continue
		}
		first.parts |= 1 << p
		first.from[p], first.to[p], first.holds[p] = plan.merged[p], mine.end[p], low
		for o := low; o < mine.end[p]; o++ {
			if i := mine.key[p][o]; s.damaged>>i&1 != 0 {
				first.damaged |= 1 << i
				stuck = stuck || !m.on(AroundDamage)
			}
		}
	}
	if first.parts != 0 && !stuck {
		m.intend(s, first)
		if m.cfg.Bounds.Open && first.parts == 3 && first.to[1]-1 > first.holds[1] {
			first.to[1]--
			m.intend(s, first)
		}
	}
	for p := int8(0); p < 2; p++ {
		m.beginOwn(s, p)
	}
}

// beginOwn begins a job that gathers a partition's shared segments in an own one.
func (m *segments) beginOwn(s *state, p int8) {
	plan := &m.view.plan
	j := job{parts: 1 << p}
	shared, o := false, plan.start[p]
	for o < plan.end[p] && plan.place[p][o] < inMerged {
		o++
	}
	j.from[p], j.holds[p] = o, o
	for ; plan.over[p] == 0 && o < plan.end[p] && plan.place[p][o] >= inMerged; o++ {
		shared = shared || s.jobs[plan.place[p][o]-inMerged].parts == 3
	}
	if j.to[p] = o; shared {
		m.intend(s, j)
	}
}

// intend appends the intent of a job.
func (m *segments) intend(s *state, j job) {
	id := s.begun
	j.object = id
	for q := int8(0); !m.on(NewID) && q < id; q++ {
		if s.jobs[q].first == j.first && s.jobs[q].parts == j.parts && s.jobs[q].from == j.from {
			j.object = s.jobs[q].object
		}
	}
	mine := &m.view.at[s.leaders[0].applied]
	m.append(s, newEntry(intent, id, 0, 0), func(n *state) {
		n.jobs[id] = j
		n.begun++
		l := &n.leaders[0]
		l.job, l.done, l.read = id+1, 0, 0
		for p := int8(0); p < 2; p++ {
			for o := j.holds[p]; j.first && o < j.to[p]; o++ {
				l.judged |= 1 << mine.key[p][o]
			}
		}
	})
}

// finish goes on with job n of the leader: reads back, sends Results, or abandons.
func (m *segments) finish(s *state, n int8) {
	l, j := &s.leaders[0], &s.jobs[n]
	mine := &m.view.at[l.applied]
	found := s.bucket[j.object]
	before := m.on(ReadBackFirst) && m.on(ReadBack)
	if good := found == n+1 || !m.on(SameBytes) && found != 0; before && good && l.done == 0 && l.read == 0 {
		next := *s
		next.leaders[0].read = 1
		m.emit(&next, step{what: readBack, b: n}, "")
	}
	if mine.open&(1<<n) == 0 {
		return
	}
	ready := l.read == 1 || !before && s.sent[n] > 0 && found != 0
	for mask := int8(1); mask <= 3 && ready; mask++ { // all at once, or A's before B's
		all := mask == j.parts
		if mask&^j.parts != 0 || mask&l.done != 0 || !all && !m.cfg.Bounds.Split || mask == 2 && !all && l.done == 0 {
			continue
		}
		m.append(s, newEntry(result, n, mask, 0), func(next *state) {
			l := &next.leaders[0]
			if l.done |= mask; l.done == j.parts {
				l.job, l.done, l.read = 0, 0, 0
			}
		})
	}
	if s.count(abandon) < m.cfg.Bounds.Abandons {
		m.append(s, newEntry(abandon, n, 0, 0), func(next *state) {
			l := &next.leaders[0]
			l.job, l.done, l.read = 0, 0, 0
		})
	}
}

// commit: the leader's next object is committed.
func (m *segments) commit(s *state) {
	l := &s.leaders[0]
	if l.underWay > 0 {
		n := *s
		k := int8(1)
		for k < l.underWay && l.pending[k]&joined != 0 {
			k++
		}
		copy(n.log[s.length:], l.pending[:k])
		n.length += k
		n.leaders[0].pending = [maxUnderWay]entry{}
		copy(n.leaders[0].pending[:], l.pending[k:l.underWay])
		n.leaders[0].underWay -= k
		m.emit(&n, step{what: committed, a: l.pending[0].kind()}, "")
	}
	if int(s.floors) < m.cfg.Bounds.Floors && l.applied > s.floor {
		n := *s
		n.before, n.floor = s.floor, l.applied
		n.floors++
		m.emit(&n, step{what: floorMoved, b: n.floor}, "")
	}
}

// takeOver: another process leads. The one before goes on for a time, or dies.
func (m *segments) takeOver(s *state) {
	l := &s.leaders[0]
	if int(l.epoch) >= m.cfg.Bounds.Epochs || int(s.length) >= min(maxEntries, m.cfg.Bounds.Length) {
		return
	}
	for _, what := range []int8{deposed, restarted} {
		n := *s
		n.leaders[1] = leader{}
		if what == deposed {
			n.leaders[1] = *l
			if m.on(DeleteApplied) && m.on(IntentFirst) { // entries under way are void, and have no effect
				n.leaders[1].pending, n.leaders[1].underWay = [maxUnderWay]entry{}, 0
			}
			n.leaders[1].judged = 0
		}
		n.fence()
		m.emit(&n, step{what: what}, "")
	}
}

// fence begins the next leadership.
func (s *state) fence() {
	s.log[s.length] = newEntry(fence, 0, 0, 0)
	s.length++
	s.leaders[0] = leader{epoch: s.leaders[0].epoch + 1, applied: s.length}
	s.known = s.length
}

// work is the part that deposed leaders take, too: they hear that their objects were
// committed, and upload.
func (m *segments) work(s *state, w int) {
	z := &s.leaders[w]
	if z.epoch == 0 {
		return
	}
	if z.applied < s.length && s.log[z.applied].kind() != fence { // of a fence a leader hears by ending
		n := *s
		x := &n.leaders[w]
		for x.applied++; x.applied < s.length && s.log[x.applied]&joined != 0; x.applied++ {
		}
		n.known = max(n.known, x.applied)
		m.emit(&n, step{what: applied, a: int8(w)}, "")
	}
	if j := z.job - 1; j >= 0 && int(s.sent[j]) < m.cfg.Bounds.Sends && (m.view.at[z.applied].open&(1<<j) != 0 || !m.on(IntentFirst)) {
		n := *s
		n.flying[j]++
		n.sent[j]++
		m.emit(&n, step{what: sent, a: int8(w), b: j}, "")
	}
}
