package drive

import (
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/segment"
)

// scenes are the bad days of a cluster, and good ones.
var scenes = map[string]func(*world){
	"quiet":      quiet,
	"outage":     outage,
	"saturated":  saturated,
	"thrashing":  thrashing,
	"node dies":  nodeDies,
	"controller": controllerDies,
	"both die":   bothDie,
	"pair":       pairVanishes,
	"two vanish": twoVanish,
	"freeze":     freezes,
	"isolated":   isolated,
	"one way":    oneWay,
	"copy":       copyOfAFolder,
	"address":    wrongAddress,
	"typed":      typed,
	"cut off":    cutOffFromTheBucket,
	"slow":       slowForOne,
	"all lost":   allLost,
	"rolling":    rolling,
	"poison":     poisoned,
	"hung":       hungLoop,
	"joins":      nodeJoins,
	"random":     random,
	"stall":      stall,
	"rejected":   rejected,
	"split":      split,
	"pair cut":   pairCut,
	"peer cut":   peerCut,
	"sick":       sickNodeJoins,
	"flapping":   flapping,
	"locked":     lockedKey,
	"blind":      blindCandidate,
	"stranger":   isolatedStranger,
}

// quiet: while nothing is wrong, nothing moves, and an idle cluster writes nothing.
func quiet(w *world) {
	if !w.ready() {
		return
	}
	for id := range w.shape.Journals {
		w.silentOn[id+1] = true
	}
	w.pass(time.Second)
	before := len(w.bucket.journals[0])
	w.pass(w.shape.Long)
	w.still(0)
	if n := len(w.bucket.journals[0]) - before; n > 0 || len(w.plans) > 0 {
		w.Fail("%d entries of an idle cluster: %v", n, w.plans)
	}
}

// outage: the bucket is away from all, and comes back.
func outage(w *world) {
	if !w.ready() {
		return
	}
	w.bucket.away = true
	w.pass(2 * time.Minute)
	w.bucket.away = false
	w.pass(time.Minute)
	w.still(0)
	if len(w.plans) > 0 {
		w.Fail("planned because of an outage: %v", w.plans)
	}
	if why := w.settled(); why != "" {
		w.Fail("after an outage: %s", why)
	}
}

// saturated: all processors are busy, and processes stand still again and again.
func saturated(w *world) {
	if !w.ready() {
		return
	}
	w.stalls(2*time.Second, 2*time.Second)
	for id, n := range w.forced {
		if n > 1 {
			w.Fail("journal %d was taken %d times by force", id, n)
		}
	}
	w.reaches("at rest after saturation", time.Minute, w.settled)
}

// thrashing: processes do not come to work for longer than evidence takes.
func thrashing(w *world) {
	if !w.ready() {
		return
	}
	w.stalls(2900*time.Millisecond, 0)
	if n := w.plans["fenced: silent"]; n > 6 {
		w.Fail("%d nodes were fenced for silence", n)
	}
	w.reaches("at rest after thrashing", time.Minute, w.settled)
}

// stalls lets processes stand still again and again, for up to some time each, and work in
// between for some time at least.
func (w *world) stalls(most, least time.Duration) {
	w.lagging = true
	var stall func(r *runner)
	stall = func(r *runner) {
		if w.lagging && !r.p.Dead() {
			d := w.Between(100*time.Millisecond, most)
			r.p.Freeze(d)
			w.After(d+least+w.Between(0, 4*time.Second), "stall", func() { stall(r) })
		}
	}
	for _, r := range w.runners() {
		stall(r)
	}
	w.pass(6 * w.shape.Long)
	w.lagging = false
}

// other returns a process that is not the controller.
func (w *world) other() *runner {
	c := w.controller()
	var all []*runner
	for _, r := range w.runners() {
		if r != c {
			all = append(all, r)
		}
	}
	return all[w.Rand.Intn(len(all))]
}

func nodeDies(w *world) {
	if !w.ready() {
		return
	}
	r := w.other()
	r.kill()
	w.pass(20 * time.Second)
	w.bound(3 * time.Second)
	w.comeBack(r)
}

