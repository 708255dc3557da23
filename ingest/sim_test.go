package ingest

import (
	"math/rand"
	"testing"
	"time"

	"github.com/varvelog/varve/testenv/sim"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/merge"
)

// This simulation runs the real append side, journal, checkpoints and replay of
// a data journal against a simulated store, disk, network and clock.
// sim_truth_test.go has its checks.

// shape is the configuration of one seed. Times are means.
type shape struct {
	Nodes, Producers, Consumers int
	Chaos                       time.Duration // how long things go wrong
	Faults                      sim.Faults
	Crash, Freeze, Outage       time.Duration // between two of them; 0: never
	Wipe                        float64       // of crashes, how many lose the disk
	Stays                       float64       // of leaderships, after how many the process follows on
	HandOver                    time.Duration // between two; 0: never
	Graceful                    float64       // of ends, how many flush first
	DiskError, DiskFull         float64       // of syncs
	Topics                      time.Duration // between two creations or deletions
	Pace                        time.Duration // between two batches of a producer
	FlushInterval               time.Duration
	FlushBytes, MaxMemory       int
	PUTsPerSecond               float64
	Checkpoints                 journal.CheckpointPolicy
	Sweeps                      time.Duration // of the data below the floor, without the time that is due to those who read there
	Committers                  int           // clients of a coordinator
	Deletions                   time.Duration // of records, between two
	Paged                       int           // producers that change before they go to pages
	Upkeep                      upkeepShape
}

// upkeepShape is how a journal is tidied.
type upkeepShape struct {
	Pause   time.Duration // between two rounds; 0: it is not
	Merge   merge.Config
	Carry   time.Duration // after which entries get an object of their own
	Skew    time.Duration // of the clocks of nodes, at most
	Compact bool          // half of the topics are compacted
	Keys    int64         // memory for the keys of a pass
	Expire  bool          // two of three topics keep records for a time only, or only so many bytes
	Sweep   bool          // released objects are deleted
	Twice   bool          // a drained leadership has also deleted them a second time
	Paged   int           // refs of a page of the index, at least
	Rots    rotKind
	Rot     time.Duration // between two objects that rot; 0: never
	Refusal time.Duration // between two times in which deletes are refused; 0: never
	Grace   time.Duration // after which tombstones and released objects go
}

func (s *shape) upkeep() bool { return s.Upkeep.Pause > 0 }

func drawShape(r *rand.Rand) shape {
	sometimes := func(p, most float64) float64 {
		if r.Float64() >= p {
			return 0
		}
		return most * r.Float64()
	}
	maybe := func(p float64, lo, hi time.Duration) time.Duration {
		if r.Float64() >= p {
			return 0
		}
		return lo + time.Duration(r.Int63n(int64(hi-lo)))
	}
	s := shape{
		Nodes: 1 + r.Intn(3), Producers: 1 + r.Intn(4), Consumers: 1 + r.Intn(2),
		Chaos: 10*time.Second + time.Duration(r.Intn(50))*time.Second,
		Faults: sim.Faults{
			Lost: sometimes(0.5, 0.2), ReplyLost: sometimes(0.6, 0.3), Late: sometimes(0.6, 0.3), Resent: sometimes(0.3, 0.3),
			Refused: sometimes(0.4, 0.3), Slow: sometimes(0.4, 0.2), Read: sometimes(0.4, 0.2), List: sometimes(0.5, 0.5), Damage: sometimes(0.3, 0.3),
		},
		Crash: maybe(0.8, 3*time.Second, 30*time.Second), Freeze: maybe(0.4, 5*time.Second, 30*time.Second),
		Outage: maybe(0.3, 10*time.Second, 40*time.Second),
		Wipe:   sometimes(0.3, 0.3), Graceful: sometimes(0.5, 0.8),
		DiskError: sometimes(0.2, 0.01), DiskFull: sometimes(0.2, 0.02),
		Topics: maybe(0.6, 2*time.Second, 20*time.Second), Pace: 50*time.Millisecond + time.Duration(r.Intn(600))*time.Millisecond,
		FlushInterval: []time.Duration{20, 100, 250, 1000}[r.Intn(4)] * time.Millisecond,
		FlushBytes:    []int{1, 300, 1000, 1 << 20}[r.Intn(4)], MaxMemory: []int{1, 500, 2000, 1 << 20, 1 << 20}[r.Intn(5)],
		Checkpoints: journal.CheckpointPolicy{Every: []uint64{0, 3, 6, 15}[r.Intn(4)], Most: 2 + r.Intn(3), Behind: 1 + r.Intn(2)},
	}
	if s.Checkpoints.Every > 0 {
		s.Sweeps = maybe(0.6, time.Second, 10*time.Second)
	}
	s.Deletions = maybe(0.5, 500*time.Millisecond, 10*time.Second)
	s.PUTsPerSecond = []float64{0, 0, 0.01, 4}[r.Intn(4)]
	s.Stays = []float64{0, 0.5, 1}[r.Intn(3)]
	s.HandOver = maybe(0.3, time.Second, 20*time.Second)
	s.Paged = []int{1, 2, 1000}[s.Producers%3]
	return s
}

