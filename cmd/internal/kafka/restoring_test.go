package kafka

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/segment"
)

// RestoreTopics moves topics back from deleted.
func (c *cluster) RestoreTopics(_ context.Context, ids []segment.ID) []error {
	c.mu.Lock()
	defer c.mu.Unlock()
	errs := make([]error, len(ids))
	for i, id := range ids {
		at := slices.IndexFunc(c.deleted, func(t *metadata.Topic) bool { return t.ID == id })
		if at < 0 {
			errs[i] = fmt.Errorf("%w: %s", metadata.ErrUnknownTopic, id)
			continue
		}
		c.topics = append(slices.Clone(c.topics), c.deleted[at])
		c.deleted = slices.Delete(c.deleted, at, at+1)
	}
	return errs
}

func TestADeletedTopicIsAskedBackByCreateTopics(t *testing.T) {
	c := newCluster()
	kept := c.addTopic(t, "kept", 1, nil)
	gone := func(id byte, name string, at int64) *metadata.Topic {
		topic := *kept
		topic.ID, topic.Name, topic.DeletedMs = segment.ID{id}, name, at
		return &topic
	}
	once, first, second := gone(1, "once", 5), gone(2, "twice", 6), gone(3, "twice", 7)
	c.deleted = []*metadata.Topic{once, first, second, gone(4, "final", 0)}
	cl := start(t, c, Config{}, c.backend()).dial(t)
	ask := func(name, id string, only bool, change func(*kmsg.CreateTopicsRequestTopic)) kmsg.CreateTopicsResponseTopic {
		req := &kmsg.CreateTopicsRequest{Version: 7, TimeoutMillis: 1000, ValidateOnly: only}
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, -1, -1
		topic.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: RestoreConfig, Value: &id}}
		if change != nil {
			change(&topic)
		}
		req.Topics = append(req.Topics, topic)
		return cl.ask(req).(*kmsg.CreateTopicsResponse).Topics[0]
	}
	for _, bad := range []struct {
		name, id string
		change   func(*kmsg.CreateTopicsRequestTopic)
		want     *kerr.Error
		words    string
	}{
		{"never", "", nil, kerr.UnknownTopicOrPartition, "no topic"},
		{"final", "", nil, kerr.UnknownTopicOrPartition, "no topic"},
		{"once", first.ID.Base64(), nil, kerr.UnknownTopicID, once.ID.Base64()},
		{"twice", "", nil, kerr.InvalidRequest, second.ID.Base64()},
		{"once", "", func(t *kmsg.CreateTopicsRequestTopic) { t.NumPartitions = 3 }, kerr.InvalidRequest, "as it was"},
		{"once", "", func(t *kmsg.CreateTopicsRequestTopic) {
			t.Configs = append(t.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: "retention.ms", Value: kmsg.StringPtr("1")})
		}, kerr.InvalidRequest, "as it was"},
	} {
		out := ask(bad.name, bad.id, false, bad.change)
		if out.ErrorCode != bad.want.Code || out.ErrorMessage == nil || !strings.Contains(*out.ErrorMessage, bad.words) {
			t.Errorf("%s, id %q: code %d, %q", bad.name, bad.id, out.ErrorCode, *out.ErrorMessage)
		}
	}
	if out := ask("once", "", true, nil); out.ErrorCode != 0 || len(c.Deleting()) != 4 {
		t.Errorf("check: code %d, %d deleted topics are left", out.ErrorCode, len(c.Deleting()))
	}
	if out := ask("once", "", false, nil); out.ErrorCode != 0 || out.TopicID != once.ID || out.NumPartitions != 1 {
		t.Errorf("restored: %+v", out)
	}
	if out := ask("twice", second.ID.Base64(), false, nil); out.ErrorCode != 0 || out.TopicID != second.ID {
		t.Errorf("restored by its id: %+v", out)
	}
	if left := c.Deleting(); len(left) != 2 || left[0] != first {
		t.Errorf("left are %+v", left)
	}
}
