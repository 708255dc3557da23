package ingest

import (
	"fmt"
	"slices"
	"time"

	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// The metadata of the simulation: topics that are created, deleted, restored, purged, and
// created again by the same name.

// want is the sum of the changes of the metadata. Purged partitions are in neither list.
type want struct{ Open, Sealed []partlog.Key }

// topicAt is a topic as the metadata up to a seq has it.
type topicAt struct {
	known, deleted, purged, keeps bool
}

// topic is the view of a topic up to head.
func (c changes) topic(id segment.ID, head uint64) (t topicAt) {
	for _, x := range c[:head] {
		if x.key.Topic != id {
			continue
		}
		t.known = true
		switch x.kind {
		case opens:
			t.deleted = false
		case seals:
			t.deleted = true
		case purges:
			t.purged = true
		case keeps:
			t.keeps = true
		}
	}
	return t
}

// exists: it is not purged, though it may be deleted.
func (t topicAt) exists() bool { return t.known && !t.purged }

// place adds a partition.
func (c *cluster) place(k partlog.Key) { c.open([]partlog.Key{k}) }

func (c *cluster) open(keys []partlog.Key) {
	for _, k := range keys {
		c.metadata = append(c.metadata, change{k, opens})
	}
	c.want.Open = append(slices.Clone(c.want.Open), keys...)
}

// maxTopics is how many topics there are at most at the same time, and everTopics how many
// there ever are.
const maxTopics, everTopics = 5, 9

// createTopic adds a topic of one or two partitions, by the name of a deleted one if there
// is one.
func (c *cluster) createTopic() {
	c.Count("topic created")
	c.topics++
	id := segment.ID{simTopics, c.topics}
	c.names[id] = fmt.Sprintf("topic-%d", c.topics)
	for i := range c.topics {
		other := segment.ID{simTopics, i}
		if name, ok := c.names[other]; ok && !c.named(name) && c.metadata.topic(other, uint64(len(c.metadata))).deleted {
			c.names[id] = name
			c.Count("topic created again")
			break
		}
	}
	for i := range 1 + c.Rand.Intn(2) {
		c.place(partlog.Key{Topic: id, Index: int32(i)})
	}
}

// named reports whether a topic that is open has the name.
func (c *cluster) named(name string) bool {
	return slices.ContainsFunc(c.want.Open, func(k partlog.Key) bool { return c.names[k.Topic] == name })
}

// changeTopics creates a topic, deletes, restores or purges one, or lets it keep its
// records. Nodes notice that some time later.
func (c *cluster) changeTopics() {
	open, sealed := c.want.Open[c.own:], c.want.Sealed
	switch {
	case c.Chance(0.3) && c.purge():
	case len(open) > 1 && c.Chance(0.4):
		c.deleteTopic(open[c.Rand.Intn(len(open))].Topic)
	case len(sealed) > 0 && c.Chance(0.4):
		c.restore(sealed[c.Rand.Intn(len(sealed))].Topic)
	case c.shape.Upkeep.Expire && len(open) > 0 && c.Chance(0.3):
		c.metadata = append(c.metadata, change{open[c.Rand.Intn(len(open))], keeps})
	case c.topics < everTopics && len(open)+len(sealed) < 2*maxTopics:
		c.createTopic()
	}
	for _, f := range c.folders {
		if n := f.proc; n != nil && c.Chance(0.7) {
			n.p.After(c.Between(0, 3*time.Second), "placements", n.view.move)
		}
	}
}

// of returns the partitions of a topic among keys, and the others.
func of(keys []partlog.Key, id segment.ID) (its, others []partlog.Key) {
	for _, k := range keys {
		if k.Topic == id {
			its = append(its, k)
		} else {
			others = append(others, k)
		}
	}
	return its, others
}

// deleteTopic deletes a topic, unless none would be left to write to.
func (c *cluster) deleteTopic(id segment.ID) {
	its, others := of(c.want.Open, id)
	if len(others) == c.own {
		return
	}
	c.Count("topic deleted")
	for _, k := range its {
		c.metadata = append(c.metadata, change{k, seals})
	}
	c.want.Open, c.want.Sealed = others, append(slices.Clone(c.want.Sealed), its...)
}

// restore restores a deleted topic whose name is free.
func (c *cluster) restore(id segment.ID) {
	if c.named(c.names[id]) {
		return
	}
	c.Count("topic restored")
	its, others := of(c.want.Sealed, id)
	c.want.Sealed = others
	c.open(its)
}

// purge purges a deleted topic, as a controller does by the reports of journals: each of
// its partitions is sealed, and stays so. It is false if there is none.
func (c *cluster) purge() bool {
	for _, k := range c.want.Sealed {
		deleted := uint64(0) // at this seq
		for i, x := range c.metadata {
			if x.key.Topic == k.Topic && x.kind == seals {
				deleted = uint64(i) + 1
			}
		}
		if deleted > c.reported {
			continue
		}
		c.Count("topic purged")
		its, others := of(c.want.Sealed, k.Topic)
		for _, k := range its {
			c.metadata = append(c.metadata, change{k, purges})
		}
		c.want.Sealed = others
		return true
	}
	return false
}

// purged reports whether a topic cannot be restored.
func (c *cluster) purged(id segment.ID) bool {
	return c.metadata.topic(id, uint64(len(c.metadata))).purged
}
