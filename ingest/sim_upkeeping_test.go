package ingest

import (
	"math/rand"
	"testing"
	"time"

	"github.com/varvelog/varve/testenv/sim"
	"github.com/varvelog/varve/tiering/merge"
)

// This is the simulation of sim_test.go with a journal that is tidied next to its leader,
// by the real Keeper and the real steps. Its thresholds are small, so that everything
// happens often. sim_archive_test.go has its checks.

func drawUpkeep(r *rand.Rand) shape {
	s := drawShape(r)
	s.Sweeps, s.PUTsPerSecond = 0, 0
	s.Chaos = 30*time.Second + time.Duration(r.Intn(40))*time.Second
	s.Pace /= 2
	if r.Intn(2) == 0 { // few faults, so that much is merged
		s.Faults, s.Crash, s.Outage = sim.Faults{ReplyLost: s.Faults.ReplyLost / 10, Damage: s.Faults.Damage / 5}, 3*s.Crash, 0
	}
	s.Checkpoints.Every = []uint64{3, 6, 15}[r.Intn(3)]
	own := int64(400 + r.Intn(1500))
	s.Upkeep = upkeepShape{
		Pause: []time.Duration{500, 2000}[r.Intn(2)] * time.Millisecond,
		Carry: []time.Duration{50, 500, 3000}[r.Intn(3)] * time.Millisecond,
		Skew:  []time.Duration{0, 0, time.Minute, 365 * 24 * time.Hour}[r.Intn(4)],
		Merge: merge.Config{
			JobBytes: own * int64(1+r.Intn(6)), JobTime: time.Duration(1+r.Intn(20)) * time.Second,
			DueBytes: int64(1 + r.Intn(600)), DueObjects: uint64(2 + r.Intn(15)), DueAge: time.Duration(1+r.Intn(20)) * time.Second,
			OwnBytes: own, SmallBytes: 1 + own/int64(1+r.Intn(8)), ObjectBytes: own * int64(1+r.Intn(4)),
			TidyAge: time.Duration(1+r.Intn(10)) * time.Second, TidyCount: 2 + r.Intn(3), MaxExtents: []int{0, 4, 20}[r.Intn(3)],
		},
	}
	s.Upkeep.Compact, s.Upkeep.Keys = r.Intn(2) == 0, []int64{1 << 10, 1 << 20}[r.Intn(2)]
	s.Upkeep.Expire = r.Intn(3) == 0
	s.Upkeep.Sweep, s.Upkeep.Twice = r.Intn(4) > 0, r.Intn(10) == 0
	s.Upkeep.Grace = []time.Duration{0, 0, 3 * time.Second}[r.Intn(3)]
	if m := &s.Upkeep.Merge; r.Intn(3) == 0 { // many small extents, which are joined before there are enough bytes
		own = int64(4000 + r.Intn(4000))
		m.OwnBytes, m.JobBytes, m.ObjectBytes, m.SmallBytes = own, own, 2*own, own/6
		m.DueBytes, m.DueObjects, m.TidyAge, m.TidyCount, m.MaxExtents = int64(1+r.Intn(150)), 2, time.Second, 4+r.Intn(2), 0
		s.Upkeep.Carry = 50 * time.Millisecond
	}
	if s.Producers*int(s.Chaos/s.Pace) > 2000 { // small jobs would take hours
		s.Upkeep.Carry = min(s.Upkeep.Carry, 500*time.Millisecond)
	}
	s.Upkeep.Paged = []int{2, 5, 64}[r.Intn(3)]
	if r.Intn(3) == 0 {
		s.Upkeep.Rot = 5*time.Second + time.Duration(r.Intn(40))*time.Second
		s.Upkeep.Rots = []rotKind{rotsPage, rotsCheckpoint, rotsSource, rotsMerged, rotsPage, rotsCheckpoint, rotsMerged}[r.Intn(7)]
	}
	if m := &s.Upkeep.Merge; s.Upkeep.Rots == rotsSource && s.Upkeep.Rot > 0 { // much is not merged when its turn comes
		m.DueBytes, m.DueObjects, m.DueAge, s.Checkpoints.Every = 1<<20, 1000, 20*time.Second, 3
	}
	if r.Intn(4) == 0 {
		s.Upkeep.Refusal = 10*time.Second + time.Duration(r.Intn(30))*time.Second
	}
	return s
}

var upkeepSimulation = sim.Shape[shape]{
	Draw: drawUpkeep, Run: simulate, Less: lessShape[:len(lessShape)-1],
	Must: []string{
		"merged, level 1", "merged, level 2", "result applied", "job abandoned", "step failed: merge",
		"folder for merging full", "output differed", "partition cleaned", "records expired", "release applied",
		"journal object deleted", "merged segment deleted", "deleted without a grace", "clock not believed",
		"topic purged", "topic created again", "partition dropped", "dropped partition left the state",
		"records deleted while a result was under way", "result clipped", "deposed leader uploads", "deposed leader deletes",
		"output arrives after its intent has ended", "rot: page", "rot: merged segment", "damage reported", "deletes refused",
		"deleted before merged", "looked up in a page", "page removed", "log with gaps read", "read a merged record", "read a record of the journal", "every offset served from a page",
	},
	Rare: []string{
		"merged, level 3", "second deletion", "output arrives after it was deleted", "rot: source", "damage gone around",
		"rot: checkpoint of the newest floor", "start without the newest floor",
		"looked up in a page that was removed",
		"object was gone", "object was gone for a follower that stood still",
	},
}

func TestUpkeepSimulation(t *testing.T) { sim.Run(t, upkeepSimulation, 2000, 100) }

func TestUpkeepSimulationReplaysExactly(t *testing.T) {
	if err := sim.Replays(upkeepSimulation, 10); err != nil {
		t.Fatal(err)
	}
}
