package drive

import (
	"fmt"
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/testenv/sim"
	"github.com/varvelog/varve/tiering/segment"
)

type epochOf struct {
	journal uint32
	epoch   uint32
}

// world is everything there is in one simulation.
type world struct {
	*sim.World
	shape   shape
	bucket  *bucket
	network *network
	hosts   map[string]*host
	folders []*folder
	wrong   map[string]string // advertised instead of the name of a host
	starts  int
	objects int
	lagging bool

	fences   map[epochOf]*object
	seqs     map[epochOf]uint64 // of the fences
	leaders  map[epochOf]*runner
	last     map[uint32]ledBy
	moves    map[uint32]int           // changes of node between fences
	forced   map[uint32]int           // fences that follow no end entry
	count    map[uint32]int           // fences
	commits  map[uint32]time.Duration // the last commit of each data journal
	gaps     map[uint32]time.Duration // the longest time between two, since watch
	silentOn map[uint32]bool          // journals without traffic
	led0     time.Duration            // when a controller last began
	plans    map[string]int           // changes that controllers planned, by kind and reason
	poison   uint32                   // a journal that kills its leaders
}

func newWorld(w *sim.World, s shape) *world {
	all := &world{World: w, shape: s, hosts: map[string]*host{}, wrong: map[string]string{},
		fences: map[epochOf]*object{}, seqs: map[epochOf]uint64{}, leaders: map[epochOf]*runner{}, last: map[uint32]ledBy{}, moves: map[uint32]int{}, forced: map[uint32]int{}, count: map[uint32]int{},
		commits: map[uint32]time.Duration{}, gaps: map[uint32]time.Duration{}, silentOn: map[uint32]bool{}, plans: map[string]int{}}
	all.bucket = newBucket(all)
	all.network = &network{w: all, cut: map[way]bool{}, reject: map[way]bool{}}
	for i := range s.Nodes {
		all.addHost(i + 1)
		all.addFolder(metadata.RoleIngest)
	}
	return all
}

func (w *world) addHost(i int) *host {
	h := &host{name: fmt.Sprintf("h%d", i)}
	w.hosts[h.name] = h
	return h
}

func (w *world) addFolder(roles metadata.Roles) *folder {
	f := &folder{id: segment.ID{0xa0, 15: byte(len(w.folders) + 1)}, roles: roles}
	w.folders = append(w.folders, f)
	return f
}

func (w *world) host(i int) *host { return w.hosts[fmt.Sprintf("h%d", i)] }

// startAll starts each folder on its host.
func (w *world) startAll() {
	for i, f := range w.folders {
		w.start(f, w.host(i+1))
	}
}

func (w *world) runners() (all []*runner) {
	for _, name := range sortedKeys(w.hosts) {
		if r := w.hosts[name].runner; r != nil {
			all = append(all, r)
		}
	}
	return all
}

// stored checks each fence: an epoch has one.
func (w *world) stored(journal uint32, seq uint64, o *object) {
	if o.kind != fence {
		return
	}
	e := epochOf{journal, o.epoch}
	if w.fences[e] != nil {
		w.Fail("two fences of epoch %d of journal %d", o.epoch, journal)
	}
	if before := w.fences[epochOf{journal, o.epoch - 1}]; before != nil && before.node != o.node {
		w.moves[journal]++
	}
	if seq > 1 && w.bucket.journals[journal][seq-2].kind != end {
		w.forced[journal]++
	}
	w.fences[e], w.seqs[e] = o, seq
	w.count[journal]++
	w.Logf("%v fence of journal %d, epoch %d by %x", w.Elapsed(), journal, o.epoch, o.node[15])
}

// led checks that no other process believes that it leads the epoch.
func (w *world) led(l *life) {
	e := epochOf{l.journal, l.epoch}
	if other := w.leaders[e]; other != nil {
		w.Fail("%s and %s lead epoch %d of journal %d", other.p.Name, l.r.p.Name, l.epoch, l.journal)
	}
	if f := w.fences[e]; f == nil || f.start != l.r.run.Start {
		w.Fail("%s leads epoch %d of journal %d, which is not its own", l.r.p.Name, l.epoch, l.journal)
	}
	w.leaders[e] = l.r
	w.last[l.journal] = ledBy{l.r, w.Elapsed()}
	if l.journal == 0 {
		w.led0 = w.Elapsed()
	} else if l.journal == w.poison {
		w.Count("poisoned")
		l.r.after(time.Second, "poisoned", l.r.kill)
	}
	w.Logf("%v %s leads journal %d, epoch %d", w.Elapsed(), l.r.p.Name, l.journal, l.epoch)
}

func (w *world) deposed(l *life) {
	w.Logf("%v %s leads journal %d no more", w.Elapsed(), l.r.p.Name, l.journal)
}

func (w *world) wantsWrite(l *life) bool {
	return !w.silentOn[l.journal] && w.Elapsed()-w.commits[l.journal] >= w.shape.Pace
}

