package kafka

import (
	"cmp"
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
)

// ElectLeaders, key 43 (KIP-183).
//
//	v1  election type, top-level error code (KIP-460)
//	v2  flexible
//
// There is nothing to elect: the leader of a journal leads its partitions, and
// another takes over when it must. Each partition that is named is answered
// with ELECTION_NOT_NEEDED. A request for all partitions returns those that
// needed an election, which are none, as in Kafka.
func init() {
	register(listener.API{
		Key: kmsg.ElectLeaders, Min: 0, Max: 2,
		Shape: shape{
			num(1).From(1),
			listOf(sizeOf[kmsg.ElectLeadersRequestTopic](), str(), ints()),
			num(4),
		},
	}, func(s *services) listener.Handler { return s.clusters.beginElectLeaders })
}

// The kinds of elections: of the preferred replica, and of one that lacks records.
const (
	preferredElection = 0
	uncleanElection   = 1
)

func (s *clusterService) beginElectLeaders(_ context.Context, r *listener.Request) {
	req := r.Body.(*kmsg.ElectLeadersRequest)
	resp := kmsg.NewPtrElectLeadersResponse()
	if req.ElectionType != preferredElection && req.ElectionType != uncleanElection {
		resp.ErrorCode = kerr.InvalidRequest.Code
		r.Reply(resp, resp.ErrorCode)
		return
	}
	if err := s.gate.cluster(r.Client, toAlter); err != nil {
		resp.ErrorCode = s.codeFor(err, onAdmin, "ElectLeaders")
		r.Reply(resp, resp.ErrorCode)
		return
	}
	var code firstCode
	for _, in := range distinct(req.Topics, func(t kmsg.ElectLeadersRequestTopic) any { return t.Topic }) {
		out := kmsg.NewElectLeadersResponseTopic()
		out.Topic = in.Topic
		t, unknown := s.gate.clusterTopic(r.Client, toAlter, in.Topic)
		for _, i := range distinct(in.Partitions, func(p int32) any { return p }) {
			err := unknown
			if err == nil {
				err = cmp.Or(hasPartition(t, i), errNoElection)
			}
			p := kmsg.NewElectLeadersResponseTopicPartition()
			p.Partition = i
			p.ErrorCode = code.note(s.codeFor(err, onAdmin, "ElectLeaders"))
			p.ErrorMessage = kmsg.StringPtr(err.Error())
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
	r.Reply(resp, int16(code))
}

var errNoElection = coded(kerr.ElectionNotNeeded, "the leader of a partition is that of its journal, which is not elected")
