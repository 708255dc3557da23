package metadata

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// administer sends one request to one of the nodes, and goes on with the next.
func (c *cluster) administer(who int) {
	if c.quiet {
		return
	}
	c.After(c.Between(c.shape.Pace/4, 3*c.shape.Pace), "administer", func() { c.administer(who) })
	n := c.nodes[c.Rand.Intn(len(c.nodes))]
	if n.p == nil {
		return
	}
	var r request
	switch topics := c.truth.Topics(); {
	case c.Chance(0.3):
		r = c.nextID()
	case c.Chance(0.3) && len(topics) > 0:
		r = c.deleteTopic(topics[c.Rand.Intn(len(topics))].ID)
	case c.Chance(0.3) && len(topics) > 0:
		r = c.addPartitions(topics[c.Rand.Intn(len(topics))])
	case c.Chance(0.3) && len(topics) > 0:
		r = c.configure(topics[c.Rand.Intn(len(topics))])
	case c.Chance(0.3) && len(c.truth.Deleting()) > 0:
		deleted := c.truth.Deleting()
		r = c.restoreTopic(deleted[c.Rand.Intn(len(deleted))].ID)
	case c.Chance(0.05) && c.truth.img.journals < simJournals:
		r = c.createJournal()
	default:
		r = c.createTopic(fmt.Sprintf("t%d", c.Rand.Intn(8)))
	}
	c.ask(n, r)
}

// request is one of an administrator. check looks at the answer, if it is no error.
type request struct {
	plan   func(*leading, *Controller) ([]segment.Entry, error)
	follow func(*leading) awaited
	check  func(*node)
}

// ask brings a request to the node's process and waits for the answer.
func (c *cluster) ask(n *node, r request) {
	life := n.life
	if life.leading == nil {
		c.Count("asked when it follows")
	}
	a := asked{done: make(chan error, 1), check: func() { r.check(n) }}
	cmd := &command{done: a.done, follow: r.follow, plan: func(k *Controller) ([]segment.Entry, error) { return r.plan(life.leading, k) }}
	n.asks = append(n.asks, a)
	c.asked++
	owner := n.owner
	n.p.Do(func() { owner.Do(func() { life.take(cmd) }) })
}

// asked is a request that waits for its answer.
type asked struct {
	done  chan error
	check func()
}

// answers looks which requests were answered.
func (n *node) answers() {
	left := n.asks[:0]
	for _, a := range n.asks {
		select {
		case err := <-a.done:
			n.c.asked--
			n.c.Trace("answer " + fmt.Sprint(err))
			switch {
			case err == nil:
				a.check()
			case errors.Is(err, ErrUnavailable), errors.Is(err, ErrNotController):
				n.c.Count("unavailable")
			}
		default:
			left = append(left, a)
		}
	}
	n.asks = left
}

func (c *cluster) createTopic(name string) request {
	var results []CreateResult
	plan := func(_ *leading, k *Controller) (entries []segment.Entry, _ error) {
		entries, results = k.CreateTopics(c.Now().UnixMilli(), []NewTopic{{Name: name, Partitions: -1, ReplicationFactor: -1}}, false, c.newID)
		return entries, nil
	}
	return request{plan, func(l *leading) awaited { return l.awaitOpen(createdOf(results)) }, func(n *node) {
		switch res := results[0]; {
		case errors.Is(res.Err, ErrTopicExists):
		case res.Err != nil:
			c.Fail("%s creates %s: %w", n.name, name, res.Err)
		case c.created[res.Topic.ID]:
			c.Fail("%s gives topic id %s again", n.name, res.Topic.ID)
		default:
			c.created[res.Topic.ID] = true
			c.Count("topic created")
			if slices.ContainsFunc(c.truth.Deleting(), func(t *Topic) bool { return t.Name == name }) {
				c.Count("topic created with the name of a deleted one")
			}
			if c.committed[res.Topic.ID] != name {
				c.Fail("%s said that topic %s (%s) was created, it is not committed", n.name, name, res.Topic.ID)
			}
			c.checkOpened(n, res.Topic)
		}
	}}
}

func (c *cluster) deleteTopic(id segment.ID) request {
	var errs []error
	restored := c.restored[id]
	plan := func(_ *leading, k *Controller) (entries []segment.Entry, _ error) {
		entries, errs = k.DeleteTopics(c.Now().UnixMilli(), []segment.ID{id})
		return entries, nil
	}
	return request{plan, func(*leading) awaited { return awaited{topics: allowed([]segment.ID{id}, errs)} }, func(n *node) {
		c.Count("topic deleted")
		if errs[0] == nil {
			c.checkDeleted(n, id, restored)
		}
	}}
}