func (w *world) committed(l *life) {
	if l.journal == 0 {
		return
	}
	if last, ok := w.commits[l.journal]; ok {
		w.gaps[l.journal] = max(w.gaps[l.journal], w.Elapsed()-last)
	}
	w.commits[l.journal] = w.Elapsed()
}

// watch measures gaps and counts of fences from now on.
func (w *world) watch() {
	clear(w.gaps)
	clear(w.count)
	clear(w.moves)
	clear(w.forced)
	clear(w.plans)
	for id := range w.commits {
		w.commits[id] = w.Elapsed()
	}
}

func (w *world) note(r *runner, c metadata.Change) {
	switch c := c.(type) {
	case metadata.JournalAssigned:
		w.plans["assigned: "+c.Why.String()]++
		w.Count("assigned: " + c.Why.String())
		w.Logf("%v %s assigns journal %d to %x, home %x: %v, moves %d, deaths %d", w.Elapsed(), r.p.Name, c.Journal, c.Node[15], c.Home[15], c.Why, c.Moves, c.Deaths)
	case metadata.NodeFenced:
		w.plans["fenced: "+c.Fence.String()]++
		w.Count("fenced: " + c.Fence.String())
		w.Logf("%v %s fences %x: %v", w.Elapsed(), r.p.Name, c.Node[15], c.Fence)
	case metadata.NoOp:
		w.plans["no-op"]++
		w.Count("no-op")
	}
}

// controller returns the process that leads journal 0 for real: by its newest fence.
func (w *world) controller() *runner {
	for _, r := range w.runners() {
		l := r.lives[0]
		if l != nil && l.controller != nil && l.role == leads && l.ready && uint32(w.newest(0)) == l.epoch {
			return r
		}
	}
	return nil
}

func (w *world) newest(journal uint32) (epoch uint32) {
	for e := range w.fences {
		if e.journal == journal {
			epoch = max(epoch, e.epoch)
		}
	}
	return epoch
}

// ledBy is who last began to lead a journal, and when.
type ledBy struct {
	r  *runner
	at time.Duration
}

func (w *world) newestLeader(journal uint32) ledBy { return w.last[journal] }

// unknown returns a journal whose leader a node does not know, or "".
func (w *world) unknownLeader() string {
	for _, r := range w.runners() {
		for id := range uint32(len(r.state.Cluster().Assignments)) + 1 {
			if k := r.drive.Leader(id); k.Node != w.last[id].r.folder.id {
				return fmt.Sprintf("%s does not know who leads journal %d", r.p.Name, id)
			}
		}
	}
	return ""
}

// leader returns the process that leads a data journal for real.
func (w *world) leader(journal uint32) *runner {
	r := w.leaders[epochOf{journal, w.newest(journal)}]
	if r == nil || r.p.Dead() || r.lives[journal] == nil || r.lives[journal].role != leads {
		return nil
	}
	return r
}

// settled returns why the cluster is not at rest, or "".
func (w *world) settled() string {
	c := w.controller()
	if c == nil {
		return "no controller"
	}
	state := c.state.Cluster()
	for _, r := range w.runners() {
		n := state.Node(r.folder.id)
		if r.registered(); r.refuse == nil && (n == nil || n.Run.Start != r.run.Start || !n.Lives()) {
			return fmt.Sprintf("%s is %+v", r.p.Name, n)
		}
	}
	if len(state.Assignments) == 0 {
		return "no journals"
	}
	for _, a := range state.Assignments {
		n := state.Node(a.Node)
		if l := w.leader(a.Journal); l == nil || n == nil || !n.Serves() || l.folder.id != a.Node {
			return fmt.Sprintf("journal %d is assigned to %x", a.Journal, a.Node[15])
		}
	}
	return ""
}

// home reports whether each journal is at home, too.
func (w *world) home() string {
	if why := w.settled(); why != "" {
		return why
	}
	for _, a := range w.controller().state.Cluster().Assignments {
		if a.Node != a.Home {
			return fmt.Sprintf("journal %d is not at home", a.Journal)
		}
	}
	return ""
}

// reaches runs until a condition holds, or fails.
func (w *world) reaches(what string, limit time.Duration, why func() string) bool {
	begin := w.Elapsed()
	for w.Elapsed()-begin < limit && w.Err() == nil {
		if w.Run(20*time.Millisecond, nil); why() == "" {
			w.Logf("%v: %s after %v", w.Elapsed(), what, w.Elapsed()-begin)
			return true
		}
	}
	if w.Err() == nil {
		w.Fail("%s: not within %v: %s", what, limit, why())
	}
	return false
}

func (w *world) pass(d time.Duration) { w.Run(d, nil) }

// isolate cuts a host off from the others, in both directions.
func (w *world) isolate(name string, cut bool) {
	for _, other := range sortedKeys(w.hosts) {
		if other != name {
			w.network.cut[way{name, other}], w.network.cut[way{other, name}] = cut, cut
		}
	}
}

// vanish ends a host without a word.
func (h *host) vanish() {
	h.vanished = true
	if h.runner != nil {
		h.runner.kill()
	}
}
