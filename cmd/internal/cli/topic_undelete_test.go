package cli_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/cli"
	"github.com/varvelog/varve/cmd/internal/kafka"
	"github.com/varvelog/varve/cmd/internal/status"
)

func TestTopicUndeleteAsksForTheDeletedTopic(t *testing.T) {
	const id = "nA2wHWlyRKGFWEBLbcMWhQ"
	cluster, c := control(t)
	var asked []string
	code, text := int16(0), ""
	cluster.ControlKey(int16(kmsg.CreateTopics), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		topic := kreq.(*kmsg.CreateTopicsRequest).Topics[0]
		if topic.NumPartitions != -1 || len(topic.Configs) != 1 || topic.Configs[0].Name != kafka.RestoreConfig {
			t.Errorf("asked for %+v", topic)
		}
		asked = append(asked, topic.Topic+" "+*topic.Configs[0].Value)
		resp := kreq.ResponseKind().(*kmsg.CreateTopicsResponse)
		out := kmsg.NewCreateTopicsResponseTopic()
		out.Topic, out.ErrorCode, out.ErrorMessage = topic.Topic, code, &text
		resp.Topics = append(resp.Topics, out)
		return resp, nil, true
	})
	c.run(t, "topic", "undelete", "events").expect(t, cli.ExitOK, `restored topic "events"`)
	c.run(t, "topic", "undelete", "events", "--id", id, "-o", "json").expect(t, cli.ExitOK, `"result": "restored"`)
	if got := strings.Join(asked, ","); got != "events ,events "+id {
		t.Errorf("asked for %q", got)
	}
	c.run(t, "topic", "undelete", "events", "--id", "events").expect(t, cli.ExitUsage, "22 characters")
	code, text = kerr.InvalidRequest.Code, "2 deleted topics have the name"
	c.run(t, "topic", "undelete", "events").expect(t, cli.ExitFailure, `restore topic "events": 2 deleted topics have the name`)
	code, text = kerr.TopicAlreadyExists.Code, "topic exists"
	c.run(t, "topic", "undelete", "events").expect(t, cli.ExitFailure, "another topic has the name now")
}

func TestTopicListShowsDeletedTopics(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_000).UTC()
	server := httptest.NewServer(status.Handler(func() []status.DeletedTopic {
		return []status.DeletedTopic{{Name: "events", ID: "nA2wHWlyRKGFWEBLbcMWhQ", Partitions: 3, DeletedAt: at, PurgedAfter: at.Add(72 * time.Hour)}}
	}))
	defer server.Close()
	address := strings.TrimPrefix(server.URL, "http://")
	var c command
	o := c.run(t, "topic", "list", "--deleted", "--http", "127.0.0.1:1,"+address)
	o.expect(t, cli.ExitOK, "NAME", "events", "nA2wHWlyRKGFWEBLbcMWhQ", "2023-11-14T22:13:20Z", "2023-11-17T22:13:20Z")
	c.run(t, "topic", "list", "--deleted", "--http", address, "-o", "json").expect(t, cli.ExitOK, `"purged_after": "2023-11-17T22:13:20Z"`)
	c.run(t, "topic", "list", "--deleted", "--http", "127.0.0.1:1").expect(t, cli.ExitFailure, "list deleted topics", "--http")
	c.run(t, "topic", "list", "--http", address).expect(t, cli.ExitUsage, "--http is for --deleted")
}