// lessShape is the steps of shrinking, one after the other.
var lessShape = []func(shape) (shape, bool){
	func(s shape) (shape, bool) { can := s.Chaos > time.Second; s.Chaos /= 2; return s, can },
	func(s shape) (shape, bool) { can := s.Nodes > 1; s.Nodes--; return s, can },
	func(s shape) (shape, bool) { can := s.Producers > 1; s.Producers--; return s, can },
	func(s shape) (shape, bool) { can := s.Consumers > 0; s.Consumers--; return s, can },
	func(s shape) (shape, bool) { can := s.Topics > 0; s.Topics = 0; return s, can },
	func(s shape) (shape, bool) { can := s.Freeze > 0; s.Freeze = 0; return s, can },
	func(s shape) (shape, bool) { can := s.Outage > 0; s.Outage = 0; return s, can },
	func(s shape) (shape, bool) { can := s.Crash > 0; s.Crash = 0; return s, can },
	func(s shape) (shape, bool) { can := s.Stays > 0; s.Stays = 0; return s, can },
	func(s shape) (shape, bool) { can := s.HandOver > 0; s.HandOver = 0; return s, can },
	func(s shape) (shape, bool) { can := s.Sweeps > 0; s.Sweeps = 0; return s, can },
	func(s shape) (shape, bool) { can := s.Deletions > 0; s.Deletions = 0; return s, can },
	func(s shape) (shape, bool) { can := s.Upkeep.Rot > 0; s.Upkeep.Rot = 0; return s, can },
	func(s shape) (shape, bool) { can := s.Upkeep.Refusal > 0; s.Upkeep.Refusal = 0; return s, can },
	func(s shape) (shape, bool) { can := s.DiskError > 0; s.DiskError = 0; return s, can },
	func(s shape) (shape, bool) { can := s.DiskFull > 0; s.DiskFull = 0; return s, can },
	func(s shape) (shape, bool) {
		can := s.Checkpoints.Every > 0
		s.Checkpoints, s.Sweeps = journal.CheckpointPolicy{}, 0
		return s, can
	},
	func(s shape) (shape, bool) { can := s.Faults.Slow > 0; s.Faults.Slow = 0; return s, can },
	func(s shape) (shape, bool) { can := s.Faults.Read > 0; s.Faults.Read = 0; return s, can },
	func(s shape) (shape, bool) { can := s.Faults.Refused > 0; s.Faults.Refused = 0; return s, can },
	func(s shape) (shape, bool) { can := s.Faults.Late > 0; s.Faults.Late = 0; return s, can },
	func(s shape) (shape, bool) { can := s.Faults.Lost > 0; s.Faults.Lost = 0; return s, can },
}

var simulation = sim.Shape[shape]{
	Draw: drawShape, Run: simulate, Less: lessShape,
	Must: append([]string{
		"freeze", "crash", "disk lost", "disk error", "disk full", "unsynced records lost", "unsynced records kept",
		"gentle end", "led", "stalled", "records replayed", "records set aside", "checkpoint written", "checkpoint failed",
		"restored from a checkpoint", "restored producers from pages", "floor planned", "floor planned again", "floor moved", "floor not moved", "floor moved in spite of a take-over",
		"data deleted below the floor", "topic created", "topic deleted", "records deleted", "deletion out of range", "retry answered", "acks=1 promise",
		"asked for the end and waited", "asked for the end and not known",
		"ended: fenced", "asked and confirmed", "asked and deposed", "asked and not known",
		"followed on after a leadership", "stood again", "handed over", "hand-over taken back", "hand-over not taken back",
		"reported as sealed", "topic restored", "partition opened again", "report of a leader that is behind",
	}, sim.StoreFaults...),
	Rare: []string{"ended: below the floor"},
}

func TestSimulation(t *testing.T) { sim.Run(t, simulation, 2000, 200) }

func TestSimulationReplaysExactly(t *testing.T) {
	if err := sim.Replays(simulation, 10); err != nil {
		t.Fatal(err)
	}
}

// simulate lets things go wrong for a while, and then everything must drain.
func simulate(w *sim.World, s shape) {
	c := newCluster(w, s)
	c.begin()
	c.Run(s.Chaos, nil)
	c.calm()
	for _, f := range c.folders {
		c.drain(f)
	}
	if w.Err() == nil {
		c.stop()
		c.Run(20*time.Minute, nil) // the last late write has landed
		c.finalChecks()
	}
}
