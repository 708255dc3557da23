package kafka

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/coordinator"
	"github.com/varvelog/varve/metadata/coordinator/group"
)

// ListGroups, key 16.
//
//	v1  throttle time
//	v3  flexible
//	v4  states, and a filter by them (KIP-518)
//	v5  types, and a filter by them (KIP-848); there are classic groups only
//
// A node lists the groups it coordinates: clients ask all nodes.
func init() {
	register(listener.API{
		Key: kmsg.ListGroups, Min: 0, Max: 5, Bulky: true, MaxFrame: listener.PlainFrame,
		Shape: shape{strs().From(4), strs().From(5)},
	}, func(s *services) listener.Handler { return s.groups.beginListGroups })
}

const classicGroup = "classic"

func (s *groupService) beginListGroups(ctx context.Context, r *listener.Request) {
	s.asLeader(ctx, r, func() {
		req := r.Body.(*kmsg.ListGroupsRequest)
		resp := kmsg.NewPtrListGroupsResponse()
		if s.readsOnly() { // an empty list would mean that there are none
			resp.ErrorCode = s.groupCode(metadata.ErrReadsOnly, "ListGroups")
		}
		for _, partition := range s.groups.Led() {
			var list []group.Listed
			err := s.groups.Do(ctx, partition, func(m *group.Machine, _ coordinator.Out) { list = m.List() })
			if err != nil && !errors.Is(err, coordinator.ErrNotCoordinator) {
				resp.ErrorCode, resp.Groups = s.groupCode(err, "ListGroups"), nil
				break
			}
			for _, l := range list {
				if passes(req.StatesFilter, l.State.String()) && passes(req.TypesFilter, classicGroup) && s.gate.listsGroup(r.Client, l.Group) {
					g := kmsg.NewListGroupsResponseGroup()
					g.Group, g.ProtocolType, g.GroupState, g.GroupType = l.Group, l.ProtocolType, l.State.String(), classicGroup
					resp.Groups = append(resp.Groups, g)
				}
			}
		}
		r.Reply(resp, resp.ErrorCode)
	})
}

// passes reports whether a filter lets a word pass. An empty filter lets all
// pass.
func passes(filter []string, word string) bool {
	return len(filter) == 0 || slices.ContainsFunc(filter, func(f string) bool { return strings.EqualFold(f, word) })
}