// checkDeleted: an administrator was answered that a topic is deleted, who asked when it
// had been restored some times.
func (c *cluster) checkDeleted(n *node, id segment.ID, restored int) {
	t := c.now(id)
	if t == nil || c.restored[id] > restored {
		return
	}
	if !t.Deleting {
		c.Fail("%s said that topic %s was deleted, it is not", n.name, id)
	}
	for i, p := range t.Partitions {
		if c.journals[p.Journal-1].parts[partlog.Key{Topic: id, Index: int32(i)}] {
			c.Fail("%s said that topic %s was deleted, partition %d takes records", n.name, id, i)
		}
	}
}

func (c *cluster) restoreTopic(id segment.ID) request {
	var errs []error
	restored := c.restored[id]
	plan := func(_ *leading, k *Controller) (entries []segment.Entry, _ error) {
		entries, errs = k.RestoreTopics([]segment.ID{id})
		return entries, nil
	}
	var topic *Topic
	follow := func(l *leading) awaited {
		if t, ok := l.opt.State.TopicByID(id); ok && errs[0] == nil {
			topic = t
			return l.awaitOpen([]*Topic{t})
		}
		return awaited{}
	}
	return request{plan, follow, func(n *node) {
		if errs[0] != nil {
			return // another administrator was faster, or the name is taken
		}
		c.Count("topic restored")
		if c.restored[id] == restored {
			c.Fail("%s said that topic %s is restored, that is not committed", n.name, id)
		}
		if topic != nil {
			c.checkOpened(n, topic)
		}
	}}
}

// now returns the committed state of a topic; nil if it is purged.
func (c *cluster) now(id segment.ID) *Topic { return c.truth.img.topics[id] }

func (c *cluster) addPartitions(t *Topic) request {
	var errs []error
	want := len(t.Partitions) + 1 + c.Rand.Intn(3)
	plan := func(_ *leading, k *Controller) (entries []segment.Entry, _ error) {
		t = meant(k, t)
		entries, errs = k.CreatePartitions([]NewPartitions{{Topic: t.Name, Count: int32(want)}}, false)
		return entries, nil
	}
	return request{plan, func(l *leading) awaited { return l.awaitOpen(allowed([]*Topic{l.opt.State.img.topics[t.ID]}, errs)) }, func(n *node) {
		if errors.Is(errs[0], ErrInvalidPartitions) || errors.Is(errs[0], ErrUnknownTopic) {
			return // another administrator was faster
		}
		c.Count("partitions added")
		if now := c.now(t.ID); errs[0] != nil || now != nil && len(now.Partitions) < want {
			c.Fail("%s said that topic %s has %d partitions: %v; committed is %+v", n.name, t.Name, want, errs[0], now)
		} else if now != nil {
			c.checkOpened(n, now.first(want))
		}
	}}
}

// configure sets a config to a value that no other request sets it to: a topic that
// has another one was configured later.
func (c *cluster) configure(t *Topic) request {
	var errs []error
	c.configured++
	serial := c.configured
	plan := func(_ *leading, k *Controller) (entries []segment.Entry, _ error) {
		t = meant(k, t)
		change := ConfigChange{Topic: t.Name, Ops: []ConfigOp{{OpSet, "segment.ms", strconv.Itoa(serial)}}}
		entries, errs = k.AlterConfigs([]ConfigChange{change}, false)
		return entries, nil
	}
	return request{plan, nil, func(n *node) {
		if errors.Is(errs[0], ErrUnknownTopic) {
			return
		}
		c.Count("topic configured")
		if now := c.now(t.ID); errs[0] != nil || now != nil && !c.wasConfigured[t.ID][serial] {
			c.Fail("%s said that topic %s is configured with %d: %v; committed is %+v", n.name, t.Name, serial, errs[0], now)
		}
	}}
}

// meant returns the topic that has the name of another one now: that may be deleted.
func meant(k *Controller, t *Topic) *Topic {
	if named, err := k.named(t.Name); err == nil {
		return named
	}
	return t
}

// createJournal adds a data journal.
func (c *cluster) createJournal() request {
	plan := func(_ *leading, k *Controller) ([]segment.Entry, error) {
		if k.img.journals >= simJournals {
			return nil, nil
		}
		e, err := k.plan(JournalCreated{k.img.journals + 1})
		return []segment.Entry{e}, err
	}
	return request{plan, nil, func(*node) { c.Count("journal created") }}
}

func (c *cluster) nextID() request {
	var id int64
	plan := func(l *leading, k *Controller) (entries []segment.Entry, err error) {
		entries, id, err = l.nextProducerID(k)
		return entries, err
	}
	return request{plan, nil, func(n *node) {
		if c.given[id] {
			c.Fail("%s gives producer id %d again", n.name, id)
		}
		c.given[id] = true
		c.Count("producer id given")
		if next := c.truth.img.nextProducer; id < 1 || id >= next {
			c.Fail("%s gives producer id %d, committed are those below %d", n.name, id, next)
		}
	}}
}
