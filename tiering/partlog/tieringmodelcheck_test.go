package partlog

import (
	"maps"
	"reflect"
	"slices"

	"github.com/varvelog/varve/tiering/segment"
)

// check compares both states with the naive journal.
func (m *tierModel) check() {
	if m.plain.Hash() != m.l.Hash() {
		m.t.Fatal("the state that pages differs from the plain one")
	}
	m.checkGarbage()
	m.checkPages()
	m.checkBytes()
	seen := map[Key]bool{}
	m.plain.Survey(func(s *Survey) {
		seen[s.Key] = true
		p := m.parts[s.Key]
		if p == nil {
			m.t.Fatalf("partition %v did not leave the state", s.Key)
		}
		if s.Merged != p.merged || s.Freed != p.freed || s.View.Start != p.start || s.View.End != p.end || s.View.Dropped != p.dropped ||
			s.Cleaned != p.cleaned.Cleaned || s.CleanedMs != p.cleaned.TimeMs || s.TombstonesBelow != p.cleaned.TombstonesBelow {
			m.t.Fatalf("%+v, want %+v", s, p)
		}
		if !slices.Equal(s.Segments, p.below) {
			m.t.Fatalf("partition %v has %v, want %v", s.Key, s.Segments, p.below)
		}
		m.checkReads(s.Key, p)
	})
	if len(seen) != len(m.parts) {
		m.t.Fatalf("partitions %v, want %v", seen, m.parts)
	}
}

// checkGarbage holds that no object is forgotten, and none that an extent names is garbage.
func (m *tierModel) checkGarbage() {
	for _, s := range []*State{m.plain, m.l.State} {
		waiting := map[segment.ID]segment.Name{}
		for _, u := range s.Unreleased() {
			waiting[u.Name.Object] = u.Name
		}
		garbage := map[segment.ID]Garbage{}
		seqs := map[uint64]bool{}
		for _, g := range s.Garbage() {
			if q := g.Seqs; q.First > 0 {
				for seq := q.First; seq <= q.Last; seq++ {
					seqs[seq] = true
				}
				continue
			}
			garbage[g.Name.Object] = g
			if m.named(g.Name) {
				m.t.Fatalf("%v is garbage, and an extent names it", g.Name)
			}
		}
		if !maps.Equal(waiting, m.waiting) || !maps.Equal(garbage, m.garbage) {
			m.t.Fatalf("waiting %v, garbage %v, want %v and %v", waiting, garbage, m.waiting, m.garbage)
		}
		m.checkSeqs(s, seqs)
		intents := map[segment.ID]map[segment.ID]IntentObject{}
		for _, in := range s.Intents() {
			intents[in.Job] = map[segment.ID]IntentObject{}
			for _, o := range in.Objects {
				intents[in.Job][o.Name.Object] = o
			}
		}
		if !reflect.DeepEqual(intents, m.intents) {
			m.t.Fatalf("intents %v, want %v", intents, m.intents)
		}
	}
}

func (m *tierModel) checkSeqs(s *State, seqs map[uint64]bool) {
	for seq, garbage := range m.seqs {
		if garbage != seqs[seq] {
			m.t.Fatalf("seq %d is garbage: %t, want %t", seq, seqs[seq], garbage)
		}
	}
	judged, kept := s.Judged()
	if judged != m.judged || len(kept) != len(m.kept) {
		m.t.Fatalf("judged %v, kept %v, want %v and %v", judged, kept, m.judged, m.kept)
	}
	for seq, named := range kept {
		if named != m.named(segment.DataObject(testJournal, seq)) {
			m.t.Fatalf("an extent names seq %d: %t", seq, named)
		}
	}
}

// checkReads looks every offset and some times up in both states.
func (m *tierModel) checkReads(k Key, p *naivePart) {
	live := slices.DeleteFunc(slices.Clone(p.below), func(x Extent) bool { return x.Last < p.start })
	for _, x := range p.refs {
		if x.Last >= max(p.merged, p.start) {
			live = append(live, x)
		}
	}
	for _, l := range []library{{State: m.plain}, m.l.library} {
		for offset := p.start; offset < p.end; offset++ {
			first := slices.IndexFunc(live, func(x Extent) bool { return x.Last >= offset })
			want := live[first:min(len(live), first+3)]
			if got := l.find(m.t, k, offset, 3); !slices.Equal(got, want) {
				m.t.Fatalf("offset %d of %v is in %+v, want %+v", offset, k, got, want)
			}
		}
		for ts := int64(-1); ts < 32; ts += 4 {
			after := p.start - 1
			for _, x := range live {
				if x.MaxTimestamp < ts && x.MaxTimestamp >= 0 {
					continue
				}
				got, ok := l.findTime(m.t, k, after, ts)
				if !ok || got != x {
					m.t.Fatalf("time %d after %d is in %+v, %t, want %+v", ts, after, got, ok, x)
				}
				after = x.Last
			}
			if got, ok := l.findTime(m.t, k, after, ts); ok {
				m.t.Fatalf("time %d after %d is in %+v, want none", ts, after, got)
			}
		}
		var newest *Extent
		for i := range live {
			if live[i].MaxTimestamp >= 0 && (newest == nil || live[i].MaxTimestamp > newest.MaxTimestamp) {
				newest = &live[i]
			}
		}
		if got, ok := l.newest(m.t, k, p.start); ok != (newest != nil) || ok && got != *newest {
			m.t.Fatalf("the newest is %+v, %t, want %+v", got, ok, newest)
		}
	}
}
