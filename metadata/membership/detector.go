package membership

import (
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/segment"
)

const (
	// silentAfter is how long a node may be silent before a handshake is tried.
	silentAfter = 1500 * time.Millisecond
	// silentTries is how many handshakes in a row must fail. Each node that was fenced for
	// silence and then goes on doubles it, up to silentMost: there is no time for heartbeats.
	// After calmAfter without such a mistake it is as before.
	silentTries = 2
	silentMost  = 8
	calmAfter   = time.Hour
	// stalledAfter is how late an event may be before this process counts as one that stood
	// still: it has heard from no node, and that says nothing about the nodes.
	stalledAfter = time.Second
	// dialEvery is the time between two handshakes with a node that does not answer.
	dialEvery = time.Second
	// steadyFor is how long a fenced node must send heartbeats before it is counted on again.
	steadyFor = 5 * time.Second
)

// peer is the controller's evidence about one run of a node.
type peer struct {
	start   segment.ID // that was registered when the evidence began
	heard   time.Time  // the last heartbeat or handshake, or when it was counted as heard
	beating time.Time  // since when its heartbeats come; zero: they do not
	well    time.Time  // since when there was nothing against it
	token   uint64     // of the handshake under way; 0: none
	dialed  time.Time
	failed  int            // handshakes in a row that timed out
	dead    metadata.Fence // by the evidence
	proved  bool           // a handshake of this run has succeeded since it was last suspected
	silent  bool           // this leadership fenced it for silence, and it has not answered since
	first   bool           // this leadership has not dialed it yet
}

// detector collects evidence against nodes: it is a failure detector that journal 0 follows.
type detector struct {
	self  segment.ID
	peers map[segment.ID]*peer
	token uint64

	tries   int       // handshakes in a row that must fail; 0: silentTries
	mistake time.Time // the last one
}

// restart counts every node as heard, and forgets handshakes that are under way: at the
// beginning of a leadership, and when this process has stood still.
func (d *detector) restart(now time.Time, first bool) {
	for _, p := range d.peers {
		p.heard, p.well, p.token, p.failed, p.beating = now, now, 0, 0, time.Time{}
		if p.dead == metadata.FencedSilent || first {
			p.dead = metadata.NotFenced
		}
		if first {
			p.silent, p.proved, p.first = false, false, true
		}
	}
}

// follow keeps a peer for each run that is registered.
func (d *detector) follow(now time.Time, c *metadata.Cluster) {
	for i := range c.Nodes {
		n := &c.Nodes[i]
		if n.State == 0 || n.State == metadata.StateRemoved || n.Node == d.self {
			delete(d.peers, n.Node)
			continue
		}
		if p := d.peers[n.Node]; p == nil || p.start != n.Run.Start {
			d.peers[n.Node] = &peer{start: n.Run.Start, heard: now, well: now}
		}
	}
}

// beat takes a heartbeat. It reports whether it is of the registered run.
func (d *detector) beat(now time.Time, node, start segment.ID) bool {
	p := d.peers[node]
	if p == nil || p.start != start {
		return false
	}
	d.mistaken(now, p)
	p.hear(now)
	if p.beating.IsZero() {
		p.beating = now
	}
	return true
}

// mistaken notes that a node was fenced for silence and goes on.
func (d *detector) mistaken(now time.Time, p *peer) {
	if p.silent {
		d.tries, d.mistake = min(2*d.needed(now), silentMost), now
	}
}

// needed is how many handshakes in a row must fail.
func (d *detector) needed(now time.Time) int {
	if d.tries == 0 || now.Sub(d.mistake) >= calmAfter {
		return silentTries
	}
	return d.tries
}

func (p *peer) hear(now time.Time) {
	p.heard, p.failed, p.dead, p.silent = now, 0, metadata.NotFenced, false
}

// suspect notes that something is against a node, and dials it.
func (d *detector) suspect(now time.Time, p *peer) (token uint64) {
	p.well, p.proved = now, false
	return d.dial(now, p)
}

