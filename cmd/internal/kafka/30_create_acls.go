package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata/acl"
)

// CreateAcls, key 30 (KIP-140).
//
//	v1  pattern type (KIP-290)
//	v2  flexible
//	v3  user resources
func init() {
	register(listener.API{
		Key: kmsg.CreateACLs, Min: 1, Max: 3, Forwarded: true,
		Shape: shape{listOf(sizeOf[kmsg.CreateACLsRequestCreation](), aclFields...)},
	}, func(s *services) listener.Handler { return s.access.beginCreateACLs })
}

func (s *accessService) beginCreateACLs(ctx context.Context, r *listener.Request) {
	r.Go(func() {
		req := r.Body.(*kmsg.CreateACLsRequest)
		ctx, cancel := context.WithTimeout(ctx, adminWait)
		defer cancel()
		resp := kmsg.NewPtrCreateACLsResponse()
		resp.Results = make([]kmsg.CreateACLsResponseResult, len(req.Creations))
		bindings := make([]acl.Binding, len(req.Creations))
		for i := range req.Creations {
			bindings[i] = bindingOf(&req.Creations[i])
		}
		var code firstCode
		for i, err := range s.aclAdmin(r.Client).CreateACLs(ctx, bindings) {
			if out := &resp.Results[i]; err != nil {
				out.ErrorCode, out.ErrorMessage = code.note(s.codeFor(err, onAdmin, "CreateAcls")), kmsg.StringPtr(err.Error())
			}
		}
		r.Reply(resp, int16(code))
	})
}

func bindingOf(in *kmsg.CreateACLsRequestCreation) acl.Binding {
	return acl.Binding{
		Type: acl.Type(in.ResourceType), Pattern: acl.Pattern(in.ResourcePatternType), Name: in.ResourceName,
		Principal: in.Principal, Host: in.Host, Operation: acl.Operation(in.Operation), Permission: acl.Permission(in.PermissionType),
	}
}
