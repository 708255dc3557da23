package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
)

// DescribeUserScramCredentials, key 50 (KIP-554).
//
// Salts and keys are never shown.
func init() {
	register(listener.API{
		Key: kmsg.DescribeUserSCRAMCredentials, Min: 0, Max: 0, MaxFrame: listener.PlainFrame,
		Shape: shape{listOf(sizeOf[kmsg.DescribeUserSCRAMCredentialsRequestUser](), str())},
	}, func(s *services) listener.Handler { return s.access.beginDescribeUsers })
}

func (s *accessService) beginDescribeUsers(_ context.Context, r *listener.Request) {
	req := r.Body.(*kmsg.DescribeUserSCRAMCredentialsRequest)
	resp := kmsg.NewPtrDescribeUserSCRAMCredentialsResponse()
	if err := s.gate.cluster(r.Client, toDescribe); err != nil {
		resp.ErrorCode, resp.ErrorMessage = s.codeFor(err, onAdmin, "DescribeUserScramCredentials"), kmsg.StringPtr(err.Error())
		r.Reply(resp, resp.ErrorCode)
		return
	}
	var all []kmsg.DescribeUserSCRAMCredentialsResponseResult // by name
	at := map[string]int{}
	for _, u := range s.access.users() {
		i, ok := at[u.Name]
		if !ok {
			i, at[u.Name] = len(all), len(all)
			result := kmsg.NewDescribeUserSCRAMCredentialsResponseResult()
			result.User = u.Name
			all = append(all, result)
		}
		info := kmsg.NewDescribeUserSCRAMCredentialsResponseResultCredentialInfo()
		info.Mechanism, info.Iterations = int8(u.Mechanism), int32(u.Iterations)
		all[i].CredentialInfos = append(all[i].CredentialInfos, info)
	}
	if len(req.Users) == 0 {
		resp.Results = all
		r.Reply(resp, 0)
		return
	}
	asked := map[string]int{}
	for _, u := range req.Users {
		asked[u.Name]++
	}
	var code firstCode
	for _, u := range req.Users {
		result := kmsg.NewDescribeUserSCRAMCredentialsResponseResult()
		result.User = u.Name
		switch i, ok := at[u.Name]; {
		case asked[u.Name] == 0: // answered
			continue
		case asked[u.Name] > 1:
			result.ErrorCode, result.ErrorMessage = code.note(kerr.DuplicateResource.Code), kmsg.StringPtr(fmt.Sprintf("user %.100q is asked for %d times", u.Name, asked[u.Name]))
		case !ok:
			result.ErrorCode, result.ErrorMessage = code.note(kerr.ResourceNotFound.Code), kmsg.StringPtr(fmt.Sprintf("there is no user %.100q", u.Name))
		default:
			result = all[i]
		}
		asked[u.Name] = 0
		resp.Results = append(resp.Results, result)
	}
	r.Reply(resp, int16(code))
}
