package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata"
)

// IncrementalAlterConfigs, key 44 (KIP-339): set, delete, append to a list,
// subtract from a list.
//
//	v1  flexible
func init() {
	register(listener.API{
		Key: kmsg.IncrementalAlterConfigs, Min: 0, Max: 1, Forwarded: true,
		Shape: shape{
			listOf(sizeOf[kmsg.IncrementalAlterConfigsRequestResource](), num(1), str(),
				listOf(sizeOf[kmsg.IncrementalAlterConfigsRequestResourceConfig](), str(), num(1), str())),
			num(1),
		},
	}, func(s *services) listener.Handler { return s.configs.beginIncrementalAlterConfigs })
}

func (s *configService) beginIncrementalAlterConfigs(ctx context.Context, r *listener.Request) {
	r.Go(func() {
		req := r.Body.(*kmsg.IncrementalAlterConfigsRequest)
		ctx, cancel := context.WithTimeout(ctx, alterWait)
		defer cancel()
		all := make([]alteration, len(req.Resources))
		for i, in := range req.Resources {
			all[i] = alteration{resource: resource{in.ResourceType, in.ResourceName}}
			for _, c := range in.Configs {
				all[i].add(metadata.OpKind(c.Op), c.Name, c.Value)
			}
		}
		resp := kmsg.NewPtrIncrementalAlterConfigsResponse()
		var code firstCode
		for i, err := range s.alter(ctx, r.Client, all, false, req.ValidateOnly) {
			out := kmsg.NewIncrementalAlterConfigsResponseResource()
			out.ResourceType, out.ResourceName = all[i].kind, all[i].name
			if err != nil {
				out.ErrorCode = code.note(s.codeFor(err, onAdmin, "IncrementalAlterConfigs"))
				out.ErrorMessage = kmsg.StringPtr(err.Error())
			}
			resp.Resources = append(resp.Resources, out)
		}
		r.Reply(resp, int16(code))
	})
}
