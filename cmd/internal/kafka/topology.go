package kafka

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/fetch/steer"
	"github.com/varvelog/varve/metadata"
)

// topology is the brokers and leaders that this node knows of. Backend has the
// contracts of its functions.
type topology struct {
	clusterID  string
	nodeID     func() int32
	controller func() int32
	brokers    func() []Broker
	placement  func(t *metadata.Topic, partition int32) Placement
	deposed    func(ctx context.Context) bool
	steering   func() (steer.Nodes, bool)
	await      func(ctx context.Context, journals []uint32) // Backend.AwaitLeaders; nil: there is no wait
}

// awaitLeaders waits while leaders of the topics' partitions are about to be known. A client
// that is sent away without a leader may not ask again for seconds.
func (t *topology) awaitLeaders(ctx context.Context, topics ...*metadata.Topic) {
	if t.await == nil {
		return
	}
	var journals []uint32
	for _, topic := range topics {
		for i := range topic.Partitions {
			if id := topic.Partitions[i].Journal; !slices.Contains(journals, id) {
				journals = append(journals, id)
			}
		}
	}
	t.await(ctx, journals)
}

// confirmLimit limits how long an answer waits for the store's reply whether
// this node still leads.
const confirmLimit = 2 * time.Second

var errDeposed = errors.New("another node leads now")

// asLeader calls answer, which sends an answer that names this node as a
// leader. If this node leads no more, it closes the connection instead, and the
// client looks elsewhere.
func (t *topology) asLeader(ctx context.Context, r *listener.Request, answer func()) {
	r.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, confirmLimit)
		defer cancel()
		if t.deposed(ctx) {
			r.HangUp(errDeposed)
			return
		}
		answer()
	})
}

// endpoint is a broker as the clients of one listener reach it.
type endpoint struct {
	id int32
	Address
	rack   *string // null for none
	fenced bool
}

// endpoints returns the brokers that are not fenced and have a listener of the name of the
// client's. Those without one do not exist for it, as in Kafka.
func (t *topology) endpoints(by *listener.Client) (all []endpoint) {
	for _, e := range t.withFenced(by) {
		if !e.fenced {
			all = append(all, e)
		}
	}
	return all
}

// withFenced is endpoints with the fenced ones.
func (t *topology) withFenced(by *listener.Client) (all []endpoint) {
	for _, b := range t.brokers() {
		if at, ok := b.Addresses[by.Listener]; ok {
			all = append(all, endpoint{id: b.ID, Address: at, rack: rackOf(b), fenced: b.Fenced})
		}
	}
	return all
}

// endpoint returns the broker with an id, if the client may connect to it.
func (t *topology) endpoint(by *listener.Client, id int32) (endpoint, bool) {
	all := t.endpoints(by)
	i := slices.IndexFunc(all, func(e endpoint) bool { return e.id == id })
	if i < 0 {
		return endpoint{}, false
	}
	return all[i], true
}

// leader is the leader of a partition, and the epoch of its leadership.
type leader struct {
	node  endpoint
	epoch int32
}

// leaderOf returns a partition's leader if it is known and not this node, and the client may
// connect to it.
func (t *topology) leaderOf(by *listener.Client, topic *metadata.Topic, partition int32) (leader, bool) {
	p := t.placement(topic, partition)
	if p.Leader < 0 || p.Epoch < 0 || p.Leader == t.nodeID() {
		return leader{}, false
	}
	b, ok := t.endpoint(by, p.Leader)
	return leader{node: b, epoch: p.Epoch}, ok
}

// shown returns the replicas that clients see: as many as the topic was created
// with, of which the leader stands for missing ones. Tools that manage topics
// compare the number with the one they asked for. At a difference they would
// make the topic again (Terraform's Kafka provider does). Brokers that do not
// exist would look like failed ones.
func (p Placement) shown(t *metadata.Topic) []int32 {
	missing := int(t.ReplicationFactor) - len(p.Replicas)
	if p.Leader < 0 || missing <= 0 {
		return p.Replicas
	}
	return slices.Concat(p.Replicas, slices.Repeat([]int32{p.Leader}, missing))
}

// rackOf returns a broker's rack in the form of the protocol: null for none.
func rackOf(b Broker) *string {
	if b.Rack == "" {
		return nil
	}
	return &b.Rack
}
