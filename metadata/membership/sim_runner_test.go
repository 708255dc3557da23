package membership

import (
	"errors"
	"fmt"
	"time"

	"github.com/varvelog/varve/metadata"
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

// runner is one run of a process with a data folder, with all its cores.
type runner struct {
	w        *world
	folder   *folder
	host     *host
	run      metadata.Run // as advertised
	p        *sim.Process
	state    *metadata.State
	judge    *Judge
	member   *Member
	view     *View
	lives    map[uint32]*life
	answered map[uint32]uint32 // the highest epoch that it answered with
	proved   bool              // journal 0 was read to its head once
	joinAt   time.Duration
	refuse   error // why it is not registered
	leaving  bool  // it was asked to end
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
	r.judge, r.view = NewJudge(f.id), NewView(f.id)
	r.member = NewMember(f.id, r.run, w.Between(0, time.Second))
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
	next := TickEvery
	if r.w.lagging {
		next = r.w.Between(TickEvery, 700*time.Millisecond)
	}
	r.after(next, "tick", r.tick)
	if !r.proved {
		return
	}
	r.judged(Tick{})
	r.membered(Tick{})
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
	return n != nil && n.Run.Start == r.run.Start
}

func (r *runner) judged(ev Event) {
	for _, a := range r.judge.Step(r.p.Now(), ev) {
		r.w.Trace(fmt.Sprintf("%s judge %T", r.p.Name, a))
		switch a := a.(type) {
		case Plan:
			r.plan(a.Changes)
		case Dial:
			r.dial(a, r.judged)
		case Look:
			r.look(a, r.judged)
		case Probe:
			r.probe(a)
		case Join:
			r.join(a)
		case Resign:
			r.w.Count("resigned")
			r.life(0).resign()
		case Yield:
			r.w.Count("yielded")
			r.life(0).handOver(a.To)
		}
	}
}

func (r *runner) membered(ev Event) {
	for _, a := range r.member.Step(r.p.Now(), ev) {
		r.w.Trace(fmt.Sprintf("%s member %T", r.p.Name, a))
		switch a := a.(type) {
		case Beat:
			r.beat(a.To)
		case Register:
			r.register(a.To)
		case Ask:
			r.ask(a)
		case Dial:
			r.dial(a, r.membered)
		case Look:
			r.look(a, r.membered)
		case Probe:
			r.w.bucket.probe(r, func(ok bool) { r.membered(Probed{a.Token, ok}) })
		case Stand:
			r.w.Count("stands")
			r.life(0).take()
		case Exit:
			r.folder.gone = errors.Is(a.Err, metadata.ErrRemovedNode)
			r.w.Count("process ends: " + a.Err.Error()[:12])
			r.kill()
		case Seek:
			r.judged(Seeking{})
		}
	}
}

func (r *runner) dial(a Dial, to func(Event)) {
	r.w.network.call(r, a.Node, a.Run, HandshakeLimit, func(_ *runner, answer func(any)) { answer(nil) },
		func(o Outcome, _ any) { to(Dialed{a.Token, o}) })
}

func (r *runner) look(a Look, to func(Event)) {
	r.w.bucket.look(r, a.Journal, func(head uint64, ok bool) { to(Looked{a.Journal, head, !ok}) })
}

// probe asks this node or another one to probe the store. A node that does not answer shows
// nothing about the store.
func (r *runner) probe(a Probe) {
	if a.Node == r.folder.id {
		r.w.bucket.probe(r, func(ok bool) { r.judged(Probed{a.Token, ok}) })
		return
	}
	n := r.state.Cluster().Node(a.Node)
	r.w.network.call(r, a.Node, n.Run, ProbeLimit+HandshakeLimit, func(to *runner, answer func(any)) {
		r.w.bucket.probe(to, func(ok bool) { answer(ok) })
	}, func(o Outcome, v any) {
		if o == Proved {
			r.judged(Probed{a.Token, v.(bool)})
		}
	})
}

// nodeRun finds how to reach a node, by journal 0.
func (r *runner) nodeRun(node segment.ID) (metadata.Run, bool) {
	n := r.state.Cluster().Node(node)
	if n == nil || n.State == 0 || n.State == metadata.StateRemoved {
		return metadata.Run{}, false
	}
	run := n.Run
	run.Start = segment.ID{} // it may have started again
	return run, true
}

func (r *runner) beat(to segment.ID) {
	run, ok := r.nodeRun(to)
	if !ok {
		return
	}
	h := Heartbeat{Node: r.folder.id, Start: r.run.Start, Applied: r.state.Head(), Leaving: r.leaving, Journals: r.reports()}
	if to == r.folder.id {
		r.judged(Heard{h})
		return
	}
	r.w.network.call(r, to, run, 3*HandshakeLimit, func(c *runner, answer func(any)) {
		c.judged(Heard{h})
		for _, l := range h.Journals {
			if l.Leads && l.Journal > 0 {
				c.claimed(l.Leader)
			}
		}
		answer(Answer{Claims: c.member.phase == leading, Seq: c.state.Head(), Leaders: c.view.Leaders()})
	}, func(o Outcome, v any) {
		if o != Proved {
			return
		}
		a := v.(Answer)
		for _, l := range a.Leaders {
			r.claimed(l)
		}
		r.membered(Answered{to, a})
		if a.Seq > r.state.Head() {
			r.life(0).poke()
		}
	})
}

func (r *runner) reports() (all []Report) {
	for _, id := range sortedKeys(r.lives) {
		if l := r.lives[id]; l.role != idle {
			all = append(all, l.report())
		}
	}
	return all
}

func (r *runner) ask(a Ask) {
	run := a.Run
	run.Start = segment.ID{}
	r.w.network.call(r, a.Node, run, HandshakeLimit, func(to *runner, answer func(any)) {
		to.claimed(a.About)
		answer(to.member.Reply(to.p.Now()))
	}, func(o Outcome, v any) {
		ev := Replied{Token: a.Token, Outcome: o}
		if o == Proved {
			ev.Reply = v.(Reply)
			r.claimed(ev.Reply.Controller)
		}
		r.membered(ev)
	})
}

// claimed takes a hint about a leader.
func (r *runner) claimed(l Leader) { r.hinted(FromNode, l) }

func (r *runner) hinted(from Source, l Leader) {
	if own := r.lives[l.Journal]; own != nil && own.role == leads && l.Epoch > own.epoch {
		own.prove()
	}
	r.checks(r.view.Claimed(from, l))
}

func (r *runner) checks(actions []Action) {
	for _, a := range actions {
		l := a.(Check).Leader
		r.w.bucket.get(r, l.Journal, l.Settled.Seq, func(o *object, ok bool) {
			right := ok && o != nil && o.kind == filler && o.id == l.Settled.Object && o.epoch == l.Epoch && o.node == l.Node
			believed, next := r.view.Checked(l, right)
			if believed && l.Journal == 0 {
				r.membered(Believes{l})
			}
			r.checks(next)
		})
	}
}

// register asks the controller to be registered.
func (r *runner) register(to segment.ID) {
	run, ok := r.nodeRun(to)
	if !ok || to == r.folder.id {
		return
	}
	r.w.network.call(r, to, run, 5*HandshakeLimit, func(c *runner, answer func(any)) {
		c.w.joins++
		token := c.w.joins
		c.w.joining[token] = joined{r.folder.id, r.run, answer}
		c.judged(Joining{token, r.folder.id, r.run})
	}, func(o Outcome, v any) {
		if o != Proved {
			return
		}
		err, _ := v.(error)
		if r.refuse = err; errors.Is(err, ErrInUse) {
			r.w.Count("clone refused")
		}
		if errors.Is(err, ErrWrongAddress) {
			r.w.Count("wrong address refused")
		}
	})
}

type joined struct {
	node   segment.ID
	run    metadata.Run
	answer func(any)
}

func (r *runner) join(a Join) {
	x := r.w.joining[a.Token]
	delete(r.w.joining, a.Token)
	l := r.life(0)
	if a.Err != nil || l.controller == nil {
		x.answer(a.Err)
		return
	}
	entries, _, err := l.controller.StartNode(x.node, x.run)
	if err != nil {
		x.answer(err)
		return
	}
	l.propose(entries, func(error) { x.answer(nil) })
}

func (r *runner) plan(changes []metadata.Change) {
	l := r.life(0)
	if l.controller == nil {
		r.w.Fail("%s plans and is not the controller", r.p.Name)
		return
	}
	entries, err := l.controller.Change(changes...)
	if err != nil {
		r.w.Count("plan refused")
		r.after(0, "plan refused", func() { r.judged(Planned{err}) })
		return
	}
	for _, c := range changes {
		r.w.note(r, c)
	}
	l.propose(entries, func(err error) { r.judged(Planned{err}) })
}

// applied: journal 0 has moved.
func (r *runner) applied() {
	c := r.state.Cluster()
	r.view.Applied(c)
	r.judged(Applied{c})
	r.membered(Applied{c})
}

// checkAnswers looks at the answers that the node would give a client.
func (r *runner) checkAnswers() {
	for id := range uint32(len(r.state.Cluster().Assignments)) + 1 {
		k := r.view.Leader(r.p.Now(), id)
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
