package ingest

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/varvelog/varve/testenv/seeded"
	"github.com/varvelog/varve/tiering/journal"
)

// clientele is the shape of a random run of the policy: who writes, on which store.
type clientele struct {
	Producers  []population
	Unawaited  int           // batches with acks=1 a second
	Asks       bool          // for the end, again and again
	PUT        time.Duration // how long one takes
	Slow       float64       // of PUTs, how many take five times as long
	Budget     float64       // PUTs a second; 0: no limit
	UsedUp     bool          // the budget, at the begin
	FlushBytes int
	Lasts      time.Duration
}

func drawClientele(seed int64) clientele {
	r := rand.New(rand.NewPCG(uint64(seed), 0))
	upTo := func(d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d))) }
	s := clientele{
		PUT:    time.Duration(1<<r.IntN(10)) * 300 * time.Microsecond,
		Slow:   []float64{0, 0, 0.1}[r.IntN(3)],
		Budget: []float64{0, 0, 1, 4}[r.IntN(4)], UsedUp: r.IntN(2) == 0, Asks: r.IntN(4) == 0,
		FlushBytes: []int{20_000, 1 << 18, 1 << 18}[r.IntN(3)], Lasts: 500*time.Millisecond + upTo(time.Second),
	}
	if r.IntN(2) == 0 {
		s.Unawaited = 1 + r.IntN(200)
	}
	for range 1 + r.IntN(3) {
		s.Producers = append(s.Producers, population{
			producers: 1 + r.IntN(6), window: 1 + r.IntN(5), size: []int{100, 1000, 8 << 10}[r.IntN(3)],
			fill: upTo(4 * time.Millisecond), split: upTo(2 * s.PUT),
		})
	}
	return s
}

// judged is a model that checks each decision of the policy.
type judged struct {
	*model
	clientele
	began  time.Time
	small  int // objects below cheapBytes
	forced int // of these, for records that waited for an interval, or for an entry
}

func runPolicy(t *seeded.T, s clientele) {
	j := &judged{model: newModel(t, s.PUT, s.Budget), clientele: s}
	j.random = t.Rand
	j.put = func(int) time.Duration {
		if t.Rand.Float64() < s.Slow {
			return 5 * s.PUT
		}
		return s.PUT
	}
	j.c.flusher.flushBytes, j.began = s.FlushBytes, j.clock
	if s.UsedUp {
		j.c.flusher.puts.from = j.clock
	}
	j.proposed, j.progressed = j.judgeObject, j.judgeWait
	for _, p := range s.Producers {
		p.start(j.model)
	}
	if s.Unawaited > 0 {
		j.openLoop(AcksLeader, s.Unawaited, 300)
	}
	if s.Asks {
		j.askAgain()
	}
	j.run(s.Lasts)
	t.Events = j.puts
	if j.bytes == 0 && s.Lasts > 10*s.PUT {
		t.Errorf("nothing was acknowledged in %v", s.Lasts)
	}
}

// judgeObject looks at an object before it is sent.
func (j *judged) judgeObject(o *journal.Object) {
	f, bytes := &j.c.flusher, int64(0)
	before := f.underWay()
	if own, ok := f.inFlight[o.Footer.Header.Seq]; ok {
		bytes, before = own.batches, before-own.batches
	}
	old := j.clock.Sub(j.oldest) >= f.interval || j.clock.Sub(j.flushed) >= f.interval || len(o.Entries) > 0
	full := int64(f.buffer.bytes)+bytes >= int64(f.flushBytes)
	if bytes*dueShare < before && !old && !full {
		j.t.Errorf("an object of %d bytes is sent next to %d that are under way", bytes, before)
	}
	if j.Budget == 0 || bytes >= cheapBytes {
		return
	}
	if j.small++; old || full {
		j.forced++
	}
	most := int(j.Budget*j.clock.Sub(j.began).Seconds()) + 2
	if !j.UsedUp {
		most += int(j.Budget * putsSaved.Seconds())
	}
	if j.small-j.forced > most {
		j.t.Errorf("%d small objects for clients in %v", j.small-j.forced, j.clock.Sub(j.began))
	}
}

// judgeWait looks at the clients that still wait when everything due was done.
func (j *judged) judgeWait() {
	f := &j.c.flusher
	if j.Budget > 0 || len(f.inFlight) == simWindow {
		return
	}
	first, last := j.waits()
	switch {
	case first.IsZero():
	case len(f.inFlight) == 0 && j.clock.Sub(first) >= flushLinger:
		j.t.Errorf("a client waits for %v, and nothing is under way", j.clock.Sub(first))
	case j.clock.Sub(last) >= flushLinger && int64(f.buffer.bytes)*dueShare >= f.underWay():
		j.t.Errorf("clients have sent nothing for %v and wait for %d bytes, with %d under way", j.clock.Sub(last), f.buffer.bytes, f.underWay())
	}
}

var policies = seeded.Test[clientele]{
	Draw: drawClientele, Run: runPolicy,
	Less: []func(clientele) (clientele, bool){
		func(s clientele) (clientele, bool) {
			can := len(s.Producers) > 1
			s.Producers = s.Producers[:1]
			return s, can
		},
		func(s clientele) (clientele, bool) { can := s.Unawaited > 0; s.Unawaited = 0; return s, can },
		func(s clientele) (clientele, bool) { can := s.Asks; s.Asks = false; return s, can },
		func(s clientele) (clientele, bool) { can := s.Slow > 0; s.Slow = 0; return s, can },
		func(s clientele) (clientele, bool) {
			can := s.Lasts > 100*time.Millisecond
			s.Lasts /= 2
			return s, can
		},
	},
}

// TestFlushPolicy: with any clients, none waits where a flush would help it, few objects
// are small, and the budget of PUTs is kept.
func TestFlushPolicy(t *testing.T) { seeded.Run(t, policies, 150, 20) }
