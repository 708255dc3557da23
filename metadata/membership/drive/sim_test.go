package drive

import (
	"flag"
	"math/rand"
	"slices"
	"testing"
	"time"

	"github.com/varvelog/varve/testenv/sim"
)

// This simulation runs the real Driver with its cores, the real state of journal 0 and the
// real controller's plans on virtual time. Journals, the bucket and the network are stand-ins.
// Each seed plays one scene.

type shape struct {
	Scene    string
	Nodes    int
	Journals uint32
	Pace     time.Duration // between two writes of a data journal
	Loss     float64       // of messages
	Late     float64       // PUTs that arrive after their time limit
	Load     uint64
	Long     time.Duration
}

var scene = flag.String("scene", "", "the one scene that the simulation plays")

func drawShape(r *rand.Rand) shape {
	names := sortedKeys(scenes)
	s := shape{
		Scene: names[r.Intn(len(names))], Nodes: 2 + r.Intn(3), Journals: uint32(1 + r.Intn(6)),
		Pace: []time.Duration{100 * time.Millisecond, 250 * time.Millisecond, time.Second}[r.Intn(3)],
		Load: uint64(r.Intn(1 << 22)), Long: time.Duration(1+r.Intn(5)) * time.Minute,
	}
	if r.Intn(6) == 0 {
		s.Scene = "random"
	}
	if *scene != "" {
		s.Scene = *scene
	}
	return s
}

var lessShape = []func(shape) (shape, bool){
	func(s shape) (shape, bool) { can := s.Nodes > 1; s.Nodes--; return s, can },
	func(s shape) (shape, bool) { can := s.Journals > 1; s.Journals--; return s, can },
	func(s shape) (shape, bool) { can := s.Long > time.Minute; s.Long /= 2; return s, can },
}

var simulation = sim.Shape[shape]{Draw: drawShape, Run: simulate, Less: lessShape, Must: []string{
	"freeze", "stands", "forged claim", "own leadership to be proved", "handed over", "resigned", "yielded", "lost journal 0 to a fence", "clone refused", "wrong address refused", "poisoned",
	"assigned: first", "assigned: fenced", "assigned: silent", "assigned: blocked", "assigned: home", "assigned: share", "assigned: drained",
	"assigned: leaving", "assigned: withdrawn", "assigned: parked",
	"fenced: no", "fenced: refused", "fenced: replaced", "fenced: silent", "no-op", "late PUT",
}, Rare: []string{"assigned: tried again", "node removed", "last node kept"}}

func TestSimulation(t *testing.T) { sim.Run(t, simulation, 2000, 200) }

func TestSimulationReplaysExactly(t *testing.T) {
	if err := sim.Replays(simulation, 20); err != nil {
		t.Fatal(err)
	}
}

func simulate(w *sim.World, s shape) {
	play := newWorld(w, s)
	w.Count("scene: " + s.Scene)
	play.forgeries()
	scenes[s.Scene](play)
}

// forgeries go on for the whole scene.
func (w *world) forgeries() {
	w.After(w.Between(time.Second, 20*time.Second), "forge", func() {
		if all := w.runners(); len(all) > 0 {
			r := all[w.Rand.Intn(len(all))]
			r.do(func() {
				if r.proved {
					w.forge(r)
				}
			})
		}
		w.forgeries()
	})
}

// ready starts a cluster and waits until it is at rest.
func (w *world) ready() bool {
	w.startAll()
	if !w.reaches("cluster ready", 30*time.Second, w.settled) || !w.reaches("all at home", 10*time.Minute, w.balanced) {
		return false
	}
	if !w.reaches("all leaders known", 5*time.Second, w.unknownLeader) {
		return false
	}
	w.pass(time.Minute)
	w.watch()
	return w.Err() == nil
}

// balanced: the journals are at home, and the homes are shared.
func (w *world) balanced() string {
	if why := w.home(); why != "" {
		return why
	}
	homes := map[string]int{}
	for _, r := range w.runners() {
		homes[string(r.folder.id[:])] = 0
	}
	for _, a := range w.controller().state.Cluster().Assignments {
		homes[string(a.Home[:])]++
	}
	var counts []int
	for _, name := range sortedKeys(homes) {
		counts = append(counts, homes[name])
	}
	if slices.Max(counts)-slices.Min(counts) > 1 {
		return "the homes are not shared"
	}
	return ""
}

// still fails if a journal was fenced more often than that since watch.
func (w *world) still(most int) {
	for id, n := range w.count {
		if n > most {
			w.Fail("journal %d was fenced %d times, at most %d", id, n, most)
		}
	}
}

// bound fails if a data journal stood still for longer than that since watch.
func (w *world) bound(most time.Duration) {
	for _, id := range sortedKeys(w.commits) {
		gap := max(w.gaps[id], w.Elapsed()-w.commits[id])
		if gap > most+w.shape.Pace {
			w.Fail("journal %d stood still for %v, at most %v", id, gap, most)
		}
	}
}
