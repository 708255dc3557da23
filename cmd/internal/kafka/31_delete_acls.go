package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/acl"
)

// DeleteAcls, key 31 (KIP-140).
//
//	v1  pattern type (KIP-290)
//	v2  flexible
//	v3  user resources
func init() {
	register(listener.API{
		Key: kmsg.DeleteACLs, Min: 1, Max: 3, MaxFrame: listener.PlainFrame, Forwarded: true,
		Shape: shape{listOf(sizeOf[kmsg.DeleteACLsRequestFilter](), aclFields...)},
	}, func(s *services) listener.Handler { return s.access.beginDeleteACLs })
}

func (s *accessService) beginDeleteACLs(ctx context.Context, r *listener.Request) {
	r.Go(func() {
		req := r.Body.(*kmsg.DeleteACLsRequest)
		ctx, cancel := context.WithTimeout(ctx, adminWait)
		defer cancel()
		resp := kmsg.NewPtrDeleteACLsResponse()
		resp.Results = make([]kmsg.DeleteACLsResponseResult, len(req.Filters))
		filters := make([]acl.Filter, len(req.Filters))
		for i := range req.Filters {
			in := &req.Filters[i]
			filters[i] = acl.Filter{
				Type: acl.Type(in.ResourceType), Pattern: acl.Pattern(in.ResourcePatternType), Name: in.ResourceName,
				Principal: in.Principal, Host: in.Host, Operation: acl.Operation(in.Operation), Permission: acl.Permission(in.PermissionType),
			}
		}
		var code firstCode
		for i, result := range s.aclAdmin(r.Client).DeleteACLs(ctx, filters) {
			s.fillRemoved(&resp.Results[i], result, &code)
		}
		r.Reply(resp, int16(code))
	})
}

func (s *accessService) fillRemoved(out *kmsg.DeleteACLsResponseResult, result metadata.RemovedACLs, code *firstCode) {
	if err := result.Err; err != nil {
		out.ErrorCode, out.ErrorMessage = code.note(s.codeFor(err, onAdmin, "DeleteAcls")), kmsg.StringPtr(err.Error())
		return
	}
	for _, b := range result.Bindings {
		out.MatchingACLs = append(out.MatchingACLs, kmsg.DeleteACLsResponseResultMatchingACL{
			ResourceType: kmsg.ACLResourceType(b.Type), ResourceName: b.Name, ResourcePatternType: kmsg.ACLResourcePatternType(b.Pattern),
			Principal: b.Principal, Host: b.Host, Operation: kmsg.ACLOperation(b.Operation), PermissionType: kmsg.ACLPermissionType(b.Permission),
		})
	}
}
