package ingest

import (
	"errors"

	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// simDeletion is a request to delete records that waits for its answer.
type simDeletion struct {
	want Deletion
	end  int64 // committed end when it was sent
	done chan []Deleted
}

// deleteRecords asks some node, leader or not, to delete records of a partition.
func (c *cluster) deleteRecords() {
	n := c.pick().proc
	if n == nil || len(c.want.Open) == c.own {
		return
	}
	k := c.want.Open[c.own+c.Rand.Intn(len(c.want.Open)-c.own)]
	if sealed := c.want.Sealed; len(sealed) > 0 && c.Chance(0.1) {
		k = sealed[c.Rand.Intn(len(sealed))]
	}
	d := simDeletion{want: Deletion{Key: k, Before: AllCommitted}, end: c.truth.ends[k], done: make(chan []Deleted, 1)}
	if !c.Chance(0.3) {
		d.want.Before = c.Rand.Int63n(d.end + 3)
	}
	c.truth.asked(k, d.want.Before)
	n.p.Do(func() {
		n.deletions = append(n.deletions, d)
		n.owner.Do(func() { n.core.deleteRecords([]Deletion{d.want}, d.done) })
	})
}

// checkDeletions looks at the answers.
func (n *proc) checkDeletions() {
	left := n.deletions[:0]
	for _, d := range n.deletions {
		select {
		case r := <-d.done:
			n.checkDeletion(d, r[0])
		default:
			left = append(left, d)
		}
	}
	n.deletions = left
}

func (n *proc) checkDeletion(d simDeletion, r Deleted) {
	c, k := n.f.c, d.want.Key
	switch {
	case errors.Is(r.Err, ErrOutOfRange):
		c.Count("deletion out of range")
		if d.want.Before <= d.end {
			c.Fail("%s says that offset %d of %v is out of range, committed before were those below %d", n.p.Name, d.want.Before, k, d.end)
		}
	case r.Err != nil:
	case r.LogStart < d.want.Before || r.LogStart < 0 || r.LogStart > c.truth.begins[k]:
		c.Fail("%s says that %v starts at %d after deleting the records before %d, committed is %d", n.p.Name, k, r.LogStart, d.want.Before, c.truth.begins[k])
	default:
		c.Count("records deleted")
	}
}

// deleted takes the deletions of one object, which are before its records.
func (t *truth) deleted(who string, h *segment.Header, entries []segment.Entry) {
	for _, e := range entries {
		if e.Kind != partlog.EntryDeleteRecords {
			continue
		}
		del, err := partlog.DecodeDeleteRecords(e.Payload)
		if err != nil || del.Before > t.ends[del.Key] {
			t.w.Fail("%s: seq %d deletes before offset %d of %v, which ended at %d: %v", who, h.Seq, del.Before, del.Key, t.ends[del.Key], err)
		}
		t.mayDelete(who, simExpiry{h.Incarnation, del.Key, del.Before})
		t.begins[del.Key] = max(t.begins[del.Key], del.Before)
	}
}
