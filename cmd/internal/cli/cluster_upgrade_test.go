package cli_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/cli"
	"github.com/varvelog/varve/cmd/internal/kafka"
)

// levelled is a broker with a feature level, that knows levels up to 2.
func levelled(t *testing.T, level int16) (c command, now func() int16) {
	t.Helper()
	cluster, c := control(t)
	cluster.ControlKey(int16(kmsg.ApiVersions), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		resp := req.ResponseKind().(*kmsg.ApiVersionsResponse)
		for _, k := range []int16{3, 18, 57, 60} {
			resp.ApiKeys = append(resp.ApiKeys, kmsg.ApiVersionsResponseApiKey{ApiKey: k, MaxVersion: kmsg.RequestForKey(k).MaxVersion()})
		}
		resp.SupportedFeatures = []kmsg.ApiVersionsResponseSupportedFeature{{Name: kafka.LevelFeature, MinVersion: 1, MaxVersion: 2}}
		resp.FinalizedFeatures = []kmsg.ApiVersionsResponseFinalizedFeature{{Name: kafka.LevelFeature, MaxVersionLevel: level}}
		return resp, nil, true
	})
	cluster.ControlKey(int16(kmsg.UpdateFeatures), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		req := kreq.(*kmsg.UpdateFeaturesRequest)
		resp := kreq.ResponseKind().(*kmsg.UpdateFeaturesResponse)
		if to := req.FeatureUpdates[0].MaxVersionLevel; to > 2 || to < level {
			resp.ErrorCode, resp.ErrorMessage = kerr.InvalidUpdateVersion.Code, kmsg.StringPtr("not this level")
		} else if !req.ValidateOnly {
			level = to
		}
		return resp, nil, true
	})
	return c, func() int16 { return level }
}

func TestClusterUpgradeRaisesTheLevelOnceItIsAgreed(t *testing.T) {
	c, level := levelled(t, 1)
	c.run(t, "cluster", "status").expect(t, cli.ExitOK, `feature level 1 ("varve cluster upgrade" raises it to 2)`)
	c.run(t, "cluster", "upgrade", "--dry-run").expect(t, cli.ExitOK, "from feature level 1 to 2; nothing was changed")
	c.run(t, "cluster", "upgrade").expect(t, cli.ExitUsage, "nothing was changed", "--yes to raise it")
	c.run(t, "cluster", "upgrade", "--to", "3", "--yes").expect(t, cli.ExitFailure, "raise the feature level to 3", "not this level")
	c.run(t, "cluster", "upgrade", "--to", "0").expect(t, cli.ExitUsage, "--to 0")
	if level() != 1 {
		t.Fatalf("the level is %d", level())
	}
	c.run(t, "cluster", "upgrade", "--yes", "-o", "json").expect(t, cli.ExitOK, `"result": "upgraded"`)
	if level() != 2 {
		t.Fatalf("the level is %d", level())
	}
	c.run(t, "cluster", "upgrade").expect(t, cli.ExitOK, "the cluster has feature level 2 already")
	c.run(t, "cluster", "status").expect(t, cli.ExitOK, "feature level 2\n")
}

func TestClusterUpgradeNeedsABrokerWithALevel(t *testing.T) {
	broker(t, kfake.SeedTopics(1, "a")).run(t, "cluster", "upgrade").expect(t, cli.ExitFailure, "reports no feature level; is it varve?")
}
