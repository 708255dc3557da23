package kafka

import (
	"context"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata/coordinator"
	"github.com/varvelog/varve/metadata/coordinator/group"
)

// DeleteGroups, key 42 (KIP-229).
//
//	v2  flexible
func init() {
	register(listener.API{
		Key: kmsg.DeleteGroups, Min: 0, Max: 2,
		Shape: shape{strs()},
	}, func(s *services) listener.Handler { return s.groups.beginDeleteGroups })
}

func (s *groupService) beginDeleteGroups(ctx context.Context, r *listener.Request) {
	req := r.Body.(*kmsg.DeleteGroupsRequest)
	resp := kmsg.NewPtrDeleteGroupsResponse()
	resp.Groups = make([]kmsg.DeleteGroupsResponseGroup, len(req.Groups))
	var waiting atomic.Int32 // groups not done yet, and this function
	waiting.Store(int32(len(req.Groups)) + 1)
	done := func() {
		if waiting.Add(-1) > 0 {
			return
		}
		var code firstCode
		for i := range resp.Groups {
			code.note(resp.Groups[i].ErrorCode)
		}
		r.Reply(resp, int16(code))
	}
	for i, id := range req.Groups {
		out := &resp.Groups[i]
		out.Group = id
		settle := func(err error) {
			out.ErrorCode = s.groupCode(err, "DeleteGroups")
			done()
		}
		if err := s.ask(ctx, r.Client, toDelete, id, func(m *group.Machine, out coordinator.Out) { m.Delete(out, id, settle) }); err != nil {
			settle(err)
		}
	}
	done()
}
