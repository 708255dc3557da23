package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata/coordinator"
	"github.com/varvelog/varve/metadata/coordinator/group"
)

// DescribeGroups, key 15.
//
//	v1  throttle time
//	v3  authorized operations (KIP-430): there is no authorization, and all are
//	v4  static members (KIP-345)
//	v5  flexible
//	v6  GROUP_ID_NOT_FOUND and a message (KIP-1043); before, an unknown group is dead
func init() {
	register(listener.API{
		Key: kmsg.DescribeGroups, Min: 0, Max: 6, Bulky: true,
		Shape: shape{strs(), num(1).From(3)},
	}, func(s *services) listener.Handler { return s.groups.beginDescribeGroups })
}

const describeNotFound = 6

func (s *groupService) beginDescribeGroups(ctx context.Context, r *listener.Request) {
	req := r.Body.(*kmsg.DescribeGroupsRequest)
	resp := kmsg.NewPtrDescribeGroupsResponse()
	var code firstCode
	for _, id := range distinct(req.Groups, func(id string) any { return id }) { // otherwise the answer has no limit
		g := s.describeGroup(ctx, r, id)
		code.note(g.ErrorCode)
		g.AuthorizedOperations = notAsked
		if req.IncludeAuthorizedOperations && g.ErrorCode == 0 {
			g.AuthorizedOperations = s.gate.operationsOnGroup(r.Client, id)
		}
		resp.Groups = append(resp.Groups, g)
	}
	r.Reply(resp, int16(code))
}

func (s *groupService) describeGroup(ctx context.Context, r *listener.Request, id string) kmsg.DescribeGroupsResponseGroup {
	g := kmsg.NewDescribeGroupsResponseGroup()
	g.Group = id
	var d group.Description
	var unknown error
	err := s.ask(ctx, r.Client, toDescribe, id, func(m *group.Machine, _ coordinator.Out) { d, unknown = m.Describe(id) })
	err = s.confirmed(ctx, id, err)
	switch {
	case err != nil:
	case errors.Is(unknown, group.ErrNotFound):
		g.State = group.Dead.String()
		if r.Version >= describeNotFound {
			err = fmt.Errorf("group %s: %w", id, unknown)
		}
	default:
		err = unknown
	}
	if err != nil {
		g.ErrorCode = s.groupCode(err, "DescribeGroups")
		g.ErrorMessage = kmsg.StringPtr(err.Error())
		return g
	}
	if unknown != nil {
		return g
	}
	g.State, g.ProtocolType, g.Protocol = d.State.String(), d.ProtocolType, d.Protocol
	for _, who := range d.Members {
		m := kmsg.NewDescribeGroupsResponseGroupMember()
		m.MemberID, m.InstanceID, m.ClientID, m.ClientHost = who.Member, who.Instance, who.ClientID, who.ClientHost
		m.ProtocolMetadata, m.MemberAssignment = apart(who.Metadata), apart(who.Assignment)
		g.Members = append(g.Members, m)
	}
	return g
}
