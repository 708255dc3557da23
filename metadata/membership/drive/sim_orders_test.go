package drive

import (
	"errors"
	"time"

	"github.com/varvelog/varve/metadata"
)

// order has an operator type a command for a node; the answer may be a refusal.
func (w *world) order(id int32, state metadata.NodeState) (err error) {
	c := w.controller()
	if c == nil {
		return metadata.ErrNotController
	}
	l := c.lives[0]
	entries, err := l.controller.SetNode(id, state)
	if err != nil || len(entries) == 0 {
		return err
	}
	w.Logf("%v node %d is to be %v", w.Elapsed(), id, state)
	l.propose(entries, func(error) {})
	return nil
}

// rolling: each node in turn leaves, ends and starts again. No journal is taken by force.
func rolling(w *world) {
	if !w.ready() {
		return
	}
	if w.Chance(0.3) {
		for i := range w.folders {
			w.bucket.slow[w.host(i+1).name] = w.Between(0, 150*time.Millisecond)
		}
	}
	for i := range w.folders {
		r := w.host(i + 1).runner
		r.drive.Leave()
		if !w.reaches("left", 30*time.Second, func() string { return w.leavesAll(r) }) {
			return
		}
		r.kill()
		w.pass(w.Between(time.Second, 5*time.Second))
		w.start(r.folder, r.host)
		if !w.reaches("at rest after a restart", 30*time.Second, w.settled) {
			return
		}
	}
	w.reaches("all at home after a rolling restart", 30*time.Minute, w.balanced)
	w.bound(3 * time.Second)
	for e, f := range w.fences {
		if o := w.bucket.journals[e.journal][w.seqs[e]-1]; o != f {
			w.Fail("fence of epoch %d is not at its seq", e.epoch)
		}
		if seq := w.seqs[e]; e.journal > 0 && e.epoch > 1 && f.at > time.Minute && w.bucket.journals[e.journal][seq-2].kind != end {
			w.Fail("journal %d was taken by force in epoch %d", e.journal, e.epoch)
		}
	}
}

// leavesAll returns why a node that is to end cannot end yet.
func (w *world) leavesAll(r *runner) string {
	if r.state.Cluster().Node(r.folder.id).State != metadata.StateLeaving {
		return "it does not leave yet"
	}
	for _, id := range sortedKeys(r.lives) {
		if r.lives[id].role == leads || r.lives[id].role == ending {
			return "it leads still"
		}
	}
	return ""
}

// typed: an operator drains, undrains and removes nodes in any order, and nodes die and start.
func typed(w *world) {
	if !w.ready() {
		return
	}
	for range 6 + w.Rand.Intn(10) {
		id := int32(1 + w.Rand.Intn(len(w.folders)))
		state := []metadata.NodeState{metadata.StateDrained, metadata.StateDrained, metadata.StateServing, metadata.StateRemoved}[w.Rand.Intn(4)]
		err := w.order(id, state)
		switch {
		case err == nil && state == metadata.StateRemoved:
			w.Count("node removed")
		case errors.Is(err, metadata.ErrLastServing):
			w.Count("last node kept")
		}
		if w.Chance(0.2) {
			if all := w.runners(); len(all) > 1 {
				r := all[w.Rand.Intn(len(all))]
				r.kill()
				w.After(w.Between(time.Second, 30*time.Second), "start again", func() { w.start(r.folder, r.host) })
			}
		}
		w.pass(w.Between(100*time.Millisecond, 30*time.Second))
	}
	w.pass(40 * time.Second)
	for i, f := range w.folders {
		w.start(f, w.host(i+1))
	}
	w.reaches("at rest after all orders", 5*time.Minute, w.settled)
	if c := w.controller(); c != nil {
		w.reaches("a controller that serves", 5*time.Minute, func() string {
			if c := w.controller(); c == nil || c.state.Cluster().Node(c.folder.id).State != metadata.StateServing {
				return "none"
			}
			return ""
		})
	}
	w.pass(time.Minute)
	w.watch()
	w.pass(time.Minute)
}

// random: everything goes wrong now and then, and then no more.
func random(w *world) {
	w.shape.Loss, w.shape.Late = []float64{0, 0.01, 0.1}[w.Rand.Intn(3)], []float64{0, 0.02}[w.Rand.Intn(2)]
	w.startAll()
	faults := 0
	for w.Elapsed() < w.shape.Long && w.Err() == nil {
		w.fault()
		faults++
		w.pass(w.Between(time.Second, 30*time.Second))
	}
	w.shape.Loss, w.shape.Late, w.bucket.away = 0, 0, false
	clear(w.bucket.cut)
	clear(w.bucket.slow)
	clear(w.network.cut)
	w.pass(40 * time.Second) // the last frozen process goes on
	for i, f := range w.folders {
		w.host(i + 1).vanished = false
		w.start(f, w.host(i+1))
	}
	w.reaches("at rest after everything", 10*time.Minute, w.settled)
	for id, n := range w.moves {
		if n > 3*faults+5 {
			w.Fail("journal %d changed its node %d times for %d faults", id, n, faults)
		}
	}
	w.watch()
	w.pass(20 * time.Second)
	if w.count[0] > 0 {
		w.Fail("journal 0 is fenced, and nothing is wrong")
	}
}

// fault lets something go wrong, for a while.
func (w *world) fault() {
	i := 1 + w.Rand.Intn(len(w.folders))
	h, d := w.host(i), w.Between(time.Second, time.Minute)
	switch w.Rand.Intn(7) {
	case 0, 1:
		if h.runner != nil {
			h.runner.kill()
		}
		w.After(d, "start again", func() { w.start(w.folders[i-1], h) })
	case 2:
		h.vanish()
		w.After(d, "start again", func() { h.vanished = false; w.start(w.folders[i-1], h) })
	case 3:
		if h.runner != nil {
			h.runner.p.Freeze(min(d, 35*time.Second))
		}
	case 4:
		w.isolate(h.name, true)
		w.After(d, "heal", func() { w.isolate(h.name, false) })
	case 5:
		w.bucket.cut[h.name] = true
		w.After(d, "heal", func() { w.bucket.cut[h.name] = false })
	case 6:
		w.bucket.away = true
		w.After(min(d, 20*time.Second), "heal", func() { w.bucket.away = false })
	}
}
