package verify_test

import (
	"testing"

	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/verify"
)

// name stores the object with the name of a topic.
func (b *tieredBucket) name(topic segment.ID, n segment.TopicName) {
	b.t.Helper()
	data, err := segment.EncodeTopicName(n)
	if err != nil {
		b.t.Fatal(err)
	}
	b.store.PutNow(segment.TopicNameKey(topic), data)
}

func TestNamesOfTopicsAreChecked(t *testing.T) {
	key := segment.TopicNameKey(events)
	for name, tc := range map[string]struct {
		spoil func(b *tieredBucket)
		want  []expected
	}{
		"right":   {func(b *tieredBucket) {}, nil},
		"gone":    {func(b *tieredBucket) { b.store.DeleteNow(key) }, nil},
		"damaged": {func(b *tieredBucket) { b.store.PutNow(key, []byte("any")) }, []expected{{"warning", "corrupt", key, ""}}},
		"another name": {func(b *tieredBucket) {
			b.name(events, segment.TopicName{Cluster: cluster, Topic: events, Name: "clicks"})
		}, []expected{{"warning", "corrupt", key, ""}}},
		"another topic": {func(b *tieredBucket) {
			b.name(events, segment.TopicName{Cluster: cluster, Topic: clicks, Name: "events"})
		}, []expected{{"warning", "misplaced", key, ""}}},
		"another cluster": {func(b *tieredBucket) {
			b.name(events, segment.TopicName{Cluster: clicks, Topic: events, Name: "events"})
		}, []expected{{"warning", "misplaced", key, ""}}},
	} {
		t.Run(name, func(t *testing.T) {
			b := tiered(t)
			b.name(events, segment.TopicName{Cluster: cluster, Topic: events, Name: "events"})
			tc.spoil(b)
			r := run(t, b.store, verify.Options{})
			if len(r.Findings) != len(tc.want) || len(tc.want) > 0 && brief(r.Findings[0]) != tc.want[0] {
				t.Errorf("findings are %+v, want %+v", r.Findings, tc.want)
			}
		})
	}
}
