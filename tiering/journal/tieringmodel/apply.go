package tieringmodel

// apply adds the object at log[i:] to a, and returns where the next one begins.
func (m *segments) apply(a *sum, s *state, log []entry, i int) int {
	n := i + 1
	for n < len(log) && log[n]&joined != 0 {
		n++
	}
	if n == i+1 {
		m.entry(a, s, log[i], int8(i))
		return n
	}
	for k := intent; k <= fence; k++ {
		want := k
		if !m.on(OrderWithin) {
			want = fence + 1 - k
		}
		for q := i; q < n; q++ {
			if log[q].kind() == want {
				m.entry(a, s, log[q], int8(i))
			}
		}
	}
	return n
}

// entry applies the entry e, which lies in the object at key i.
func (m *segments) entry(a *sum, s *state, e entry, i int8) {
	switch e.kind() {
	case intent:
		a.open |= 1 << e.a()
	case deleteRecords:
		p := e.a()
		if a.over[p] != 0 || e.b() > a.end[p] {
			a.broken = "DeleteRecords that does not match"
			return
		}
		for ; a.start[p] < e.b(); a.start[p]++ {
			a.place[p][a.start[p]] = 0
		}
	case result:
		m.result(a, s, e.a(), e.b())
	case abandon:
		x := uint8(1) << s.jobs[e.a()].object
		a.open &^= 1 << e.a()
		if m.on(AbandonLists) && (a.placed&x == 0 || !m.on(PlacedStays)) {
			m.ended(a, x, m.on(AllTwice))
		}
	case release:
		if m.full(a) {
			a.broken = "a Release beyond the limit"
		}
		a.freed |= 1 << e.a()
		a.list(1<<e.a(), m.on(AllTwice))
	case releaseJournal:
		a.released |= e.mask()
	case swept:
		x := uint8(1) << e.a()
		a.garbage, a.table, a.twice = a.garbage&^x, a.table&^x, a.twice&^x
	case records:
		for p := range a.end {
			if a.over[p] == 0 {
				a.place[p][a.end[p]], a.key[p][a.end[p]] = inJournal, i
				a.end[p]++
			}
		}
	case drop:
		a.over[e.a()] = dropped
		a.place[e.a()] = [maxRecords]int8{}
	case leave:
		a.over[e.a()] = left
		m.forget(a, s, func(j *job) bool { return j.parts == 1<<e.a() })
	case fence:
		m.fence(a, s)
	}
}

// ended lists an id of an intent that has ended.
func (m *segments) ended(a *sum, x uint8, twice bool) {
	if !m.on(LimitSparesEnded) && m.full(a) {
		a.broken = "an id of an ended intent is beyond the limit"
	}
	a.list(x, twice)
}

// forget drops merged objects that no extent names, and no list, from the state.
func (m *segments) forget(a *sum, s *state, of func(*job) bool) {
	for j := int8(0); j < s.begun; j++ {
		if x := uint8(1) << s.jobs[j].object; a.table&x != 0 && a.garbage&x == 0 && of(&s.jobs[j]) && !a.refers(s, s.jobs[j].object) {
			a.table &^= x
		}
	}
}

func (m *segments) fence(a *sum, s *state) {
	for j := int8(0); j < s.begun && m.on(FenceEndsIntents); j++ {
		if a.open>>j&1 == 0 {
			continue
		}
		a.open &^= 1 << j
		if x := uint8(1) << s.jobs[j].object; a.placed&x == 0 || !m.on(PlacedStays) {
			m.ended(a, x, m.on(FencedTwice))
		}
	}
	if !m.on(KeepUntilReleased) { // only the leadership before knew them
		m.forget(a, s, func(j *job) bool { return j.parts != 3 })
	}
}

// result puts the outputs of job n in place, for the partitions of mask.
func (m *segments) result(a *sum, s *state, n, mask int8) {
	j := &s.jobs[n]
	x := uint8(1) << j.object
	if a.open&(1<<n) == 0 {
		a.broken = violated("Result of job %d without an intent", n)
		return
	}
	clipped := false
	for p := int8(0); p < 2 && a.broken == ""; p++ {
		if mask>>p&1 != 0 {
			clipped = m.output(a, s, n, p) || clipped
		}
	}
	if a.broken != "" {
		return
	}
	if a.done[n] |= mask; a.done[n] == j.parts {
		a.open &^= 1 << n
	}
	switch {
	case clipped && (!m.on(ClipByObject) || !m.on(OpenNotGarbage) && !a.refers(s, j.object)):
		a.list(x, m.on(AllTwice))
	case a.open&(1<<n) == 0 && a.placed&x == 0:
		m.ended(a, x, m.on(AllTwice))
	}
}

// output puts one output of job n in place. It reports whether all of it was clipped.
func (m *segments) output(a *sum, s *state, n, p int8) bool {
	j := &s.jobs[n]
	from, to, low := j.from[p], j.to[p], max(j.from[p], a.start[p])
	switch {
	case a.over[p] == left && !m.on(ClipOfTheGone):
		a.broken = violated("Result of job %d for a partition that is unknown", n)
		return false
	case !m.on(ClipHolds):
		a.start[p], low = min(a.start[p], from), from
		a.over[p] = 0
	case a.over[p] != 0 || a.start[p] >= to:
		if !m.on(Clip) {
			a.broken = violated("Result of job %d for deleted records", n)
		}
		return true
	case a.start[p] > from && !m.on(Clip), j.first && max(a.merged[p], a.start[p]) != low:
		a.broken = violated("Result of job %d from %d, M is %d, the start %d", n, from, a.merged[p], a.start[p])
		return false
	}
	for o := low; o < to; o++ {
		if at := a.place[p][o]; m.on(ClipHolds) && (o >= a.end[p] || (at == inJournal) != j.first || at == 0) {
			a.broken = violated("Result of job %d does not match at %d", n, o)
			return false
		}
		if j.first && j.damaged>>a.key[p][o]&1 != 0 {
			continue
		}
		a.place[p][o] = inMerged + n
		a.placed |= 1 << j.object
		a.table |= 1 << j.object
	}
	if j.first {
		a.merged[p] = max(a.merged[p], to)
	}
	return false
}
