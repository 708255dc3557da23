package metadata

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/varvelog/varve/metadata/topicconfig"
	"github.com/varvelog/varve/tiering/segment"
)

// CreatePartitions plans more partitions of topics, for each topic all or none.
// With validateOnly it returns the same answers and plans nothing.
func (c *Controller) CreatePartitions(more []NewPartitions, validateOnly bool) ([]segment.Entry, []error) {
	left := MaxPartitions
	return planEach(c, more, validateOnly, func(n NewPartitions) (Change, error) {
		added, err := c.designPartitions(n, left)
		if err != nil {
			return nil, err
		}
		left -= len(added.Journals)
		return added, nil
	})
}

// AlterConfigs plans the changes of topics' configs, for each topic all or
// none. With validateOnly it returns the same answers and plans nothing.
func (c *Controller) AlterConfigs(changes []ConfigChange, validateOnly bool) ([]segment.Entry, []error) {
	return planEach(c, changes, validateOnly, func(change ConfigChange) (Change, error) {
		t, err := c.named(change.Topic)
		if err != nil {
			return nil, err
		}
		configs, err := alter(t.Configs, change)
		if err != nil || maps.Equal(configs, t.Configs) {
			return nil, err
		}
		return TopicConfigured{ID: t.ID, Configs: configs}, nil
	})
}

// planEach designs a change for each request, nil if there is nothing to
// change, and plans it.
func planEach[T any](c *Controller, requests []T, validateOnly bool, design func(T) (Change, error)) ([]segment.Entry, []error) {
	var entries []segment.Entry
	errs := make([]error, len(requests))
	for i, r := range requests {
		change, err := design(r)
		if err != nil || change == nil || validateOnly {
			errs[i] = err
			continue
		}
		e, err := c.plan(change)
		if err != nil {
			errs[i] = err
			continue
		}
		entries = append(entries, e)
	}
	return entries, errs
}

// named finds a topic that is not being deleted.
func (c *Controller) named(name string) (*Topic, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	if t := c.img.names[fold(name)]; t != nil && t.Name == name {
		return t, nil
	}
	return nil, fmt.Errorf("%w: %q", ErrUnknownTopic, name)
}

// designPartitions checks the request for one topic and places its partitions.
// left is how many the whole request may still ask for.
func (c *Controller) designPartitions(n NewPartitions, left int) (PartitionsAdded, error) {
	t, err := c.named(n.Topic)
	if err != nil {
		return PartitionsAdded{}, err
	}
	have := len(t.Partitions)
	more := int(n.Count) - have
	switch {
	case t.Internal():
		return PartitionsAdded{}, fmt.Errorf("%w: the number of partitions of %s cannot change, because it decides the partition of each group", ErrInternalTopic, t.Name)
	case more == 0:
		return PartitionsAdded{}, fmt.Errorf("%w: topic %q has %d already", ErrInvalidPartitions, t.Name, have)
	case more < 0:
		return PartitionsAdded{}, fmt.Errorf("%w: topic %q has %d, %d would be fewer; partitions are never removed", ErrInvalidPartitions, t.Name, have, n.Count)
	case n.Count > MaxPartitions:
		return PartitionsAdded{}, fmt.Errorf("%w: %d, a topic has %d at most", ErrInvalidPartitions, n.Count, MaxPartitions)
	case more > left:
		return PartitionsAdded{}, fmt.Errorf("%w: one request may ask for %d in all, ask for fewer at a time", ErrInvalidPartitions, MaxPartitions)
	}
	if err := checkAssigned(t, n.Assigned, more); err != nil {
		return PartitionsAdded{}, err
	}
	journals, err := c.place(t.Name, more)
	return PartitionsAdded{ID: t.ID, From: uint32(have), Journals: journals}, err
}

// checkAssigned: every new partition has as many replicas as the others.
func checkAssigned(t *Topic, assigned []int, more int) error {
	if assigned == nil {
		return nil
	}
	if len(assigned) != more {
		return fmt.Errorf("%w: %d new partitions of topic %q, but replicas are given for %d", ErrInvalidAssignment, more, t.Name, len(assigned))
	}
	for _, replicas := range assigned {
		if replicas != int(t.ReplicationFactor) {
			return fmt.Errorf("%w: a partition with %d replicas, the others of topic %q have %d", ErrInvalidAssignment, replicas, t.Name, t.ReplicationFactor)
		}
	}
	return nil
}

// alter returns a topic's configs after a change. A config is named in one op
// at most.
func alter(configs map[string]string, change ConfigChange) (map[string]string, error) {
	after := map[string]string{}
	if !change.Replace {
		maps.Copy(after, configs)
	}
	for _, op := range change.Ops {
		if op.Kind == OpDelete { // also of an unknown one, which is then not set
			delete(after, op.Name)
			continue
		}
		d, ok := topicconfig.Lookup(op.Name)
		if !ok {
			return nil, fmt.Errorf("%w: unknown topic config %.100q", ErrInvalidConfig, op.Name)
		}
		value := op.Value
		if op.Kind != OpSet {
			if d.Type != topicconfig.List {
				return nil, fmt.Errorf("%w: %s is not a list, it can only be set or deleted", ErrInvalidConfig, op.Name)
			}
			now, set := after[op.Name]
			if !set {
				now = d.Default
			}
			value = combine(op.Kind, now, op.Value)
		}
		after[op.Name] = value
	}
	if err := topicconfig.Validate(after); err != nil {
		return nil, err
	}
	return after, nil
}

// combine appends the elements of a list to another, or removes them from it.
func combine(kind OpKind, now, operand string) string {
	list := elements(now)
	for _, e := range elements(operand) {
		has := slices.Contains(list, e)
		switch {
		case kind == OpAppend && !has:
			list = append(list, e)
		case kind == OpSubtract && has:
			list = slices.DeleteFunc(list, func(other string) bool { return other == e })
		}
	}
	return strings.Join(list, ",")
}

// elements are those of a list with commas between.
func elements(list string) []string {
	var out []string
	for e := range strings.SplitSeq(list, ",") {
		if e = strings.TrimSpace(e); e != "" {
			out = append(out, e)
		}
	}
	return out
}
