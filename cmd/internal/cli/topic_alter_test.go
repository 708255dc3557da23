package cli_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/cli"
)

// words is the text of a table, with one blank between its cells.
func words(text string) string { return strings.Join(strings.Fields(text), " ") }

func TestAlteringShowsWhatChanges(t *testing.T) {
	c := broker(t, kfake.SeedTopics(2, "a"))
	o := c.run(t, "topic", "alter", "a", "--config", "retention.ms=1000", "--partitions", "3", "--dry-run")
	o.expect(t, cli.ExitOK, "nothing was changed (--dry-run)")
	const header = "TOPIC SETTING OLD NEW "
	if got, want := words(o.stdout), header+"a retention.ms 604800000 1000 a partitions 2 3"; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
	if o := c.run(t, "topic", "describe", "a"); strings.Contains(o.stdout, "retention.ms") || !strings.Contains(o.stdout, "partitions 2,") {
		t.Fatalf("a dry run changed the topic: %s", o.stdout)
	}
	c.run(t, "topic", "alter", "a", "--config", "retention.ms=1000", "--partitions", "3").expect(t, cli.ExitOK, "retention.ms")
	c.run(t, "topic", "describe", "a").expect(t, cli.ExitOK, "partitions 3,", "retention.ms")
	c.run(t, "topic", "alter", "a", "--partitions", "3").expect(t, cli.ExitOK, "has this value already")

	o = c.run(t, "topic", "alter", "a", "--delete-config", "retention.ms", "-o", "json")
	o.expect(t, cli.ExitOK)
	var got []struct {
		Name, Result string
		Changes      []struct{ Setting, Old, New string }
	}
	if err := json.Unmarshal([]byte(o.stdout), &got); err != nil || len(got) != 1 || got[0].Result != "altered" ||
		len(got[0].Changes) != 1 || got[0].Changes[0].Old != "1000" {
		t.Fatalf("%v in %s", err, o.stdout)
	}
	if o := c.run(t, "topic", "describe", "a"); strings.Contains(o.stdout, "retention.ms") {
		t.Fatalf("got %s", o.stdout)
	}
	c.run(t, "topic", "describe", "a", "--all-configs").expect(t, cli.ExitOK, "retention.ms", "DEFAULT_CONFIG")
}

func TestWhatCannotBeAlteredChangesNothing(t *testing.T) {
	cluster, c := control(t, kfake.SeedTopics(2, "a", "b"))
	c.run(t, "topic", "alter", "a", "--partitions", "1").expect(t, cli.ExitFailure, "has 2 partitions", "cannot be lowered")
	c.run(t, "topic", "alter", "a", "zzz", "--config", "retention.ms=1").expect(t, cli.ExitFailure, `"zzz"`, "topic create zzz")
	cluster.ControlKey(int16(kmsg.IncrementalAlterConfigs), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		req := kreq.(*kmsg.IncrementalAlterConfigsRequest)
		if !req.ValidateOnly {
			t.Error("altered although the check failed")
		}
		resp := req.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse)
		for _, r := range req.Resources {
			rr := kmsg.NewIncrementalAlterConfigsResponseResource()
			rr.ResourceType, rr.ResourceName = r.ResourceType, r.ResourceName
			if r.ResourceName == "b" {
				rr.ErrorCode, rr.ErrorMessage = kerr.InvalidConfig.Code, kmsg.StringPtr("no configuration is called retention.s")
			}
			resp.Resources = append(resp.Resources, rr)
		}
		return resp, nil, true
	})
	c.run(t, "topic", "alter", "a", "b", "--config", "retention.s=1", "--partitions", "4").
		expect(t, cli.ExitFailure, `topic "b": no configuration is called retention.s (INVALID_CONFIG`)
	c.run(t, "topic", "describe", "a").expect(t, cli.ExitOK, "partitions 2,")
}
