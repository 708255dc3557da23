package merge

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/varvelog/varve/testenv/seeded"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// load is a journal's traffic for the simulation of a Planner.
type traffic struct {
	name       string
	partitions int
	classes    int
	skew       float64 // 0: all partitions get the same; else the n-th one gets 1/n^skew
	perDay     int64   // bytes in all
	total      int64   // bytes in all
	// The most at the end.
	amplification float64
	puts          float64 // a GiB
	extents       int     // in a partition, but for own segments of OwnBytes
}

const gib = 1 << 30

var traffics = []traffic{
	{name: "one partition", partitions: 1, classes: 1, perDay: 100 * gib, total: 50 * gib, amplification: 1.1, puts: 20, extents: 2},
	{name: "200 partitions", partitions: 200, classes: 3, perDay: 100 * gib, total: 60 * gib, amplification: 2.1, puts: 60, extents: 60},
	{name: "200 partitions, slowly", partitions: 200, classes: 1, perDay: 2 * gib, total: 60 * gib, amplification: 2.5, puts: 100, extents: 60},
	{name: "zipf", partitions: 1000, classes: 2, skew: 1, perDay: 50 * gib, total: 40 * gib, amplification: 2.5, puts: 80, extents: 400},
	{name: "2,000 partitions", partitions: 2000, classes: 1, perDay: 10 * gib, total: 30 * gib, amplification: 2.5, puts: 300, extents: 100},
	{name: "10,000 partitions of a trickle", partitions: 10_000, classes: 1, perDay: gib, total: 6 * gib, amplification: 2.5, puts: 40, extents: 80},
}

// planned simulates a Planner with the sizes of extents alone.
type planned struct {
	traffic
	p        *Planner
	rng      *rand.Rand
	now      time.Time
	parts    []Partition
	seq, ids uint64
	put, get int
	written  int64
	ingested int64
}

func (s *planned) id() (id segment.ID) {
	s.ids++
	binary.BigEndian.PutUint64(id[8:], s.ids)
	return id
}

func newPlanned(t traffic, seed uint64) *planned {
	s := &planned{traffic: t, p: NewPlanner(Config{}), rng: rand.New(rand.NewPCG(seed, 0)), now: time.UnixMilli(1e12)}
	for range t.partitions {
		s.parts = append(s.parts, Partition{Key: partlog.Key{Topic: s.id()}, Class: fmt.Sprint(s.rng.IntN(t.classes))})
	}
	return s
}

// ingest appends bytes to all partitions.
func (s *planned) ingest(bytes int64, weights []float64, sum float64) {
	s.seq += 8
	for i := range s.parts {
		p := &s.parts[i]
		n := int64(float64(bytes) * weights[i] / sum * (0.5 + s.rng.Float64()))
		if n == 0 {
			continue
		}
		p.Ingested, p.Pending, p.Stable = p.Ingested+n, p.Pending+n, p.Stable+n // an offset is a byte
		s.ingested += n
		if p.First == 0 {
			p.First = s.seq
		}
	}
}

// next is the next job.
func (s *planned) next() *Job {
	s.p.Begin(s.seq, s.now)
	for i := range s.parts {
		s.p.Add(&s.parts[i])
	}
	return s.p.Next()
}

// work carries jobs out until there is none.
func (s *planned) work(t *testing.T) {
	for n := 0; ; n++ {
		j := s.next()
		if j == nil {
			return
		}
		if n > 1000 {
			t.Fatalf("no end of jobs, the last one is of level %d with %d pieces", j.Level, len(j.Pieces))
		}
		s.do(t, j)
		s.p.Done(j)
	}
}

