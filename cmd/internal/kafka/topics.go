package kafka

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/segment"
)

// sizeOf is the size of a T in bytes.
func sizeOf[T any]() int { return int(reflect.TypeFor[T]().Size()) }

// findTopic finds a topic by id or name, as the version of the request says.
func (s *Server) findTopic(name string, id [16]byte, byID bool) (*metadata.Topic, error) {
	if byID {
		if t, ok := s.backend.Topics.TopicByID(segment.ID(id)); ok {
			return t, nil
		}
		return nil, coded(kerr.UnknownTopicID, "no topic has the id %s", segment.ID(id).Base64())
	}
	if t, ok := s.backend.Topics.Topic(name); ok {
		return t, nil
	}
	return nil, coded(kerr.UnknownTopicOrPartition, "there is no topic %q", name)
}

// confirmLimit bounds how long an answer waits for the store to say whether this node
// still leads.
const confirmLimit = 2 * time.Second

var errDeposed = errors.New("another node leads now")

// asLeader has answer give an answer that names this node as a leader, or the
// connection closed if it leads no more: the client looks elsewhere then.
func (s *Server) asLeader(ctx context.Context, r *listener.Request, answer func()) {
	r.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, confirmLimit)
		defer cancel()
		if s.backend.Deposed(ctx) {
			r.HangUp(errDeposed)
			return
		}
		answer()
	})
}

// leader is who leads a partition, and where.
type leader struct {
	node  Broker
	epoch int32
}

// leaderOf returns a partition's leader if it is known and not this node.
func (s *Server) leaderOf(t *metadata.Topic, partition int32) (leader, bool) {
	p := s.backend.Placement(t, partition)
	if p.Leader < 0 || p.Epoch < 0 || p.Leader == s.backend.NodeID() {
		return leader{}, false
	}
	for _, b := range s.backend.Brokers() {
		if b.ID == p.Leader {
			return leader{node: b, epoch: p.Epoch}, true
		}
	}
	return leader{}, false
}

// shown are the replicas that clients are shown: as many as the topic was created
// with, by the leader standing there more than once. Tools that manage topics compare
// the number with what they asked for, and would make the topic again (Terraform's
// Kafka provider does). Brokers that there are not would look like failed ones.
func (p Placement) shown(t *metadata.Topic) []int32 {
	missing := int(t.ReplicationFactor) - len(p.Replicas)
	if p.Leader < 0 || missing <= 0 {
		return p.Replicas
	}
	return slices.Concat(p.Replicas, slices.Repeat([]int32{p.Leader}, missing))
}

// rackOf is a broker's rack as the protocol has it: null for none.
func rackOf(b Broker) *string {
	if b.Rack == "" {
		return nil
	}
	return &b.Rack
}
