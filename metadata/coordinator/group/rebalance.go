package group

import (
	"slices"
	"time"

	"github.com/varvelog/varve/metadata/coordinator"
)

// changed goes on after a member was added, changed or removed.
func (m *Machine) changed(out coordinator.Out, g *live) {
	if g.state == PreparingRebalance {
		m.completeIfJoined(out, g)
		return
	}
	m.prepare(out, g)
}

// completeIfJoined completes a rebalance that waits for no member any more. The
// first rebalance of a group completes by its timer, to give other members time
// to come.
func (m *Machine) completeIfJoined(out coordinator.Out, g *live) {
	if g.state == PreparingRebalance && g.allJoined() && (!g.initial || len(g.members) == 0) {
		m.complete(out, g)
	}
}

// prepare begins a rebalance.
func (m *Machine) prepare(out coordinator.Out, g *live) {
	if g.state == CompletingRebalance {
		m.refuseSyncs(out, g, ErrRebalance)
	}
	for _, who := range g.members {
		who.unsynced = false
	}
	m.timers.stop(&g.syncing)
	g.initial = g.state == Empty
	g.become(out, PreparingRebalance)
	if g.initial {
		delay := m.config.InitialDelay
		g.grown, g.extension = false, max(0, g.rebalanceTimeout()-delay)
		g.joining.fire = func(out coordinator.Out) { m.initialOver(out, g, delay) }
		m.timers.set(&g.joining, out.Now().Add(delay))
		return
	}
	if g.allJoined() {
		m.complete(out, g)
		return
	}
	m.awaitJoins(out, g)
}

// initialOver waits once more if members came during the delay. It goes on if
// none did or the rebalance time-out leaves no time.
func (m *Machine) initialOver(out coordinator.Out, g *live, delay time.Duration) {
	if !g.grown || g.extension == 0 {
		m.complete(out, g)
		return
	}
	next := min(m.config.InitialDelay, g.extension)
	g.grown, g.extension = false, max(0, g.extension-delay)
	g.joining.fire = func(out coordinator.Out) { m.initialOver(out, g, next) }
	m.timers.set(&g.joining, out.Now().Add(next))
}

func (m *Machine) awaitJoins(out coordinator.Out, g *live) {
	g.joining.fire = func(out coordinator.Out) { m.complete(out, g) }
	m.timers.set(&g.joining, out.Now().Add(g.rebalanceTimeout()))
}

// complete begins the next generation, without the members that did not join,
// but with static ones: they have until their session ends.
func (m *Machine) complete(out coordinator.Out, g *live) {
	m.timers.stop(&g.joining)
	for _, who := range slices.Clone(g.members) {
		if who.join == nil && who.instance == nil {
			m.remove(g, who)
		}
	}
	if len(g.members) == 0 {
		m.empty(out, g)
		return
	}
	if !g.electJoined() {
		m.awaitJoins(out, g)
		return
	}
	g.nextGeneration()
	g.protocol = ptrTo(g.vote())
	g.subscribe()
	g.become(out, CompletingRebalance)
	for _, who := range slices.Clone(g.members) {
		who.isNew, who.unsynced = false, true
		m.startSession(out, who)
		who.answerJoin(g.joined(who))
	}
	m.timers.set(&g.syncing, out.Now().Add(g.rebalanceTimeout()))
}

func ptrTo[T any](v T) *T { return &v }

func (g *live) nextGeneration() {
	g.generation = max(0, g.generation+1) // wraps around
	g.assigned = false
}

// electJoined makes a member that has joined the leader, the present one if
// possible.
func (g *live) electJoined() bool {
	if g.byID[g.leader].join != nil {
		return true
	}
	i := slices.IndexFunc(g.members, func(who *member) bool { return who.join != nil })
	if i < 0 {
		return false
	}
	g.leader = g.members[i].id
	return true
}

// empty begins the generation without members. If its record is not committed,
// an older generation may come back after a take-over, and its members'
// sessions end.
func (m *Machine) empty(out coordinator.Out, g *live) {
	g.nextGeneration()
	g.protocol = nil
	g.subscribe()
	g.become(out, Empty)
	m.persistEmpty(out, g)
}

func (m *Machine) persistEmpty(out coordinator.Out, g *live) {
	record := metadataRecord(g.id, g.metadata(nil))
	m.append(out, g, []coordinator.Record{record}, func(coordinator.Out, error) {})
}

// syncOver removes the members that did not ask for their assignment in time,
// with the leader if there is no assignment.
func (m *Machine) syncOver(out coordinator.Out, g *live) {
	late := 0
	for _, who := range slices.Clone(g.members) {
		if who.unsynced {
			late++
			m.remove(g, who)
		}
	}
	if late > 0 {
		m.prepare(out, g)
		m.settle(g)
	}
}

// refuseSyncs answers members that wait for an assignment with an error.
func (m *Machine) refuseSyncs(out coordinator.Out, g *live, err error) {
	for _, who := range g.members {
		g.assign(who, nil)
		if who.sync != nil {
			m.startSession(out, who)
			who.answerSync(SyncAnswer{Err: err})
		}
	}
}
