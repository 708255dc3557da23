package cli_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/cli"
)

func TestTopicsComeAndGo(t *testing.T) {
	c := broker(t)
	c.run(t, "topic", "create", "a", "--partitions", "3", "--config", "retention.ms=1000", "--config", "cleanup.policy=compact,delete").
		expect(t, cli.ExitOK, `created topic "a"`)
	c.run(t, "topic", "create", "a").expect(t, cli.ExitFailure, "TOPIC_ALREADY_EXISTS")
	c.run(t, "topic", "create", "a", "--if-not-exists").expect(t, cli.ExitOK, `topic "a" exists`)
	c.run(t, "topic", "create", "b").expect(t, cli.ExitOK)

	o := c.run(t, "topic", "list")
	if o.expect(t, cli.ExitOK); !strings.HasPrefix(o.stdout, "NAME  PARTITIONS\na     3\nb ") {
		t.Fatalf("got\n%s", o.stdout)
	}
	var listed []struct {
		Name, ID   string
		Partitions int
	}
	o = c.run(t, "topic", "list", "-o", "json")
	if err := json.Unmarshal([]byte(o.stdout), &listed); err != nil || len(listed) != 2 || listed[0].Partitions != 3 || len(listed[0].ID) != 22 {
		t.Fatalf("%v in %s", err, o.stdout)
	}

	c.run(t, "topic", "delete", "a", "zzz", "--yes").expect(t, cli.ExitFailure, `deleted topic "a"`, `"zzz": does not exist`)
	c.run(t, "topic", "delete", "b", "--yes").expect(t, cli.ExitOK)
	o = c.run(t, "topic", "create", "c", "-o", "json")
	if o.stdout != "[\n  {\n    \"name\": \"c\",\n    \"result\": \"created\"\n  }\n]\n" {
		t.Fatalf("got %s", o.stdout)
	}
	o = c.run(t, "topic", "delete", "zzz", "c", "--yes", "-o", "json")
	o.expect(t, cli.ExitFailure, `"zzz": does not exist`)
	var deeds []struct{ Name, Result, Error string }
	if err := json.Unmarshal([]byte(o.stdout), &deeds); err != nil || len(deeds) != 2 || deeds[0].Result != "deleted" ||
		deeds[1].Result != "failed" || deeds[1].Error == "" {
		t.Fatalf("%v in %s", err, o.stdout)
	}
	if o := c.run(t, "topic", "list", "-o", "json"); o.stdout != "[]\n" {
		t.Fatalf("got %q", o.stdout)
	}
}

func TestDescribeShowsOffsetsAndChangedConfiguration(t *testing.T) {
	c := broker(t)
	c.run(t, "topic", "create", "a", "--partitions", "2", "--config", "retention.ms=1000").expect(t, cli.ExitOK)
	c.reading("x\ny\n").run(t, "produce", "a", "--partition", "1").expect(t, cli.ExitOK)
	o := c.run(t, "topic", "describe", "a")
	o.expect(t, cli.ExitOK)
	words := strings.Join(strings.Fields(o.stdout), " ")
	for _, want := range []string{
		"topic a, id ", "PARTITION LEADER START END SIZE 0 0 0 0 0 B 1 0 0 2 ", "partitions 2, size ", "retention.ms 1000 DYNAMIC_TOPIC_CONFIG",
	} {
		if !strings.Contains(words, want) {
			t.Fatalf("no %q in %s", want, o.stdout)
		}
	}
	o = c.run(t, "topic", "describe", "a", "-o", "json")
	var described []struct {
		Name       string
		Bytes      *int64
		Partitions []struct {
			Partition, Leader int32
			Start, End        int64
			Bytes             *int64
		}
		Configs []struct{ Name, Value, Source string }
	}
	if err := json.Unmarshal([]byte(o.stdout), &described); err != nil {
		t.Fatal(err)
	}
	if len(described) != 1 || len(described[0].Partitions) != 2 || described[0].Partitions[1].End != 2 || described[0].Bytes == nil ||
		*described[0].Partitions[1].Bytes == 0 || *described[0].Partitions[0].Bytes != 0 ||
		len(described[0].Configs) != 1 || described[0].Configs[0].Value != "1000" {
		t.Fatalf("got %+v", described)
	}
}

func TestWhatTheBrokerSaysIsShown(t *testing.T) {
	cluster, c := control(t)
	cluster.ControlKey(int16(kmsg.CreateTopics), func(req kmsg.Request) (kmsg.Response, error, bool) {
		resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
		rt := kmsg.NewCreateTopicsResponseTopic()
		rt.Topic, rt.ErrorCode, rt.ErrorMessage = "a", kerr.InvalidConfig.Code, kmsg.StringPtr("retention.ms: write a number.")
		resp.Topics = append(resp.Topics, rt)
		return resp, nil, true
	})
	o := c.run(t, "topic", "create", "a")
	o.expect(t, cli.ExitFailure, `varve: create topic "a": retention.ms: write a number (INVALID_CONFIG`)
}
