package drive

import (
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/membership"
)

// stall: a process stands still for less time than evidence takes.
func stall(w *world) {
	if !w.ready() {
		return
	}
	for range 5 {
		r := w.runners()[w.Rand.Intn(len(w.runners()))]
		r.p.Freeze(w.Between(1500*time.Millisecond, 2800*time.Millisecond))
		w.pass(w.Between(4*time.Second, 8*time.Second))
	}
	w.still(0)
}

// split: the nodes are cut into two parts. The smaller one takes nothing that moves.
func split(w *world) {
	w.more(4 + w.Rand.Intn(2))
	w.shape.Journals = max(w.shape.Journals, uint32(len(w.folders)))
	if !w.ready() {
		return
	}
	few, part := (len(w.folders)-1)/2, map[string]bool{}
	if c := w.controller(); w.Chance(0.6) {
		part[c.host.name] = true
	}
	for _, r := range w.runners() {
		if len(part) < few {
			part[r.host.name] = true
		}
	}
	for _, a := range sortedKeys(w.hosts) {
		for _, b := range sortedKeys(w.hosts) {
			w.network.cut[way{a, b}] = part[a] != part[b]
		}
	}
	before := len(w.fences)
	w.pass(w.shape.Long)
	if w.Err() == nil && len(w.fences)-before > 2*len(w.commits)+2 {
		w.Fail("%d fences because of a split", len(w.fences)-before)
	}
	for e, f := range w.fences {
		owner := w.fences[epochOf{e.journal, e.epoch - 1}]
		if e.journal > 0 && f.at > w.Elapsed()-w.shape.Long && w.inPart(part, f) && owner != nil && !w.inPart(part, owner) {
			w.Fail("the smaller part takes journal %d, which moves", e.journal)
		}
	}
	clear(w.network.cut)
	w.reaches("all at home after a split", 30*time.Minute, w.balanced)
}

func (w *world) inPart(part map[string]bool, o *object) bool {
	for name, h := range w.hosts {
		if h.runner != nil && h.runner.folder.id == o.node {
			return part[name]
		}
	}
	return false
}

// pairCut: two nodes do not reach each other, and both reach the bucket.
func pairCut(w *world) {
	w.folders = w.folders[:2]
	if !w.ready() {
		return
	}
	w.isolate(w.host(1).name, true)
	w.pass(10 * time.Minute)
	w.still(0)
	w.isolate(w.host(1).name, false)
	w.reaches("at rest after a cut", time.Minute, w.settled)
}

// peerCut: one node does not reach the controller, and others reach both.
func peerCut(w *world) {
	w.more(3)
	if !w.ready() {
		return
	}
	a, b := w.controller().host.name, w.other().host.name
	w.network.cut[way{a, b}], w.network.cut[way{b, a}] = true, true
	w.pass(5 * time.Minute)
	if w.count[0] > 0 {
		w.Fail("a node stands for controller while others reach the controller")
	}
	w.moved(1)
	clear(w.network.cut)
	w.reaches("all at home after a cut from the controller", 30*time.Minute, w.balanced)
}

// rejected: a network rejects all connections from and to one node. The node and the others
// take each other for dead.
func rejected(w *world) {
	w.more(3)
	if !w.ready() {
		return
	}
	name := w.runners()[w.Rand.Intn(len(w.runners()))].host.name
	for _, other := range sortedKeys(w.hosts) {
		if other != name {
			w.network.reject[way{name, other}], w.network.reject[way{other, name}] = true, true
		}
	}
	for _, r := range w.runners() { // connections break
		for _, other := range w.folders {
			r.drive.Lost(other.id)
		}
	}
	w.pass(time.Minute)
	w.moved(4)
	w.pass(5 * time.Minute) // journals return to the homes that are well, the later the more they moved
	w.watch()
	w.pass(10 * time.Minute)
	w.still(0)
	clear(w.network.reject)
	w.reaches("all at home after rejections", 30*time.Minute, w.balanced)
}

// sickNodeJoins: a new node answers, and its journals' loops do nothing.
func sickNodeJoins(w *world) {
	w.shape.Journals = uint32(2*len(w.folders) + 2)
	if !w.ready() {
		return
	}
	w.addHost(90)
	r := w.start(w.addFolder(metadata.RoleIngest), w.hosts["h90"])
	for id := range w.shape.Journals {
		r.life(id + 1).hung = true
	}
	w.pass(10 * time.Minute)
	w.bound(time.Second)
	w.still(0)
	if w.plans["assigned: withdrawn"] == 0 {
		w.Fail("no assignment to a node that does not take its journals is withdrawn")
	}
}

// flapping: a node dies and comes back again and again.
func flapping(w *world) {
	w.more(3)
	if !w.ready() {
		return
	}
	f, h := w.folders[0], w.host(1)
	for range 15 {
		if h.runner != nil {
			h.runner.kill()
		}
		w.pass(5 * time.Second)
		w.start(f, h)
		w.pass(w.Between(45*time.Second, 55*time.Second))
	}
	w.moved(8)
}

// lockedKey: a leader vanishes in the middle of a PUT, and the store keeps the key locked.
func lockedKey(w *world) {
	w.more(3)
	if !w.ready() {
		return
	}
	r := w.other()
	for _, id := range sortedKeys(r.lives) {
		if id > 0 && r.lives[id].role == leads {
			w.bucket.locked[id] = w.Elapsed() + 32*time.Second
		}
	}
	r.host.vanish()
	w.pass(50 * time.Second)
	w.bound(40 * time.Second)
	w.moved(1)
}

// blindCandidate: the controller dies, and the next candidate does not reach the bucket.
func blindCandidate(w *world) {
	w.more(3)
	if !w.ready() {
		return
	}
	c := w.controller()
	var next *runner
	for _, r := range w.runners() {
		if id := r.state.Cluster().Node(r.folder.id).ID; r != c && (next == nil || id < next.state.Cluster().Node(next.folder.id).ID) {
			next = r
		}
	}
	at := w.Elapsed()
	w.bucket.cut[next.host.name] = true
	c.kill()
	w.pass(30 * time.Second)
	if took := w.led0 - at; took <= 0 || took > 6*time.Second {
		w.Fail("the next controller began after %v", took)
	}
}

// isolatedStranger: a node that was never registered reaches the bucket, and no other node.
func isolatedStranger(w *world) {
	if !w.ready() {
		return
	}
	w.addHost(90)
	w.isolate("h90", true)
	r := w.start(w.addFolder(metadata.RoleIngest), w.hosts["h90"])
	w.pass(10 * time.Minute)
	w.still(0)
	w.isolate("h90", false)
	w.reaches("registered after all", time.Minute, func() string {
		if !r.registered() {
			return "not registered"
		}
		return w.settled()
	})
}

// forge gives a node claims that are not true, or not any more, as announcements may be.
func (w *world) forge(r *runner) {
	id := uint32(w.Rand.Intn(int(w.shape.Journals) + 1))
	l := membership.Leader{Journal: id, Node: w.folders[w.Rand.Intn(len(w.folders))].id, Epoch: uint32(w.Rand.Intn(int(w.newest(id)) + 3))}
	if all := w.bucket.journals[id]; len(all) > 0 {
		l.Settled.Seq = uint64(1 + w.Rand.Intn(len(all)+1))
		if l.Settled.Seq <= uint64(len(all)) {
			o := all[l.Settled.Seq-1]
			l.Settled.Object = o.id
			if w.Chance(0.5) {
				l.Node, l.Epoch = o.node, o.epoch // perhaps of long ago
			}
		}
	}
	w.Count("forged claim")
	r.drive.Announced(l)
}
