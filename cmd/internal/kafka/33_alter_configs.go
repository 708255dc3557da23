package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata"
)

// AlterConfigs, key 33 (KIP-133). It replaces all configs of a resource;
// IncrementalAlterConfigs does not.
//
//	v2  flexible
func init() {
	register(listener.API{
		Key: kmsg.AlterConfigs, Min: 0, Max: 2, Forwarded: true,
		Shape: shape{
			listOf(sizeOf[kmsg.AlterConfigsRequestResource](), num(1), str(),
				listOf(sizeOf[kmsg.AlterConfigsRequestResourceConfig](), str(), str())),
			num(1),
		},
	}, func(s *services) listener.Handler { return s.configs.beginAlterConfigs })
}

func (s *configService) beginAlterConfigs(ctx context.Context, r *listener.Request) {
	r.Go(func() {
		req := r.Body.(*kmsg.AlterConfigsRequest)
		ctx, cancel := context.WithTimeout(ctx, alterWait)
		defer cancel()
		all := make([]alteration, len(req.Resources))
		for i, in := range req.Resources {
			all[i] = alteration{resource: resource{in.ResourceType, in.ResourceName}}
			for _, c := range in.Configs {
				all[i].add(metadata.OpSet, c.Name, c.Value)
			}
		}
		resp := kmsg.NewPtrAlterConfigsResponse()
		var code firstCode
		for i, err := range s.alter(ctx, r.Client, all, true, req.ValidateOnly) {
			out := kmsg.NewAlterConfigsResponseResource()
			out.ResourceType, out.ResourceName = all[i].kind, all[i].name
			if err != nil {
				out.ErrorCode = code.note(s.codeFor(err, onAdmin, "AlterConfigs"))
				out.ErrorMessage = kmsg.StringPtr(err.Error())
			}
			resp.Resources = append(resp.Resources, out)
		}
		r.Reply(resp, int16(code))
	})
}
