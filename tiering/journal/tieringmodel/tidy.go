package tieringmodel

// undisturbed are the bounds within which a new leadership tidies up.
func undisturbed(b Bounds, epoch int8) Bounds {
	return Bounds{
		Length: maxEntries, Window: b.Window, Limit: b.Limit, NoLeak: b.NoLeak,
		Jobs: maxJobs, Releases: 99, JournalReleases: 99, Swepts: 99, Sends: 99, Epochs: int(epoch),
	}
}

// tidied lets a new leadership tidy up from s: PUTs land, everything is merged,
// released, deleted, swept. Debt or garbage that is left then can never go.
func (m *segments) tidied(before *state) string {
	s := *before
	s.fence()
	s.leaders[1] = leader{}
	calm := &segments{cfg: m.cfg}
	calm.cfg.Bounds = undisturbed(m.cfg.Bounds, s.leaders[0].epoch)
	for {
		best, broken, next := 100, "", state{}
		calm.look(&s)
		calm.emit = func(n *state, st step, violation string) {
			if rank := calm.rank(&s, n, st); rank < best {
				best, broken, next = rank, violation, *n
			}
		}
		calm.all(&s)
		if broken != "" {
			return "while tidying up: " + broken
		}
		if best == 100 {
			break
		}
		s = next
	}
	if calm.look(&s); int(s.length)+2 >= maxEntries || calm.view.at[s.length].broken != "" {
		return "" // no room to say
	}
	return leftOver(&s, &calm.view.at[s.length])
}

// rank orders the steps of a leader that tidies up; 100 is a step that it does not take.
func (m *segments) rank(s, n *state, st step) int {
	switch st.what {
	case landed:
		return 1
	case deletedMerged:
		return 2
	case committed:
		return 3
	case applied:
		return 4
	case readBack:
		return 5
	case sent:
		if s.bucket[s.jobs[st.b].object] == 0 && s.flying[st.b] == 0 {
			return 6
		}
	case appended:
		switch {
		case st.a == result:
			return 10
		case st.a == intent && !n.jobs[n.begun-1].first:
			return 100
		}
		return 20 + int(st.a)
	}
	return 100
}

// leftOver finds debt and garbage.
func leftOver(s *state, a *sum) string {
	for p := range a.end {
		if a.over[p] == 0 && max(a.merged[p], a.start[p]) < a.end[p] && s.begun < maxJobs {
			return violated("MERGE DEBT STAYS after tidying up: %c, M is %d, the end %d", 'A'+p, a.merged[p], a.end[p])
		}
		if a.over[p] == dropped {
			return violated("DROPPED PARTITION STAYS after tidying up: %c", 'A'+p)
		}
	}
	for x := int8(0); x < s.begun; x++ {
		if (s.bucket[x] != 0 || (a.table|a.garbage)>>x&1 != 0) && !a.refers(s, x) {
			return violated("GARBAGE STAYS after tidying up: object %d", x)
		}
	}
	for i := int8(0); i < s.length; i++ {
		if s.log[i].kind() == records && s.log[i]&joined == 0 && !a.needs(i) && a.released>>i&1 == 0 {
			return violated("GARBAGE STAYS after tidying up: journal object %d", i)
		}
	}
	return ""
}