func (s *planned) do(t *testing.T, j *Job) {
	var gather []*gathered
	byKey := map[partlog.Key]*Partition{}
	for i := range s.parts {
		byKey[s.parts[i].Key] = &s.parts[i]
	}
	read := int64(0)
	if j.Level == 1 {
		share := min(1, float64(256*mib)/float64(s.p.Debt().Bytes))
		for _, r := range j.Ranges {
			x := byKey[r.Key]
			n := int64(float64(x.Pending) * share)
			if share == 1 || x.Pending < 100 {
				n = x.Pending
			}
			g := &gathered{Key: r.Key, topic: Topic{Class: x.Class}, from: x.From, to: x.From + n, data: x.From}
			g.fill(n)
			gather, read = append(gather, g), read+n
			if x.From, x.Pending = x.From+n, x.Pending-n; x.Pending == 0 {
				x.First = 0
			}
		}
	}
	for _, piece := range j.Pieces {
		x := byKey[piece.Key]
		g := &gathered{Key: piece.Key, topic: Topic{Class: x.Class}, from: piece.Extents[0].Base, to: piece.Extents[len(piece.Extents)-1].Last + 1, data: piece.Extents[0].Base}
		g.fill(length(piece.Extents))
		gather, read = append(gather, g), read+g.bytes
		var left []partlog.Extent
		for _, e := range x.Merged {
			if e.Last < g.from || e.Base >= g.to {
				left = append(left, e)
			}
		}
		x.Merged = left
	}
	if read > 256*mib+int64(s.partitions) {
		t.Fatalf("a job of level %d reads %d bytes", j.Level, read)
	}
	s.commit(byKey, arrange(gather, j.Own, s.p.cfg.ObjectBytes, s.p.cfg.ObjectBytes))
}

// fill gives it bytes in chunks of a MiB.
func (p *gathered) fill(n int64) {
	p.bytes = n
	for at := int64(0); at < n; at += mib {
		c := chunk{length: uint32(min(mib, n-at)), covers: p.from + min(at+mib, n)}
		p.chunks = append(p.chunks, c)
	}
}

func (s *planned) commit(byKey map[partlog.Key]*Partition, outputs []output) {
	for _, o := range outputs {
		s.put++
		name := segment.SharedSegment(1, s.id())
		for _, part := range o.parts {
			if o.own {
				name = segment.OwnSegment(part.Topic, 0, part.from, name.Object)
			}
			n := part.length()
			s.written += n
			x := byKey[part.Key]
			at := 0
			for at < len(x.Merged) && x.Merged[at].Base < part.from {
				at++
			}
			e := partlog.Extent{Object: name, Base: part.from, Last: part.to - 1, Length: uint32(n), BuiltMs: s.now.UnixMilli()}
			x.Merged = append(x.Merged[:at], append([]partlog.Extent{e}, x.Merged[at:]...)...)
		}
	}
}

func TestPlannerKeepsAmplificationAndRequestsLow(t *testing.T) {
	seed := seeded.Seed(t)
	for _, tr := range traffics {
		t.Run(tr.name, func(t *testing.T) {
			s := newPlanned(tr, seed)
			var sum float64
			weights := make([]float64, tr.partitions)
			for i := range weights {
				weights[i] = 1
				for range int(tr.skew) {
					weights[i] /= float64(i + 1)
				}
				sum += weights[i]
			}
			const step = 128 * mib
			for s.ingested < tr.total {
				s.now = s.now.Add(time.Duration(float64(step) / float64(tr.perDay) * float64(24*time.Hour)))
				s.ingest(step, weights, sum)
				s.work(t)
			}
			s.check(t, seed)
		})
	}
}

func (s *planned) check(t *testing.T, seed uint64) {
	extents, gibs, most := 0, float64(s.ingested)/gib, 0
	for i := range s.parts {
		p := &s.parts[i]
		extents += len(p.Merged)
		next, small := int64(0), 0
		for _, e := range p.Merged {
			if s.p.small(&e) {
				small++
			}
			if e.Base != next {
				t.Fatalf("extent from %d on, the one before ends at %d", e.Base, next)
			}
			next = e.Last + 1
		}
		if next != p.From {
			t.Fatalf("extents end at %d, merged up to %d", next, p.From)
		}
		most = max(most, small)
	}
	amplification, puts := float64(s.written)/float64(s.ingested), float64(s.put)/gibs
	t.Logf("amplification %.2f, %.1f PUTs a GiB, %d extents, of which %d are small in one partition", amplification, puts, extents, most)
	if amplification > s.amplification || puts > s.puts || most > s.extents {
		t.Errorf("seed %d: want at most %.1f, %.0f and %d", seed, s.amplification, s.puts, s.extents)
	}
}