// comeBack starts the node of a dead process again, and waits until all is as before.
func (w *world) comeBack(dead ...*runner) {
	for _, r := range dead {
		r.host.vanished = false
		w.start(r.folder, r.host)
	}
	w.reaches("all at home again", 20*time.Minute, w.balanced)
	w.moved(1 + len(dead))
}

// moved fails if a journal went to another node more often than that since watch.
func (w *world) moved(most int) {
	for id, n := range w.moves {
		if id > 0 && n > most {
			w.Fail("journal %d changed its node %d times, at most %d", id, n, most)
		}
	}
}

func controllerDies(w *world) {
	if !w.ready() {
		return
	}
	r, at := w.controller(), w.Elapsed()
	if w.Chance(0.5) {
		for _, h := range sortedKeys(w.hosts) {
			w.bucket.slow[h] = w.Between(50*time.Millisecond, 200*time.Millisecond)
		}
	}
	r.kill()
	w.pass(20 * time.Second)
	if took := w.led0 - at; took <= 0 || took > 3*time.Second {
		w.Fail("the next controller began after %v", took)
	}
	if len(w.bucket.slow) == 0 {
		w.bound(4 * time.Second)
	}
	if n := w.count[0]; n != 1 {
		w.Fail("%d nodes took the place of one controller", n)
	}
	w.comeBack(r)
}

// bothDie: the controller, and the next candidate within a second.
func bothDie(w *world) {
	w.more(3)
	if !w.ready() {
		return
	}
	c := w.controller()
	c.kill()
	w.pass(w.Between(0, time.Second))
	next := w.runners()[0]
	next.kill()
	w.pass(30 * time.Second)
	w.bound(8 * time.Second)
	w.comeBack(c, next)
}

// more adds nodes until there are as many.
func (w *world) more(n int) {
	for len(w.folders) < n {
		w.addHost(len(w.folders) + 1)
		w.addFolder(metadata.RoleIngest)
	}
}

// pairVanishes: of two nodes one vanishes without a word, whatever it was.
func pairVanishes(w *world) {
	w.folders = w.folders[:2]
	if !w.ready() {
		return
	}
	r := w.runners()[w.Rand.Intn(2)]
	r.host.vanish()
	w.pass(30 * time.Second)
	w.bound(15 * time.Second)
	w.comeBack(r)
}

func twoVanish(w *world) {
	w.more(3)
	w.folders = w.folders[:3]
	if !w.ready() {
		return
	}
	all := w.runners()
	i := w.Rand.Intn(3)
	gone := []*runner{all[i], all[(i+1)%3]}
	gone[0].host.vanish()
	w.pass(w.Between(0, 100*time.Millisecond))
	gone[1].host.vanish()
	w.pass(30 * time.Second)
	w.bound(15 * time.Second)
	w.comeBack(gone...)
}

// freezes: a process is stopped, and goes on.
func freezes(w *world) {
	if !w.ready() {
		return
	}
	for range 1 + w.Rand.Intn(3) {
		r := w.runners()[w.Rand.Intn(len(w.runners()))]
		r.p.Freeze([]time.Duration{time.Second, 5 * time.Second, 35 * time.Second}[w.Rand.Intn(3)])
		w.pass(w.Between(time.Second, time.Minute))
	}
	w.pass(35 * time.Second)
	w.reaches("all at home after freezes", 30*time.Minute, w.balanced)
	w.moved(6)
}

// isolated: a node is cut off from the others for ten minutes, and reaches the bucket.
func isolated(w *world) {
	w.more(3)
	if !w.ready() {
		return
	}
	r := w.other()
	if w.Chance(0.3) {
		r = w.controller()
	}
	was := r == w.controller()
	w.isolate(r.host.name, true)
	w.pass(20 * time.Second)
	if !was && w.count[0] > 0 {
		w.Fail("a node that is cut off is noticed by the controller")
	}
	w.bound(5 * time.Second)
	w.watch()
	w.pass(10 * time.Minute)
	w.still(0)
	w.bound(time.Second)
	w.isolate(r.host.name, false)
	w.reaches("all at home after isolation", 30*time.Minute, w.balanced)
}

