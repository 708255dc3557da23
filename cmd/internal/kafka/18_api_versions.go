package kafka

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ApiVersions, key 18.
//
//	v3  flexible, name and version of the client's software (KIP-511)
//	v4  features with minimum 0 may be listed (KAFKA-17492); none are
//	v5  expected cluster and node id (KIP-1242): not served, the id of a node
//	    that takes over another's could not be told
//
// A version above the highest is answered as v0 with UNSUPPORTED_VERSION and the
// range of this key, so that the client can come down.
func init() {
	register(&api{
		key: kmsg.ApiVersions, min: 0, max: 4, maxFrame: plainFrame,
		request: shape{str().from(3), str().from(3)},
		begin:   (*Server).beginApiVersions,
	})
}

// clientSoftware is what KIP-511 allows as name and version of a client.
var clientSoftware = regexp.MustCompile(`^[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?$`)

const clientSoftwareVersion = 3

func (s *Server) beginApiVersions(_ context.Context, r *request) {
	resp := kmsg.NewPtrApiVersionsResponse()
	if !r.api.supports(r.version) {
		resp.ErrorCode = kerr.UnsupportedVersion.Code
		resp.ApiKeys = append(resp.ApiKeys, advertise(r.api))
		resp.SetVersion(0)
		r.replyUnversioned(resp, resp.ErrorCode)
		return
	}
	if r.version >= clientSoftwareVersion {
		req := r.body.(*kmsg.ApiVersionsRequest)
		if !clientSoftware.MatchString(req.ClientSoftwareName) || !clientSoftware.MatchString(req.ClientSoftwareVersion) {
			resp.ErrorCode = kerr.InvalidRequest.Code
			r.reply(resp, resp.ErrorCode)
			return
		}
		r.conn.account.calls(identity{client: r.client, software: req.ClientSoftwareName + " " + req.ClientSoftwareVersion})
	}
	resp.ApiKeys = allAPIs()
	r.reply(resp, 0)
}

// allAPIs is all that was registered, in the order of keys.
var allAPIs = sync.OnceValue(func() []kmsg.ApiVersionsResponseApiKey {
	var out []kmsg.ApiVersionsResponseApiKey
	for _, key := range slices.Sorted(maps.Keys(apis)) {
		out = append(out, advertise(apis[key]))
	}
	return out
})

func advertise(a *api) kmsg.ApiVersionsResponseApiKey {
	k := kmsg.NewApiVersionsResponseApiKey()
	k.ApiKey, k.MinVersion, k.MaxVersion = a.key.Int16(), a.min, a.max
	return k
}