// The amplification is that of a leadership, also when the leader before has left much.
func TestAmplificationIsRightAfterARestart(t *testing.T) {
	s := newPlanned(traffic{partitions: 100, classes: 1}, seeded.Seed(t))
	weights, sum := evenly(100)
	for range 20 {
		s.ingest(200*mib, weights, sum)
		s.work(t)
	}
	s.ingest(4*gib, weights, sum)
	s.p, s.written = NewPlanner(Config{}), 0
	for {
		j := s.next()
		if debt := s.p.Debt(); s.written > 0 {
			if a := float64(s.written) / float64(debt.Done); a < 0.05 || a > 2.5 {
				t.Fatalf("%d bytes written for %d that were done: %.1f", s.written, debt.Done, a)
			}
		}
		if j == nil {
			return
		}
		s.do(t, j)
		s.p.Done(j)
	}
}

// mostExtents is how many extents a partition has at most.
func mostExtents(s *planned) (most int) {
	for i := range s.parts {
		most = max(most, len(s.parts[i].Merged))
	}
	return most
}

func evenly(n int) (weights []float64, sum float64) {
	weights = make([]float64, n)
	for i := range weights {
		weights[i] = 1
	}
	return weights, float64(n)
}

// A leader that takes over much that is not merged has a credit for it: partitions get own
// segments, although nothing more comes.
func TestPlannerJoinsWhatTheLeaderBeforeLeft(t *testing.T) {
	s := newPlanned(traffic{partitions: 100, classes: 1}, seeded.Seed(t))
	weights, sum := evenly(100)
	s.ingest(8*gib, weights, sum)
	s.work(t)
	if most := mostExtents(s); most > 20 {
		t.Errorf("a partition of about 80 MiB has %d extents", most)
	}
}

// While much of a journal waits, four jobs of five merge it, and the fifth one joins extents,
// once there are some to join. If there are many small extents, the two take turns.
func TestPlannerMergesTheJournalFirst(t *testing.T) {
	for _, c := range []struct{ maxExtents, row int }{{400_000, 4}, {100, 1}} {
		s := newPlanned(traffic{partitions: 100, classes: 1}, seeded.Seed(t))
		s.p.cfg.MaxExtents = c.maxExtents
		weights, sum := evenly(100)
		s.ingest(40*gib, weights, sum)
		for row, joins := 0, 0; joins < 10; { // later all may be joined
			j := s.next()
			switch {
			case j == nil || s.p.Debt().Bytes < behindJobs*s.p.cfg.DueBytes:
				t.Fatalf("%d joins while much of the journal waits", joins)
			case j.Level == 1:
				row++
			case joins > 0 && row != c.row:
				t.Fatalf("a join after %d jobs of the journal, want %d", row, c.row)
			default:
				row, joins = 0, joins+1
			}
			s.do(t, j)
			s.p.Done(j)
		}
	}
}

// The second job of a leadership joins extents although much of the journal waits, or leaders
// that die soon would never join any.
func TestANewLeaderJoinsSoon(t *testing.T) {
	s := newPlanned(traffic{partitions: 100, classes: 1}, seeded.Seed(t))
	weights, sum := evenly(100)
	s.ingest(8*gib, weights, sum)
	for range 20 {
		s.ingest(2*gib, weights, sum)
		s.p = NewPlanner(Config{MaxExtents: 400_000})
		for i, join := range []bool{false, true, false, false, false, false, true} {
			j := s.next()
			if s.p.Debt().Bytes < behindJobs*s.p.cfg.DueBytes {
				t.Fatal("not much of the journal waits")
			}
			if s.do(t, j); mostExtents(s) > 50 && join != (j.Level > 1) {
				t.Fatalf("job %d is of level %d", i, j.Level)
			}
			s.p.Done(j)
		}
	}
}

// Small extents are joined after a day without more, even if they are few.
func TestPlannerJoinsExtentsOfAPartitionThatIsQuiet(t *testing.T) {
	s := newPlanned(traffic{partitions: 100, classes: 1}, seeded.Seed(t))
	weights, sum := evenly(100)
	for range 5 {
		s.ingest(400*mib, weights, sum)
		s.work(t)
	}
	s.now = s.now.Add(2 * time.Hour) // all is old enough to be merged
	s.work(t)
	before := mostExtents(s)
	s.now = s.now.Add(25 * time.Hour)
	s.work(t)
	if after := mostExtents(s); before < 5 || after > 1 {
		t.Errorf("partitions have up to %d extents, and %d after a day", before, after)
	}
}
