package kafka

import (
	"cmp"
	"context"
	"regexp"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
)

// ApiVersions, key 18.
//
//	v3  flexible, name and version of the client's software (KIP-511), features (KIP-584)
//	v4  features with minimum 0 may be listed (KAFKA-17492); none are
//	v5  expected cluster and node id (KIP-1242): not served, because a node that
//	    takes over from another could not return its id
//
// A version above the highest is answered as v0 with UNSUPPORTED_VERSION and
// the range of this key, so that the client can use a lower one.
func init() {
	register(listener.API{
		Key: kmsg.ApiVersions, Min: 0, Max: 4, MaxFrame: listener.PlainFrame, BeforeAuthentication: true,
		Shape: shape{str().From(3), str().From(3)},
	}, func(s *services) listener.Handler { return s.clusters.beginApiVersions })
}

// clientSoftware is the form of a client's name and version by KIP-511.
var clientSoftware = regexp.MustCompile(`^[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?$`)

const clientSoftwareVersion = 3

func (s *clusterService) beginApiVersions(_ context.Context, r *listener.Request) {
	resp := kmsg.NewPtrApiVersionsResponse()
	if r.Body == nil {
		resp.ErrorCode = kerr.UnsupportedVersion.Code
		for _, k := range advertised() {
			if k.ApiKey == kmsg.ApiVersions.Int16() {
				resp.ApiKeys = append(resp.ApiKeys, k)
			}
		}
		resp.SetVersion(0)
		r.ReplyUnversioned(resp, resp.ErrorCode)
		return
	}
	if r.Version >= clientSoftwareVersion {
		req := r.Body.(*kmsg.ApiVersionsRequest)
		if !clientSoftware.MatchString(req.ClientSoftwareName) || !clientSoftware.MatchString(req.ClientSoftwareVersion) {
			resp.ErrorCode = kerr.InvalidRequest.Code
			r.Reply(resp, resp.ErrorCode)
			return
		}
		r.Introduce(req.ClientSoftwareName, req.ClientSoftwareVersion)
	}
	resp.ApiKeys = advertised()
	s.setFeatures(resp)
	r.Reply(resp, 0)
}

// advertised lists all keys and their versions, in the order of keys.
var advertised = sync.OnceValue(func() (out []kmsg.ApiVersionsResponseApiKey) {
	for _, a := range registrations {
		if a.Private {
			continue
		}
		k := kmsg.NewApiVersionsResponseApiKey()
		k.ApiKey, k.MinVersion, k.MaxVersion = a.Key.Int16(), a.Min, a.Max
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b kmsg.ApiVersionsResponseApiKey) int { return cmp.Compare(a.ApiKey, b.ApiKey) })
	return out
})
