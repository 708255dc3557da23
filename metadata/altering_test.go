package metadata

import (
	"errors"
	"maps"
	"strings"
	"testing"
)

// grown is a controller with topic "a" of three partitions, and the offsets topic.
func grown(t *testing.T, configs map[string]string) *Controller {
	t.Helper()
	c, _ := newCluster(t)
	_, results := c.CreateTopics(1, []NewTopic{{"a", 3, 2, configs}, {ConsumerOffsets, 3, 1, nil}}, false, idSource())
	for _, r := range results {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	return c
}

func TestPartitionsAreAddedOrRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		ask  NewPartitions
		want error
	}{
		"more":                  {NewPartitions{Topic: "a", Count: 5}, nil},
		"the most":              {NewPartitions{Topic: "a", Count: MaxPartitions}, nil},
		"assigned":              {NewPartitions{Topic: "a", Count: 5, Assigned: []int{2, 2}}, nil},
		"as many":               {NewPartitions{Topic: "a", Count: 3}, ErrInvalidPartitions},
		"fewer":                 {NewPartitions{Topic: "a", Count: 2}, ErrInvalidPartitions},
		"a negative number":     {NewPartitions{Topic: "a", Count: -1}, ErrInvalidPartitions},
		"too many":              {NewPartitions{Topic: "a", Count: MaxPartitions + 1}, ErrInvalidPartitions},
		"assigned too few":      {NewPartitions{Topic: "a", Count: 5, Assigned: []int{2}}, ErrInvalidAssignment},
		"assigned none":         {NewPartitions{Topic: "a", Count: 5, Assigned: []int{}}, ErrInvalidAssignment},
		"assigned unlike other": {NewPartitions{Topic: "a", Count: 5, Assigned: []int{2, 1}}, ErrInvalidAssignment},
		"of an unknown topic":   {NewPartitions{Topic: "b", Count: 5}, ErrUnknownTopic},
		"of a name that folds":  {NewPartitions{Topic: "__consumer.offsets", Count: 5}, ErrUnknownTopic},
		"of no name":            {NewPartitions{Count: 5}, ErrInvalidName},
		"of an internal topic":  {NewPartitions{Topic: ConsumerOffsets, Count: 5}, ErrInternalTopic},
	} {
		c := grown(t, nil)
		before := imageBytes(c.img)
		entries, errs := c.CreatePartitions([]NewPartitions{tc.ask}, true)
		if len(entries) > 0 || !errors.Is(errs[0], tc.want) || imageBytes(c.img) != before {
			t.Errorf("%s: validation gives %d entries, %v, want %v", name, len(entries), errs[0], tc.want)
		}
		entries, errs = c.CreatePartitions([]NewPartitions{tc.ask}, false)
		if !errors.Is(errs[0], tc.want) || (len(entries) == 1) != (tc.want == nil) {
			t.Errorf("%s: %d entries, %v, want %v", name, len(entries), errs[0], tc.want)
		}
		if topic, _ := c.named("a"); tc.want == nil && len(topic.Partitions) != int(tc.ask.Count) || tc.want != nil && imageBytes(c.img) != before {
			t.Errorf("%s: %d partitions", name, len(topic.Partitions))
		}
	}
}

func TestOneRequestForPartitionsIsBounded(t *testing.T) {
	c := grown(t, nil)
	c.CreateTopics(1, []NewTopic{{"b", 1, 1, nil}}, false, idSourceFrom(100))
	entries, errs := c.CreatePartitions([]NewPartitions{{Topic: "a", Count: MaxPartitions}, {Topic: "b", Count: 5}, {Topic: "b", Count: 4}}, false)
	if errs[0] != nil || !errors.Is(errs[1], ErrInvalidPartitions) || errs[2] != nil || len(entries) != 2 {
		t.Errorf("%d entries, %v", len(entries), errs)
	}
}

