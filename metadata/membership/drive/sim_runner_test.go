package drive

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/testenv/sim"
	"github.com/varvelog/varve/tiering/segment"
)

// folder is a data folder.
type folder struct {
	id    segment.ID
	roles metadata.Roles
	runs  int
	gone  bool // its process has read that it is removed
}

// runner is one run of a process with a data folder. It is the Env of its Driver.
type runner struct {
	w        *world
	folder   *folder
	host     *host
	run      metadata.Run // as advertised
	p        *sim.Process
	state    *metadata.State
	drive    *Driver
	lives    map[uint32]*life
	answered map[uint32]uint32 // the highest epoch that it answered with
	proved   bool              // journal 0 was read to its head once
	refuse   error             // why it is not registered
}

func (w *world) start(f *folder, h *host) *runner {
	if h.runner != nil || h.vanished || f.gone {
		return nil
	}
	f.runs++
	w.starts++
	r := &runner{w: w, folder: f, host: h, state: metadata.NewUpTo(metadata.LevelCluster), answered: map[uint32]uint32{}, lives: map[uint32]*life{}}
	r.p = w.NewProcess(fmt.Sprintf("%s.%d", h.name, f.runs))
	r.p.Skew = time.Duration(w.Rand.Intn(20)-10) * time.Hour
	r.run = h.run(segment.ID{0x5a, 14: byte(w.starts >> 8), 15: byte(w.starts)}, f.roles)
	if other := w.wrong[h.name]; other != "" {
		r.run.Listeners[0].Host = other
	}
	r.drive = New(Options{Node: f.id, Run: r.run, Pause: w.Between(0, time.Second)}, r)
	r.life(0)
	h.runner = r
	r.after(0, "tick", r.tick)
	return r
}

func (r *runner) life(journal uint32) *life {
	l := r.lives[journal]
	if l == nil {
		l = &life{r: r, journal: journal, next: 1}
		r.lives[journal] = l
		r.after(0, "follow", l.follow)
	}
	return l
}

func (r *runner) do(f func()) { r.p.Do(f) }

func (r *runner) after(d time.Duration, what string, f func()) { r.p.After(d, what, f) }

// kill ends the process. Its host may go on, or vanish with it.
func (r *runner) kill() {
	r.p.Kill()
	r.host.runner = nil
	r.w.network.broke(r)
}

func (r *runner) tick() {
	next := membership.TickEvery
	if r.w.lagging {
		next = r.w.Between(membership.TickEvery, 700*time.Millisecond)
	}
	r.after(next, "tick", r.tick)
	r.drive.Tick()
	if !r.proved {
		return
	}
	r.assigned()
	r.checkAnswers()
}

// assigned keeps a life for each journal that is assigned to the node.
func (r *runner) assigned() {
	for _, a := range r.state.Cluster().Assignments {
		if a.Number > 0 && a.Node == r.folder.id && r.registered() {
			r.life(a.Journal)
		}
	}
	for _, id := range sortedKeys(r.lives) {
		r.lives[id].act()
	}
}

func (r *runner) registered() bool {
	n := r.state.Cluster().Node(r.folder.id)
	if n == nil || n.Run.Start != r.run.Start {
		return false
	}
	r.refuse = nil
	return true
}

// applied: journal 0 has moved.
func (r *runner) applied() {
	if r.proved {
		r.drive.Applied(r.state.Cluster())
	}
}

// begin: journal 0 was read to its head.
func (r *runner) begin() {
	if !r.proved {
		r.proved = true
		r.drive.Begin(r.state.Cluster())
	}
}

// checkAnswers looks at the answers that the node would give a client.
func (r *runner) checkAnswers() {
	for id := range uint32(len(r.state.Cluster().Assignments)) + 1 {
		k := r.drive.Leader(id)
		if k.Epoch < r.answered[id] {
			r.w.Fail("%s answers epoch %d of journal %d, and answered %d", r.p.Name, k.Epoch, id, r.answered[id])
		}
		r.answered[id] = k.Epoch
		if k.Prove {
			r.w.Count("own leadership to be proved")
			r.life(id).prove()
		} else if now := r.w.newestLeader(id); k.Node == r.folder.id && now.r != nil && now.r != r && r.w.Elapsed()-now.at > proveAfter+time.Second {
			r.w.Fail("%s names itself for journal %d, which %s leads for %v", r.p.Name, id, now.r.p.Name, r.w.Elapsed()-now.at)
		}
		if f := r.w.fences[epochOf{id, k.Epoch}]; k.Epoch > 0 && (f == nil || !k.Node.IsZero() && f.node != k.Node) {
			r.w.Fail("%s answers that %s leads epoch %d of journal %d, which is not so", r.p.Name, k.Node, k.Epoch, id)
		}
	}
}

// proveAfter is how long a leader may name itself without a commit or a proof.
const proveAfter = 5 * time.Second

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
