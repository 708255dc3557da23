package metadata

import (
	"maps"
	"time"

	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// simJournals is how many data journals there are at most.
const simJournals = 3

// dataJournal is a data journal as the controller needs it: partitions that are open or
// sealed, and leaders that follow some node's view of journal 0. A leader that was
// deposed goes on with the partitions that it knew, and commits nothing.
type dataJournal struct {
	c        *cluster
	id       uint32
	parts    map[partlog.Key]bool // committed; true: open, false: sealed
	leader   *journalLeader
	reported uint64
}

// journalLeader is one leadership.
type journalLeader struct {
	j     *dataJournal
	view  *State
	node  *node                // whose view it is; nil: the truth
	proof uint64               // the head of journal 0 when it began: it follows no older view
	parts map[partlog.Key]bool // as it knows them
	seen  uint64
}

func (c *cluster) startJournals() {
	for id := range uint32(simJournals) {
		j := &dataJournal{c: c, id: id + 1, parts: map[partlog.Key]bool{}}
		c.journals = append(c.journals, j)
		c.After(c.Between(0, 3*time.Second), "elect", j.elect)
	}
}

// elect has another leader follow the view of some node, which may lag or have ended.
func (j *dataJournal) elect() {
	l := &journalLeader{j: j, view: j.c.truth, proof: j.c.truth.Head(), parts: maps.Clone(j.parts)}
	if n := j.c.nodes[j.c.Rand.Intn(len(j.c.nodes))]; n.state != nil && !j.c.quiet {
		l.view, l.node = n.state, n
	}
	j.leader = l
	l.step()
}

func (l *journalLeader) leads() bool { return l.j.leader == l }

// step follows the changes since the last one, and reports that some time later.
func (l *journalLeader) step() {
	c := l.j.c
	if c.journals == nil {
		return // all is over
	}
	if l.view.Head() < l.proof {
		l.prove()
		return
	}
	placed := l.view.Placed(l.j.id, l.seen)
	missing := 0
	for _, k := range placed.Open {
		if !l.parts[k] {
			missing++
		}
	}
	for _, k := range placed.Sealed {
		if open, ok := l.parts[k]; open || !ok {
			missing++
		}
	}
	commit := time.Duration(0)
	if missing > 0 {
		commit = c.Between(0, l.j.c.shape.Commit)
	} else {
		c.Count("journal has nothing to follow")
	}
	c.After(commit, "follow", func() {
		if !l.leads() && (missing > 0 || len(placed.Sealed) > 0 || c.Chance(0.3)) {
			return // it can neither commit nor prove that it leads, or has ended
		}
		if missing > 0 {
			l.commit(placed)
		}
		l.seen = placed.Seq
		l.report()
		c.After(c.Between(10*time.Millisecond, 2*time.Second), "step", l.step)
	})
}

// prove waits until the view is as new as the head was when the leadership began.
func (l *journalLeader) prove() {
	c := l.j.c
	c.Count("journal waits for a proved view")
	c.After(c.Between(10*time.Millisecond, time.Second), "prove", func() {
		switch {
		case !l.leads():
		case l.node != nil && (l.node.p == nil || l.node.state != l.view):
			l.j.elect() // it has ended with its node
		default:
			l.step()
		}
	})
}

func (l *journalLeader) commit(placed Placed) {
	c, parts := l.j.c, l.j.parts
	c.Count("journal followed")
	for _, k := range placed.Open {
		if open, ok := parts[k]; ok && !open {
			c.Count("partition opened again")
		}
		parts[k] = true
	}
	for _, k := range placed.Sealed {
		switch _, ok := parts[k]; {
		case ok:
			c.Count("partition sealed")
		default:
			c.Count("partition deleted before it was opened")
		}
		parts[k] = false
	}
	l.parts = maps.Clone(parts)
}

// report reaches each node sooner or later, or not at all.
func (l *journalLeader) report() {
	c, j, seq := l.j.c, l.j, l.seen
	if !l.leads() {
		c.Count("report of a deposed leader")
	}
	for _, n := range c.nodes {
		p := n.p
		if p == nil {
			continue
		}
		c.After(c.Between(0, 3*time.Second), "report", func() {
			if n.p != p {
				return
			}
			if known, _ := n.reports.Reconciled(j.id); seq < known {
				c.Count("report later than a newer one")
			}
			owner, reports := n.owner, n.reports
			p.Do(func() {
				reports.Report(j.id, seq)
				owner.Wake()
			})
		})
	}
}

// onUndone counts as an operator would.
func (n *node) onUndone(err error) {
	if err != nil {
		n.c.Count("topics undone for long")
		return
	}
	n.c.Count("topics done after all")
}

// checkPurges: a topic is purged only when all its partitions are sealed, so that no
// leader of their journals opens them later.
func (c *cluster) checkPurges(entries []segment.Entry) {
	for _, e := range entries {
		change, err := Decode(e)
		purged, is := change.(TopicPurged)
		if err != nil || !is {
			continue
		}
		c.Count("topic forgotten")
		t := c.truth.img.topics[purged.ID]
		if age := c.Now().UnixMilli() - t.DeletedMs; age < c.shape.Grace.Milliseconds() {
			c.Fail("topic %s is purged after %d ms, its grace is %v", t.Name, age, c.shape.Grace)
		}
		for i, p := range t.Partitions {
			if open, ok := c.journals[p.Journal-1].parts[partlog.Key{Topic: t.ID, Index: int32(i)}]; open || !ok {
				c.Fail("topic %s is purged, partition %d is open in journal %d, or may be opened", t.Name, i, p.Journal)
			}
		}
	}
}

// checkOpened: an administrator was answered that a topic takes records. It may be deleted
// again since. At the end of a leadership its partitions need not be open yet.
func (c *cluster) checkOpened(n *node, t *Topic) {
	if n.lead.ended {
		c.Count("success at the end of a leadership")
		return
	}
	for i, p := range t.Partitions {
		if _, ok := c.journals[p.Journal-1].parts[partlog.Key{Topic: t.ID, Index: int32(i)}]; !ok {
			c.Fail("%s said that topic %s takes records, partition %d was never opened in journal %d", n.name, t.Name, i, p.Journal)
		}
	}
}

// first is a topic with its first partitions.
func (t *Topic) first(partitions int) *Topic {
	some := *t
	some.Partitions = t.Partitions[:partitions]
	return &some
}

// checkJournals checks that, with nothing under way, the journals have all existing
// partitions open, and no others.
func (c *cluster) checkJournals() {
	for _, j := range c.journals {
		want := placedInAll(c.truth, j.id)
		for k, open := range j.parts {
			if open != want[k] {
				c.Fail("journal %d: partition %v is open %v, want %v", j.id, k, open, want[k])
			}
		}
		for k := range want {
			if _, ok := j.parts[k]; !ok {
				c.Fail("journal %d: partition %v was never opened", j.id, k)
			}
		}
	}
}
