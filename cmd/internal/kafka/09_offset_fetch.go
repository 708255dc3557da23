package kafka

import (
	"context"
	"errors"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/coordinator"
	"github.com/varvelog/varve/metadata/coordinator/group"
)

// OffsetFetch, key 9.
//
//	v2   a code for the group as a whole; null topics are all
//	v3   throttle time
//	v5   leader epoch (KIP-320)
//	v6   flexible
//	v7   whether to wait for offsets under way (KIP-447), which all versions do
//	v8   many groups (KIP-709)
//	v9   member id and epoch of a consumer of the new protocol, ignored
//	v10  topic ids (KIP-848)
//
// First it is proved that this node is still the coordinator: an offset that
// another coordinator has committed must not be missed.
func init() {
	register(listener.API{
		Key: kmsg.OffsetFetch, Min: 1, Max: 10, Bulky: true,
		Shape: shape{
			str().To(7), listOf(sizeOf[kmsg.OffsetFetchRequestTopic](), str(), ints()).To(7),
			listOf(sizeOf[kmsg.OffsetFetchRequestGroup](), str(), str().From(9), num(4).From(9),
				listOf(sizeOf[kmsg.OffsetFetchRequestGroupTopic](), str().To(9), num(16).From(10), ints())).From(8),
			num(1).From(7),
		},
	}, func(s *services) listener.Handler { return s.groups.beginOffsetFetch })
}

// The first versions of OffsetFetch with these features.
const (
	committedGroupCode = 2
	committedGroups    = 8
	committedTopicIDs  = 10
)

func (s *groupService) beginOffsetFetch(ctx context.Context, r *listener.Request) {
	r.Go(func() {
		req := r.Body.(*kmsg.OffsetFetchRequest)
		if r.Version < committedGroups {
			one := askedOnce([]kmsg.OffsetFetchRequestGroup{*singleGroup(req)})
			s.replyOffsets(r, s.committed(ctx, r, &one[0], s.proveGroups(ctx, r.Client, one)[0]))
			return
		}
		resp := kmsg.NewPtrOffsetFetchResponse()
		groups := askedOnce(req.Groups)
		resp.Groups = make([]kmsg.OffsetFetchResponseGroup, len(groups))
		proved := s.proveGroups(ctx, r.Client, groups)
		work := make([]func(), len(groups))
		for i := range groups {
			work[i] = func() { resp.Groups[i] = s.committed(ctx, r, &groups[i], proved[i]) }
		}
		inParallel(lookups, work)
		var code firstCode
		for i := range resp.Groups {
			noteOffsets(&code, &resp.Groups[i])
		}
		r.Reply(resp, int16(code))
	})
}

// askedOnce leaves out repeated parts of a request, so that the size of an answer has
// a limit. Each repetition would return the text committed with an offset, or all
// offsets of a group.
func askedOnce(groups []kmsg.OffsetFetchRequestGroup) []kmsg.OffsetFetchRequestGroup {
	type asked struct {
		group, topic string // no topic: all
		id           [16]byte
		partition    int32
	}
	seen := map[asked]struct{}{}
	again := func(a asked) bool {
		before := len(seen)
		seen[a] = struct{}{}
		return len(seen) == before
	}
	return slices.DeleteFunc(groups, func(g kmsg.OffsetFetchRequestGroup) bool {
		for i := range g.Topics {
			t := &g.Topics[i]
			t.Partitions = slices.DeleteFunc(t.Partitions, func(p int32) bool { return again(asked{g.Group, t.Topic, t.TopicID, p}) })
		}
		return g.Topics == nil && again(asked{group: g.Group})
	})
}

func noteOffsets(code *firstCode, g *kmsg.OffsetFetchResponseGroup) {
	code.note(g.ErrorCode)
	for i := range g.Topics {
		for j := range g.Topics[i].Partitions {
			code.note(g.Topics[i].Partitions[j].ErrorCode)
		}
	}
}

// singleGroup is a request of a version for one group, in the form of those for
// many.
func singleGroup(req *kmsg.OffsetFetchRequest) *kmsg.OffsetFetchRequestGroup {
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = req.Group
	if req.Topics == nil && req.Version >= committedGroupCode {
		return &g
	}
	g.Topics = []kmsg.OffsetFetchRequestGroupTopic{}
	for _, t := range req.Topics {
		g.Topics = append(g.Topics, kmsg.OffsetFetchRequestGroupTopic{Topic: t.Topic, Partitions: t.Partitions})
	}
	return &g
}

