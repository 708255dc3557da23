package membership

import (
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/segment"
)

const (
	// blockedAfter is how long a plan may take before the controller probes the store.
	blockedAfter = 3 * time.Second
	// evidenceFor is how long two probes may be apart to be compared.
	evidenceFor = 10 * time.Second
	// probeEvery is the time between two probes for one node.
	probeEvery = 3 * time.Second
)

// stores is the evidence about nodes that cannot commit. A store that is away for all is no
// reason to move anything. So first the probe of another node must succeed, and then one
// more probe of the node itself must fail: it may have been first to get its store back.
type stores map[segment.ID]*suspicion

type suspicion struct {
	other   segment.ID // the other node
	tries   int
	token   uint64    // of the last probe
	asked   time.Time // when it was asked for
	good    time.Time // when the probe of the other node succeeded; zero: it has not yet
	decided bool      // the second probe failed
}

func (s stores) probed(now time.Time, ev Probed) {
	for node, x := range s {
		switch {
		case x.token != ev.Token:
		case x.good.IsZero() && ev.OK:
			x.good, x.token, x.asked = now, 0, time.Time{}
		case x.good.IsZero():
			x.token = 0
		case ev.OK:
			delete(s, node)
		default:
			x.decided = true
		}
	}
}

// probeBlocked asks for the probes that are missing.
func (j *Judge) probeBlocked() {
	late := j.blocked || j.planning && j.now.Sub(j.planned) >= blockedAfter
	blocked := map[segment.ID]bool{j.self: late}
	for _, a := range j.cluster.Assignments {
		if j.journals[a.Journal].blocked {
			blocked[a.Node] = true
		}
	}
	for i := range j.cluster.Nodes {
		n := &j.cluster.Nodes[i]
		x := j.stores[n.Node]
		switch {
		case !blocked[n.Node]:
			delete(j.stores, n.Node)
			continue
		case x == nil || !x.good.IsZero() && j.now.Sub(x.good) > evidenceFor:
			tries := 0
			if x != nil {
				tries = x.tries
			}
			x = &suspicion{tries: tries}
			j.stores[n.Node] = x
		}
		j.probe(n, x)
	}
	if x := j.stores[j.self]; x != nil && x.decided && late {
		j.leading = false
		j.do(Resign{})
	}
}

func (j *Judge) probe(n *metadata.Node, x *suspicion) {
	if x.decided || !x.asked.IsZero() && j.now.Sub(x.asked) < probeEvery {
		return
	}
	to := n.Node
	if x.good.IsZero() {
		other := j.another(n.Node, x.tries)
		if other == nil {
			return
		}
		x.tries++
		x.other, to = other.Node, other.Node
	}
	x.token, x.asked = j.detector.next(), j.now
	j.do(Probe{x.token, to})
}

// another returns a node that could take journals over, the others in turn.
func (j *Judge) another(node segment.ID, turn int) *metadata.Node {
	var all []*metadata.Node
	for i := range j.cluster.Nodes {
		n := &j.cluster.Nodes[i]
		if n.Node != node && j.able(n) {
			all = append(all, n)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all[turn%len(all)]
}

// unblock moves a journal whose node cannot commit to the node that was seen to be able to.
func (j *Judge) unblock(d *draft, a metadata.Assignment) {
	x := j.stores[a.Node]
	if x == nil || !x.decided {
		return
	}
	n := d.Node(x.other)
	if n == nil || !j.able(n) {
		return
	}
	j.countMove(&a)
	a.Node, a.Why = x.other, metadata.WhyBlocked
	d.assign(a)
}
