package merge

import (
	"context"
	"testing"
	"time"

	"github.com/varvelog/varve/testenv/seeded"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// TestDamageModel damages sources for good and for a while, at random. Each of the former
// stays where it is, but not before an hour; all else is merged around it.
func TestDamageModel(t *testing.T) {
	seeded.Run(t, seeded.Test[struct{}]{Run: runDamage, Must: []string{"given up", "passed", "all ranges of an object"}}, 60, 20)
}

// damaged is a source that cannot be read from some time on.
type damaged struct {
	extent partlog.Extent
	since  time.Time
	until  time.Time // zero: for good
}

type damageRun struct {
	*world
	seeded  *seeded.T
	objects map[string]*damaged // missing ones, by key
	ranges  map[partlog.Key][]damaged
}

func runDamage(t *seeded.T, _ struct{}) {
	r := &damageRun{world: newWorld(t, 1+t.Rand.IntN(5), uint64(t.Seed)), seeded: t, objects: map[string]*damaged{}, ranges: map[partlog.Key][]damaged{}}
	r.fault = func(c mem.Call) mem.Action {
		if d := r.objects[c.Key]; d != nil && c.Op != objstore.OpCreate && (d.until.IsZero() || r.now.Before(d.until)) {
			return mem.Missing()
		}
		return mem.Action{}
	}
	r.lead()
	for range 12 {
		before := r.seq
		r.produce(0.8, 2, 200)
		if t.Rand.IntN(4) == 0 {
			r.damageSince(before)
		}
		r.now = r.now.Add(time.Duration(t.Rand.IntN(40)) * time.Minute)
		r.look()
	}
	for range 40 {
		r.now = r.now.Add(10 * time.Minute)
		r.look()
	}
	if t.Err() == nil {
		r.settled()
	}
	t.Events = int(r.seq)
}

// damageSince damages the last object, or one range of it.
func (r *damageRun) damageSince(seq uint64) {
	for _, k := range r.keys() {
		for _, e := range r.extents(k) {
			if e.Object.Kind != segment.KindData || e.Object.Seq <= seq {
				continue
			}
			d := damaged{extent: e, since: r.now}
			if r.rng.IntN(2) == 0 {
				b, _ := r.store.GetNow(e.Object.Key())
				b[int(e.Position)+r.rng.IntN(int(e.Length))] ^= 1
				r.store.PutNow(e.Object.Key(), b)
				r.ranges[k] = append(r.ranges[k], d)
				return
			}
			if r.rng.IntN(3) == 0 {
				d.until = r.now.Add(time.Duration(r.rng.IntN(50)) * time.Minute)
				r.seeded.Count("passed")
			}
			r.objects[e.Object.Key()] = &d
			return
		}
	}
}

// isDamaged returns the damage of an extent.
func (r *damageRun) isDamaged(k partlog.Key, e *partlog.Extent) *damaged {
	if d := r.objects[e.Object.Key()]; d != nil {
		return d
	}
	for i := range r.ranges[k] {
		if d := &r.ranges[k][i]; d.extent.Object == e.Object {
			return d
		}
	}
	return nil
}

// look runs jobs, and checks the ranges that they have left in place.
func (r *damageRun) look() {
	for range 20 {
		again, err := r.merger.Run(context.Background())
		if err != nil {
			r.seeded.Errorf("job: %v", err)
			return
		}
		if !again {
			break
		}
	}
	r.state.Survey(func(s *partlog.Survey) {
		for i := range s.Segments {
			e := &s.Segments[i]
			if e.Object.Kind != segment.KindData {
				continue
			}
			switch d := r.isDamaged(s.Key, e); {
			case d == nil || !d.until.IsZero():
				r.seeded.Errorf("offsets %d to %d of %v were given up, and can be read", e.Base, e.Last, s.Key)
			case r.now.Sub(d.since) < sourcePatience:
				r.seeded.Errorf("offsets %d to %d of %v were given up after %v", e.Base, e.Last, s.Key, r.now.Sub(d.since))
			default:
				r.seeded.Count("given up")
			}
		}
	})
}

// settled checks that all is merged but the damage, and that no record is lost.
func (r *damageRun) settled() {
	r.state.Survey(func(s *partlog.Survey) {
		if s.Merged != s.View.End {
			r.seeded.Errorf("%v is merged up to %d of %d", s.Key, s.Merged, s.View.End)
		}
		var got []string
		for _, e := range r.extents(s.Key) {
			if e.Object.Kind == segment.KindData {
				for _, text := range r.truth[s.Key] { // as it would be, were it not damaged
					if at := offsetOf(text); at >= e.Base && at <= e.Last {
						got = append(got, text)
					}
				}
				if _, whole := r.objects[e.Object.Key()]; whole && len(r.ends) > 1 {
					r.seeded.Count("all ranges of an object")
				}
				continue
			}
			b, _ := r.store.GetNow(e.Object.Key())
			got = append(got, recordsOf(r.t, b[e.Position:][:e.Length])...)
		}
		if want := r.truth[s.Key]; len(got) != len(want) {
			r.seeded.Errorf("%v has %d records of %d", s.Key, len(got), len(want))
		}
	})
}