// replyOffsets answers in the form of the versions for one group.
func (s *groupService) replyOffsets(r *listener.Request, g kmsg.OffsetFetchResponseGroup) {
	var code firstCode
	noteOffsets(&code, &g)
	resp := kmsg.NewPtrOffsetFetchResponse()
	resp.ErrorCode = g.ErrorCode
	for _, t := range g.Topics {
		out := kmsg.NewOffsetFetchResponseTopic()
		out.Topic = t.Topic
		for _, p := range t.Partitions {
			q := kmsg.NewOffsetFetchResponseTopicPartition()
			q.Partition, q.Offset, q.LeaderEpoch, q.Metadata, q.ErrorCode = p.Partition, p.Offset, p.LeaderEpoch, p.Metadata, p.ErrorCode
			out.Partitions = append(out.Partitions, q)
		}
		resp.Topics = append(resp.Topics, out)
	}
	r.Reply(resp, int16(code))
}

// provedGroup is the partition of a group's coordinator. The error is nil if it was
// proved, after the request arrived, that this node is the coordinator.
type provedGroup struct {
	partition int32
	err       error
}

// proveGroups proves the coordinators of the groups, which share a look at the store for
// each journal.
func (s *groupService) proveGroups(ctx context.Context, by *listener.Client, groups []kmsg.OffsetFetchRequestGroup) []provedGroup {
	places := make([]provedGroup, len(groups))
	var partitions []int32
	proofs := map[int32]int{} // places in partitions
	for i := range groups {
		partition, err := s.partitionOf(by, groups[i].Group)
		places[i] = provedGroup{partition, err}
		if _, known := proofs[partition]; err == nil && !known {
			proofs[partition] = len(partitions)
			partitions = append(partitions, partition)
		}
	}
	errs := s.groups.Prove(ctx, partitions)
	for i := range places {
		if p := &places[i]; p.err == nil {
			p.err = errs[proofs[p.partition]]
		}
	}
	return places
}

// partitionOf returns the partition of the coordinator of a group, which the client may
// describe.
func (s *groupService) partitionOf(by *listener.Client, id string) (int32, error) {
	if err := s.gate.group(by, toDescribe, id); err != nil {
		return -1, err
	}
	if s.readsOnly() {
		return -1, metadata.ErrReadsOnly
	}
	partition := s.groups.Partition(id)
	if partition < 0 {
		return -1, coordinator.ErrNotCoordinator
	}
	return partition, nil
}

// committed returns the answer for one group. If the version has no place for
// an error of the group, its partitions carry it.
func (s *groupService) committed(ctx context.Context, r *listener.Request, in *kmsg.OffsetFetchRequestGroup, proved provedGroup) kmsg.OffsetFetchResponseGroup {
	out := kmsg.NewOffsetFetchResponseGroup()
	out.Group = in.Group
	q := s.wanted(r, in)
	offsets, err := s.readCommitted(ctx, proved, in.Group, q.want)
	switch code := s.codeFor(err, onCommitted, "OffsetFetch"); {
	case code == 0 && in.Topics == nil:
		out.Topics = s.allCommitted(r, offsets)
	case code == 0:
		for i, o := range offsets {
			s.place(r, q.slots[i], o)
		}
		out.Topics = q.topics
	case r.Version >= committedGroupCode:
		out.ErrorCode = code
	default:
		for _, slot := range q.slots {
			slot.ErrorCode = code
		}
		out.Topics = q.topics
	}
	return out
}

// wanted is the content of a request: the partitions, and the slots for the
// answers.
type wanted struct {
	topics []kmsg.OffsetFetchResponseGroupTopic
	want   []group.TopicPartition // nil for all
	slots  []*kmsg.OffsetFetchResponseGroupTopicPartition
}

func (s *groupService) wanted(r *listener.Request, in *kmsg.OffsetFetchRequestGroup) (q wanted) {
	if in.Topics == nil {
		return q
	}
	q.want = []group.TopicPartition{}
	q.topics = make([]kmsg.OffsetFetchResponseGroupTopic, len(in.Topics))
	for i, t := range in.Topics {
		out := &q.topics[i]
		out.Topic, out.TopicID = t.Topic, t.TopicID
		out.Partitions = make([]kmsg.OffsetFetchResponseGroupTopicPartition, len(t.Partitions))
		name, err := s.committedTopic(r, &t)
		for j, p := range t.Partitions {
			slot := &out.Partitions[j]
			*slot = noOffset(p)
			if err != nil {
				slot.ErrorCode = s.codeFor(err, onCommitted, "OffsetFetch")
				continue
			}
			q.want, q.slots = append(q.want, group.TopicPartition{Topic: name, Partition: p}), append(q.slots, slot)
		}
	}
	return q
}

