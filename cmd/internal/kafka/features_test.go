package kafka

import (
	"context"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/metadata"
)

func (c *cluster) Level() uint16 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(c.level, 1)
}

// Raise knows the levels that the binary knows.
func (c *cluster) Raise(_ context.Context, level uint16, validateOnly bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case level > metadata.SupportedLevel:
		return metadata.ErrUnknownLevel
	case level < c.level:
		return metadata.ErrLowerLevel
	case !validateOnly:
		c.level = level
	}
	return nil
}

func TestTheFeatureLevelIsShownAndRaised(t *testing.T) {
	c := newCluster()
	cl := start(t, c, Config{}, c.backend()).dial(t)
	shown := func() (supported, finalized int16) {
		resp := cl.ask(sample(18, 3, nil)).(*kmsg.ApiVersionsResponse)
		if len(resp.SupportedFeatures) != 1 || len(resp.FinalizedFeatures) != 1 || resp.FinalizedFeatures[0].Name != LevelFeature {
			t.Fatalf("features: %+v", resp)
		}
		if resp.SupportedFeatures[0].MinVersion < 1 {
			t.Error("the minimum 0 ends Java's clients before 3.9")
		}
		return resp.SupportedFeatures[0].MaxVersion, resp.FinalizedFeatures[0].MaxVersionLevel
	}
	supported := int16(metadata.SupportedLevel)
	if s, f := shown(); s != supported || f != 1 {
		t.Errorf("supported %d, finalized %d", s, f)
	}
	update := func(version int16, u kmsg.UpdateFeaturesRequestFeatureUpdate, only bool) int16 {
		req := kmsg.NewPtrUpdateFeaturesRequest()
		req.Version, req.ValidateOnly = version, only
		req.FeatureUpdates = append(req.FeatureUpdates, u)
		resp := cl.ask(req).(*kmsg.UpdateFeaturesResponse)
		if version < 2 {
			return resp.Results[0].ErrorCode
		}
		return resp.ErrorCode
	}
	raise := kmsg.UpdateFeaturesRequestFeatureUpdate{Feature: LevelFeature, MaxVersionLevel: supported, UpgradeType: 1}
	for version := range int16(3) {
		for name, u := range map[string]kmsg.UpdateFeaturesRequestFeatureUpdate{
			"another":    {Feature: "metadata.version", MaxVersionLevel: 1, UpgradeType: 1},
			"unknown":    {Feature: LevelFeature, MaxVersionLevel: supported + 1, UpgradeType: 1},
			"removed":    {Feature: LevelFeature, MaxVersionLevel: 0, UpgradeType: 1},
			"downgraded": {Feature: LevelFeature, MaxVersionLevel: 1, UpgradeType: 2, AllowDowngrade: true},
		} {
			if code := update(version, u, false); code != kerr.InvalidUpdateVersion.Code && code != kerr.InvalidRequest.Code {
				t.Errorf("v%d, %s: code %d", version, name, code)
			}
		}
	}
	if code := update(1, raise, true); code != 0 {
		t.Errorf("check: code %d", code)
	}
	if _, f := shown(); f != 1 {
		t.Errorf("a check raised the level to %d", f)
	}
	if code := update(1, raise, false); code != 0 {
		t.Errorf("raise: code %d", code)
	}
	if _, f := shown(); f != supported {
		t.Errorf("level is %d, want %d", f, supported)
	}
}
