package kafka

import (
	"context"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
)

// ListConfigResources, key 74.
//
//	v0  names of client metrics (KIP-714): there are none
//	v1  resources of all types, or of those asked for (KIP-1142)
func init() {
	register(listener.API{
		Key: kmsg.ListConfigResources, Min: 0, Max: 1, Bulky: true, MaxFrame: listener.PlainFrame,
		Shape: shape{bytesOf().From(1)},
	}, func(s *services) listener.Handler { return s.configs.beginListConfigResources })
}

// configResourceTypes are the types that Kafka lists. Client metrics and groups
// have no configs here.
var configResourceTypes = []kmsg.ConfigResourceType{
	kmsg.ConfigResourceTypeTopic, kmsg.ConfigResourceTypeBroker, kmsg.ConfigResourceTypeBrokerLogger,
	kmsg.ConfigResourceTypeClientMetrics, kmsg.ConfigResourceTypeGroupConfig,
}

func (s *configService) beginListConfigResources(_ context.Context, r *listener.Request) {
	req := r.Body.(*kmsg.ListConfigResourcesRequest)
	resp := kmsg.NewPtrListConfigResourcesResponse()
	if err := s.gate.cluster(r.Client, toDescribeConfigs); err != nil {
		resp.ErrorCode = s.codeFor(err, onAdmin, "ListConfigResources")
		r.Reply(resp, resp.ErrorCode)
		return
	}
	asked := configResourceTypes
	if r.Version == 0 {
		asked = nil
	} else if len(req.ResourceTypes) > 0 {
		asked = nil
		for _, kind := range distinct(req.ResourceTypes, func(k int8) any { return k }) {
			asked = append(asked, kmsg.ConfigResourceType(kind))
		}
	}
	for _, kind := range asked {
		if !slices.Contains(configResourceTypes, kind) {
			resp.ErrorCode, resp.ConfigResources = kerr.UnsupportedVersion.Code, nil
			break
		}
		for _, name := range s.configResources(r.Client, kind) {
			out := kmsg.NewListConfigResourcesResponseConfigResource()
			out.Name, out.Type = name, int8(kind)
			resp.ConfigResources = append(resp.ConfigResources, out)
		}
	}
	r.Reply(resp, resp.ErrorCode)
}

// configResources names the resources of a type.
func (s *configService) configResources(by *listener.Client, kind kmsg.ConfigResourceType) (names []string) {
	switch kind {
	case kmsg.ConfigResourceTypeTopic:
		for _, t := range s.gate.clusterTopics(by, toDescribeConfigs) {
			names = append(names, t.Name)
		}
	case kmsg.ConfigResourceTypeBroker:
		for _, b := range s.brokers() {
			names = append(names, strconv.Itoa(int(b.ID)))
		}
	}
	return names
}