func TestConfigsAreAltered(t *testing.T) {
	set := func(name, value string) ConfigOp { return ConfigOp{OpSet, name, value} }
	for name, tc := range map[string]struct {
		replace bool
		ops     []ConfigOp
		want    map[string]string // nil: refused
		names   string            // in the error
	}{
		"set":                   {false, []ConfigOp{set("segment.ms", "5")}, map[string]string{"retention.ms": "7", "cleanup.policy": "compact", "segment.ms": "5"}, ""},
		"replaced":              {true, []ConfigOp{set("segment.ms", "5")}, map[string]string{"segment.ms": "5"}, ""},
		"all replaced":          {true, nil, map[string]string{}, ""},
		"deleted":               {false, []ConfigOp{{OpDelete, "retention.ms", "x"}}, map[string]string{"cleanup.policy": "compact"}, ""},
		"deleted, not set":      {false, []ConfigOp{{OpDelete, "segment.ms", ""}}, map[string]string{"retention.ms": "7", "cleanup.policy": "compact"}, ""},
		"deleted, not known":    {false, []ConfigOp{{OpDelete, "of.a.later.kafka", ""}}, map[string]string{"retention.ms": "7", "cleanup.policy": "compact"}, ""},
		"appended":              {false, []ConfigOp{{OpAppend, "cleanup.policy", "delete, compact"}}, map[string]string{"retention.ms": "7", "cleanup.policy": "compact,delete"}, ""},
		"appended to default":   {false, []ConfigOp{{OpAppend, "leader.replication.throttled.replicas", "0:1"}}, map[string]string{"retention.ms": "7", "cleanup.policy": "compact", "leader.replication.throttled.replicas": "0:1"}, ""},
		"subtracted":            {false, []ConfigOp{set("cleanup.policy", "compact,delete"), {OpSubtract, "cleanup.policy", "compact"}}, map[string]string{"retention.ms": "7", "cleanup.policy": "delete"}, ""},
		"subtracted to nothing": {false, []ConfigOp{{OpSubtract, "cleanup.policy", "compact"}}, nil, "cleanup.policy"},
		"appended to no list":   {false, []ConfigOp{{OpAppend, "retention.ms", "7"}}, nil, "retention.ms"},
		"unknown name":          {false, []ConfigOp{set("retention.sm", "7")}, nil, "retention.sm"},
		"appended to unknown":   {false, []ConfigOp{{OpAppend, "retention.sm", "7"}}, nil, "retention.sm"},
		"invalid value":         {false, []ConfigOp{set("segment.ms", "5"), set("retention.ms", "soon")}, nil, "retention.ms"},
		"lags that contradict":  {false, []ConfigOp{set("min.compaction.lag.ms", "8"), set("max.compaction.lag.ms", "7")}, nil, "min.compaction.lag.ms"},
	} {
		c := grown(t, map[string]string{"retention.ms": "7", "cleanup.policy": "compact"})
		before := imageBytes(c.img)
		topic, _ := c.named("a")
		change := ConfigChange{Topic: "a", Replace: tc.replace, Ops: tc.ops}
		if entries, errs := c.AlterConfigs([]ConfigChange{change}, true); len(entries) > 0 || (errs[0] == nil) != (tc.want != nil) || imageBytes(c.img) != before {
			t.Errorf("%s: validation gives %d entries, %v", name, len(entries), errs[0])
		}
		entries, errs := c.AlterConfigs([]ConfigChange{change}, false)
		after, _ := c.named("a")
		if tc.want == nil {
			if !errors.Is(errs[0], ErrInvalidConfig) || !strings.Contains(errs[0].Error(), tc.names) || len(entries) > 0 || after != topic {
				t.Errorf("%s: %v, %d entries, configs %v", name, errs[0], len(entries), after.Configs)
			}
			continue
		}
		if errs[0] != nil || !maps.Equal(after.Configs, tc.want) || (len(entries) == 0) != maps.Equal(topic.Configs, tc.want) {
			t.Errorf("%s: %v, %d entries, configs %v, want %v", name, errs[0], len(entries), after.Configs, tc.want)
		}
	}
}

func TestConfigsOfNoTopicAreNotAltered(t *testing.T) {
	c := grown(t, nil)
	_, errs := c.AlterConfigs([]ConfigChange{{Topic: "b"}, {Topic: ""}}, false)
	if !errors.Is(errs[0], ErrUnknownTopic) || !errors.Is(errs[1], ErrInvalidName) {
		t.Error(errs)
	}
}
