package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/acl"
)

// DescribeAcls, key 29 (KIP-140).
//
//	v1  pattern type (KIP-290)
//	v2  flexible
//	v3  user resources
//
// While clients need not authenticate, there is no authorizer. Kafka answers that with
// SECURITY_DISABLED, which means to MirrorMaker that there is nothing to copy.
func init() {
	register(listener.API{
		Key: kmsg.DescribeACLs, Min: 1, Max: 3, MaxFrame: listener.PlainFrame,
		Shape: aclFields,
	}, func(s *services) listener.Handler { return s.access.beginDescribeACLs })
}

// aclFields are the fields of a rule, or of a filter, in a request.
var aclFields = shape{num(1), str(), num(1), str(), str(), num(1), num(1)}

var errNoAuthorizer = coded(kerr.SecurityDisabled, "there is no authorizer: every client may do everything")

// aclAdmin changes ACLs for a client, or refuses all it asks for.
func (s *accessService) aclAdmin(by *listener.Client) metadata.AccessAdmin {
	if err := s.acls(by, toAlter); err != nil {
		return metadata.Refused{Err: err}
	}
	return s.admin
}

// acls returns an error if a client may not do op to ACLs.
func (s *accessService) acls(by *listener.Client, op operation) error {
	if err := s.gate.cluster(by, op); err != nil {
		return err
	}
	if !s.access.enforced() {
		return errNoAuthorizer
	}
	return nil
}

func (s *accessService) beginDescribeACLs(_ context.Context, r *listener.Request) {
	req := r.Body.(*kmsg.DescribeACLsRequest)
	resp := kmsg.NewPtrDescribeACLsResponse()
	filter := acl.Filter{
		Type: acl.Type(req.ResourceType), Pattern: acl.Pattern(req.ResourcePatternType), Name: req.ResourceName,
		Principal: req.Principal, Host: req.Host, Operation: acl.Operation(req.Operation), Permission: acl.Permission(req.PermissionType),
	}
	err := s.acls(r.Client, toDescribe)
	if err == nil {
		err = filter.Check()
	}
	if err != nil {
		resp.ErrorCode, resp.ErrorMessage = s.codeFor(err, onAdmin, "DescribeAcls"), kmsg.StringPtr(err.Error())
		r.Reply(resp, resp.ErrorCode)
		return
	}
	found := s.access.Rules().Select(&filter)
	for i := range found {
		b := &found[i]
		if i == 0 || b.Type != found[i-1].Type || b.Name != found[i-1].Name || b.Pattern != found[i-1].Pattern {
			resp.Resources = append(resp.Resources, kmsg.DescribeACLsResponseResource{
				ResourceType: kmsg.ACLResourceType(b.Type), ResourceName: b.Name, ResourcePatternType: kmsg.ACLResourcePatternType(b.Pattern),
			})
		}
		on := &resp.Resources[len(resp.Resources)-1]
		on.ACLs = append(on.ACLs, kmsg.DescribeACLsResponseResourceACL{
			Principal: b.Principal, Host: b.Host, Operation: kmsg.ACLOperation(b.Operation), PermissionType: kmsg.ACLPermissionType(b.Permission),
		})
	}
	r.Reply(resp, 0)
}