// committedTopic returns the name of a topic that is asked for. One that is named need
// not exist any more.
func (s *groupService) committedTopic(r *listener.Request, in *kmsg.OffsetFetchRequestGroupTopic) (string, error) {
	if r.Version < committedTopicIDs {
		return in.Topic, s.gate.topicName(r.Client, toDescribe, in.Topic)
	}
	t, err := s.gate.topic(r, toDescribe, topicRef{id: in.TopicID, byID: true})
	if err != nil {
		return "", err
	}
	return t.Name, nil
}

func noOffset(partition int32) kmsg.OffsetFetchResponseGroupTopicPartition {
	p := kmsg.NewOffsetFetchResponseGroupTopicPartition()
	p.Partition, p.Offset, p.LeaderEpoch, p.Metadata = partition, -1, -1, kmsg.StringPtr("")
	return p
}

// place puts an offset into an answer, unless it belongs to an earlier topic of
// the same name.
func (s *groupService) place(r *listener.Request, slot *kmsg.OffsetFetchResponseGroupTopicPartition, c group.Committed) {
	if c.Offset == nil {
		return
	}
	former, err := s.ofFormerTopic(r, c)
	if former || err != nil {
		slot.ErrorCode = s.codeFor(err, onCommitted, "OffsetFetch")
		return
	}
	slot.Offset, slot.LeaderEpoch, slot.Metadata = c.Offset.Offset, c.Offset.LeaderEpoch, &c.Offset.Metadata
}

// ofFormerTopic reports whether an offset belongs to an earlier topic of the same name. That
// this node knows an earlier one than the coordinator did is no answer.
func (s *groupService) ofFormerTopic(r *listener.Request, c group.Committed) (bool, error) {
	former := func() bool {
		t, err := s.gate.known(r.Client, toDescribe, byName(c.Topic))
		return err == nil && c.Offset.TopicID != [16]byte{} && t.ID != c.Offset.TopicID
	}
	if !former() {
		return false, nil
	}
	if err := s.gate.proved(r); err != nil {
		return false, err
	}
	return former(), nil
}

// shown reports whether an offset is in the list of all of a group. Deleted topics have no
// id that would name them.
func (s *groupService) shown(r *listener.Request, c group.Committed) (bool, error) {
	if former, err := s.ofFormerTopic(r, c); former || err != nil {
		return false, err
	}
	if r.Version < committedTopicIDs {
		_, err := s.gate.known(r.Client, toDescribe, byName(c.Topic))
		return err == nil || unknownTopic(err), nil
	}
	_, err := s.gate.topic(r, toDescribe, topicRef{id: c.Offset.TopicID, byID: true})
	if errors.Is(err, errUnproved) {
		return false, err
	}
	return err == nil, nil
}

// allCommitted lists all offsets of a group, sorted by topic.
func (s *groupService) allCommitted(r *listener.Request, offsets []group.Committed) (topics []kmsg.OffsetFetchResponseGroupTopic) {
	for _, c := range offsets {
		shown, err := s.shown(r, c)
		if !shown && err == nil {
			continue
		}
		if len(topics) == 0 || topics[len(topics)-1].Topic != c.Topic {
			t := kmsg.NewOffsetFetchResponseGroupTopic()
			t.Topic, t.TopicID = c.Topic, c.Offset.TopicID
			topics = append(topics, t)
		}
		last := &topics[len(topics)-1]
		slot := noOffset(c.Partition)
		if s.place(r, &slot, c); err != nil {
			slot.ErrorCode = s.codeFor(err, onCommitted, "OffsetFetch")
		}
		last.Partitions = append(last.Partitions, slot)
	}
	return topics
}

// readCommitted asks a group's coordinator.
func (s *groupService) readCommitted(ctx context.Context, proved provedGroup, id string, want []group.TopicPartition) ([]group.Committed, error) {
	if proved.err != nil {
		return nil, proved.err
	}
	type result struct {
		offsets []group.Committed
		err     error
	}
	read := make(chan result, 1)
	err := s.groups.Do(ctx, proved.partition, func(m *group.Machine, _ coordinator.Out) {
		m.Committed(id, want, func(offsets []group.Committed, err error) { read <- result{offsets, err} })
	})
	if err != nil {
		return nil, err
	}
	select {
	case got := <-read:
		return got.offsets, got.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