// oneWay: a node sends or receives nothing, or nothing from one other node.
func oneWay(w *world) {
	if !w.ready() {
		return
	}
	a, b := w.runners()[0], w.other()
	if a == b {
		a = w.controller()
	}
	switch w.Rand.Intn(3) {
	case 0:
		w.network.cut[way{a.host.name, b.host.name}] = true
	case 1:
		w.isolate(a.host.name, true)
		for _, name := range sortedKeys(w.hosts) {
			delete(w.network.cut, way{name, a.host.name})
		}
	case 2:
		w.isolate(a.host.name, true)
		for _, name := range sortedKeys(w.hosts) {
			delete(w.network.cut, way{a.host.name, name})
		}
	}
	w.pass(3 * time.Minute)
	w.moved(3)
	clear(w.network.cut)
	w.reaches("all at home after a cut in one direction", 30*time.Minute, w.balanced)
}

// copyOfAFolder: a process starts with a copy of a data folder that is in use.
func copyOfAFolder(w *world) {
	if w.Chance(0.3) {
		w.folders = w.folders[:1]
	}
	if !w.ready() {
		return
	}
	f := w.folders[w.Rand.Intn(len(w.folders))]
	h := w.addHost(90)
	c := w.start(&folder{id: f.id, roles: f.roles}, h)
	w.pass(time.Minute)
	w.still(0)
	if !c.p.Dead() && c.registered() {
		w.Fail("a copy is registered")
	}
	if c.p.Dead() {
		w.Count("clone refused")
	}
}

// wrongAddress: a node advertises an address where no process listens, or another node does.
func wrongAddress(w *world) {
	if !w.ready() {
		return
	}
	h := w.addHost(90)
	w.wrong[h.name] = []string{"nowhere", w.host(1).name, "h91"}[w.Rand.Intn(3)]
	w.addHost(91)
	r := w.start(&folder{id: segment.ID{0xa0, 15: 99}, roles: metadata.RoleIngest}, h)
	w.pass(10 * time.Minute)
	w.still(0)
	if r.registered() || r.refuse == nil {
		w.Fail("it is registered, or has no error: %v", r.refuse)
	}
}

// cutOffFromTheBucket: one node does not reach the bucket.
func cutOffFromTheBucket(w *world) {
	if !w.ready() {
		return
	}
	r := w.runners()[w.Rand.Intn(len(w.runners()))]
	led := w.controller() == r
	w.bucket.cut[r.host.name] = true
	w.pass(time.Minute)
	if led && w.controller() == r {
		w.Fail("a controller that cannot commit stays")
	}
	w.bound(25 * time.Second)
	w.bucket.cut[r.host.name] = false
	w.reaches("all at home after a cut from the bucket", 30*time.Minute, w.balanced)
	w.moved(4)
}

// slowForOne: the bucket is slow for one node.
func slowForOne(w *world) {
	if !w.ready() {
		return
	}
	r := w.runners()[w.Rand.Intn(len(w.runners()))]
	w.bucket.slow[r.host.name] = w.Between(100*time.Millisecond, 400*time.Millisecond)
	w.pass(w.shape.Long)
	w.still(0)
}

// allLost: all nodes and their disks are lost, and fresh ones start at once.
func allLost(w *world) {
	if !w.ready() {
		return
	}
	for _, r := range w.runners() {
		r.kill()
	}
	w.pass(w.Between(0, time.Minute))
	n := len(w.folders)
	for i := range n {
		w.start(w.addFolder(metadata.RoleIngest), w.host(i+1))
	}
	w.reaches("a controller of fresh nodes", 5*time.Second, func() string {
		if w.controller() == nil {
			return "none"
		}
		return ""
	})
	w.pass(20 * time.Second)
	w.reaches("at rest with fresh nodes", 30*time.Second, w.settled)
}
