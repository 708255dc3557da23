package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata"
)

// UpdateFeatures, key 57 (KIP-584).
//
//	v1  kind of update in place of permission to downgrade, validate only (KIP-778)
//	v2  no results of single features: the whole request is refused or carried out
//
// There is one feature, the cluster's feature level.
func init() {
	register(listener.API{
		Key: kmsg.UpdateFeatures, Min: 0, Max: 2, Forwarded: true,
		Shape: shape{
			num(4),
			listOf(sizeOf[kmsg.UpdateFeaturesRequestFeatureUpdate](), str(), num(2), num(1)),
			num(1).From(1),
		},
	}, func(s *services) listener.Handler { return s.clusters.beginUpdateFeatures })
}

// LevelFeature is the name of the cluster's feature level among Kafka's features.
const LevelFeature = "varve.level"

const updateFeaturesWhole = 2

// onlyUpgrade is the kind of update that raises a feature (KIP-778).
const onlyUpgrade = 1

func (s *clusterService) beginUpdateFeatures(ctx context.Context, r *listener.Request) {
	r.Go(func() {
		req := r.Body.(*kmsg.UpdateFeaturesRequest)
		ctx, cancel := context.WithTimeout(ctx, adminTimeout(req.TimeoutMillis))
		defer cancel()
		resp := kmsg.NewPtrUpdateFeaturesResponse()
		denied := s.gate.cluster(r.Client, toAlter)
		err := denied
		if denied == nil {
			err = s.updateFeatures(ctx, req)
		}
		code, text := int16(0), (*string)(nil)
		if err != nil {
			code, text = s.codeFor(err, onAdmin, "UpdateFeatures"), kmsg.StringPtr(err.Error())
		}
		if denied != nil || len(req.FeatureUpdates) == 0 || r.Version >= updateFeaturesWhole {
			resp.ErrorCode, resp.ErrorMessage = code, text
		} else {
			for _, u := range req.FeatureUpdates {
				resp.Results = append(resp.Results, kmsg.UpdateFeaturesResponseResult{Feature: u.Feature, ErrorCode: code, ErrorMessage: text})
			}
		}
		r.Reply(resp, code)
	})
}

// updateFeatures raises the level, if that is all that the request asks for.
func (s *clusterService) updateFeatures(ctx context.Context, req *kmsg.UpdateFeaturesRequest) error {
	if len(req.FeatureUpdates) != 1 {
		return coded(kerr.InvalidRequest, "the request updates %d features; there is one, %s", len(req.FeatureUpdates), LevelFeature)
	}
	u := req.FeatureUpdates[0]
	switch {
	case u.Feature != LevelFeature:
		return coded(kerr.InvalidRequest, "there is no feature %.100q; the cluster has %s", u.Feature, LevelFeature)
	case u.AllowDowngrade || u.UpgradeType > onlyUpgrade || u.MaxVersionLevel < 1:
		return coded(kerr.InvalidUpdateVersion, "%s is never lowered", LevelFeature)
	}
	return s.admin.Raise(ctx, uint16(u.MaxVersionLevel), req.ValidateOnly)
}

// setFeatures describes the feature level: the highest one that this node knows, and the
// one in force. Java's clients before 3.9 take no feature with the minimum 0.
func (s *clusterService) setFeatures(resp *kmsg.ApiVersionsResponse) {
	level := s.level()
	if level == 0 {
		return
	}
	resp.SupportedFeatures = []kmsg.ApiVersionsResponseSupportedFeature{{
		Name: LevelFeature, MinVersion: 1, MaxVersion: int16(metadata.SupportedLevel),
	}}
	resp.FinalizedFeaturesEpoch = int64(level)
	resp.FinalizedFeatures = []kmsg.ApiVersionsResponseFinalizedFeature{{
		Name: LevelFeature, MinVersionLevel: 1, MaxVersionLevel: int16(level),
	}}
}
