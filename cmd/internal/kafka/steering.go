package kafka

import (
	"errors"
	"slices"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/fetch"
	"github.com/varvelog/varve/fetch/steer"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/partlog"
)

// Consumers are sent to the nodes from which they are to read (KIP-392), and a fetch node sends
// them back to leaders. It does so by a preferred replica without an error: clients stay at a
// preferred replica that has errors. Package steer decides.

// fetchReplicas is the first version of Fetch that names a preferred read replica.
const fetchReplicas = 11

// nodesFor returns the cluster for a client, with the fetch nodes that it may connect to and
// would come back from. False: this node works alone.
func (t *topology) nodesFor(by *listener.Client) (nodes steer.Nodes, ok bool) {
	if t.steering == nil {
		return steer.Nodes{}, false
	}
	if nodes, ok = t.steering(); !ok || len(nodes.Readers) == 0 {
		return nodes, ok
	}
	if !steer.Returns(by.SoftwareName, by.SoftwareVersion) {
		nodes.Readers = nil
		return nodes, true
	}
	reached := t.endpoints(by)
	nodes.Readers = slices.DeleteFunc(slices.Clone(nodes.Readers), func(x steer.Node) bool {
		return !slices.ContainsFunc(reached, func(e endpoint) bool { return e.id == x.ID })
	})
	return nodes, true
}

// replicas returns the replicas that a client sees: a client that may be sent to fetch nodes
// goes there only if they are among them.
func (t *topology) replicas(by *listener.Client, topic *metadata.Topic, at Placement) []int32 {
	shown := at.shown(topic)
	if at.Leader < 0 {
		return shown
	}
	if nodes, ok := t.nodesFor(by); ok {
		shown = slices.Clip(shown)
		for _, x := range nodes.Readers {
			if !slices.Contains(shown, x.ID) {
				shown = append(shown, x.ID)
			}
		}
	}
	return shown
}

// elsewhere returns the choice of the node for partitions of the request; nil: all of them are
// read here.
func (f *fetching) elsewhere() func(k partlog.Key, offset int64, tail bool) int32 {
	if f.request.Version < fetchReplicas {
		return nil
	}
	nodes, ok := f.service.topology.nodesFor(f.request.Client)
	switch {
	case !ok, nodes.Reads && !nodes.Leaving, !nodes.Reads && len(nodes.Readers) == 0:
		return nil
	case nodes.Reads:
		return func(k partlog.Key, _ int64, _ bool) int32 { return f.leaderOf(k) }
	}
	return func(k partlog.Key, offset int64, tail bool) int32 {
		return nodes.FromLeader(steer.Read{Key: k, Offset: offset, Tail: tail, Rack: f.body.Rack})
	}
}

// leaderOf returns the leader of a partition, if another node is and the client may connect to
// it; else 0.
func (f *fetching) leaderOf(k partlog.Key) int32 {
	t, err := f.service.gate.known(f.request.Client, toRead, topicRef{id: k.Topic, byID: true})
	if err != nil || hasPartition(t, k.Index) != nil {
		return 0
	}
	l, ok := f.service.topology.leaderOf(f.request.Client, t, k.Index)
	if !ok {
		return 0
	}
	return l.node.id
}

// sentBack reports whether the client is sent to the leader in place of an error. A fetch node
// answers with an error only if its answer is proved, or no leader is known.
func (f *fetching) sentBack(slot fetchSlot, err error) bool {
	if f.request.Version < fetchReplicas || slot.topic == nil || errors.Is(err, fetch.ErrOutOfRange) || errors.Is(err, fetch.ErrUnknownPartition) {
		return false
	}
	if nodes, ok := f.service.topology.nodesFor(f.request.Client); !ok || !nodes.Reads {
		return false
	}
	slot.out.preferred = f.leaderOf(partlog.Key{Topic: slot.topic.ID, Index: slot.out.index})
	return slot.out.preferred != 0
}