func (d *detector) dial(now time.Time, p *peer) uint64 {
	p.token, p.dialed, p.first = d.next(), now, false
	return p.token
}

// next names a request of the controller.
func (d *detector) next() uint64 {
	d.token++
	return d.token
}

// dialed takes the end of a handshake. It returns false if it asked for none with the token.
func (d *detector) dialed(now time.Time, ev Dialed) bool {
	for _, p := range d.peers {
		if p.token != ev.Token {
			continue
		}
		p.token = 0
		switch ev.Outcome {
		case Proved:
			p.hear(now)
			p.proved = true
		case Refused:
			p.die(now, metadata.FencedRefused)
		case Replaced:
			p.die(now, metadata.FencedReplaced)
		case TimedOut:
			if p.failed++; p.failed >= d.needed(now) && now.Sub(p.heard) >= silentAfter {
				p.die(now, metadata.FencedSilent)
			}
		}
		return true
	}
	return false
}

func (p *peer) die(now time.Time, why metadata.Fence) {
	if why != metadata.FencedSilent || p.dead == metadata.NotFenced {
		p.dead = why
	}
	p.well, p.beating, p.proved = now, time.Time{}, false
}

// due returns the handshake that a node needs now, 0 if none.
func (d *detector) due(now time.Time, n *metadata.Node) uint64 {
	p := d.peers[n.Node]
	if p == nil || p.token != 0 {
		return 0
	}
	quiet := now.Sub(p.heard) >= silentAfter
	if quiet {
		p.beating = time.Time{}
	}
	switch {
	case p.first && n.Lives():
		return d.dial(now, p)
	case !n.Lives():
		// It dials the controller when it is back; a handshake shows that others reach it.
		if steady(now, p) && !p.proved && now.Sub(p.dialed) >= dialEvery {
			return d.dial(now, p)
		}
	case quiet && p.failed == 0 && p.dead == metadata.NotFenced:
		return d.suspect(now, p)
	case p.failed > 0 && p.dead == metadata.NotFenced, quiet && now.Sub(p.dialed) >= dialEvery:
		return d.dial(now, p)
	}
	return 0
}

func steady(now time.Time, p *peer) bool {
	return !p.beating.IsZero() && now.Sub(p.beating) >= steadyFor
}

// back reports whether a fenced node is counted on again: its heartbeats come, and it
// answers at its address.
func (d *detector) back(now time.Time, node segment.ID) bool {
	p := d.peers[node]
	return node == d.self || p != nil && steady(now, p) && p.proved && now.Sub(p.heard) < silentAfter
}

// dead returns the evidence against a node.
func (d *detector) dead(node segment.ID) metadata.Fence {
	if p := d.peers[node]; p != nil {
		return p.dead
	}
	return metadata.NotFenced
}

// answers reports whether there is nothing against a node now.
func (d *detector) answers(now time.Time, node segment.ID) bool {
	p := d.peers[node]
	return node == d.self || p != nil && p.dead == metadata.NotFenced && now.Sub(p.heard) < silentAfter
}

// wellFor reports whether nothing was against a node for some time.
func (d *detector) wellFor(now time.Time, node segment.ID, long time.Duration) bool {
	p := d.peers[node]
	return d.answers(now, node) && (node == d.self || now.Sub(p.well) >= long)
}

// majority reports whether more than half of the ingest nodes have answered: those that are
// not fenced, and those that this leadership has fenced for silence. A refusal is an answer.
func (d *detector) majority(now time.Time, c *metadata.Cluster) bool {
	voters, answered := 0, 0
	for i := range c.Nodes {
		n := &c.Nodes[i]
		p := d.peers[n.Node]
		if !n.Ingests() || !n.Lives() && n.Node != d.self && (p == nil || !p.silent) {
			continue
		}
		voters++
		if d.answers(now, n.Node) || p != nil && (p.dead == metadata.FencedRefused || p.dead == metadata.FencedReplaced) {
			answered++
		}
	}
	return answered*2 > voters
}
