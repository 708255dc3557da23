package main

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/testenv/history"
)

// TestPurgedJobsMayBeGoneAndNoOthers reads a partition of ten records, of which up to four may
// be gone, and two are.
func TestPurgedJobsMayBeGoneAndNoOthers(t *testing.T) {
	for name, c := range map[string]struct {
		start, left, changed, end int64
		want                      history.Kind
	}{
		"as acknowledged":       {2, -1, -1, 10, ""},
		"purged further":        {4, -1, -1, 10, ""},
		"purged too far":        {5, -1, -1, 10, history.LostWrite},
		"come back":             {1, -1, -1, 10, history.LostWrite},
		"one left out":          {2, 6, -1, 10, history.PollSkip},
		"one changed":           {2, -1, 6, 10, history.Corrupt},
		"the last one left out": {2, -1, -1, 9, history.Truncated},
	} {
		h, log := newHistory(), newJobsLog(1)
		for offset := range int64(10) {
			log.note(&kgo.Record{Offset: offset, Value: fmt.Append(nil, offset)})
		}
		log.parts[0].asked, log.parts[0].start = 4, 2
		reading := log.read(h, []foreignPartition{{Start: c.start, End: 10}})
		for offset := c.start; offset < c.end; offset++ {
			value := fmt.Append(nil, offset)
			if offset == c.changed {
				value = []byte("else")
			}
			if offset != c.left {
				reading.take(0, offset, nil, value)
			}
		}
		reading.end()
		if got := h.Check(); c.want == "" && got.Total() > 0 || c.want != "" && got.Counts[c.want] == 0 {
			t.Errorf("%s: want %q, got %+v", name, c.want, got)
		}
	}
}

func TestOffsetsInTheBucketAreThoseThatWereCommitted(t *testing.T) {
	key := func(group string) []byte {
		return (&kmsg.OffsetCommitKey{Version: 1, Group: group, Topic: jobs}).AppendTo(nil)
	}
	value := func(offset int64) []byte {
		return (&kmsg.OffsetCommitValue{Version: 3, Offset: offset, LeaderEpoch: -1}).AppendTo(nil)
	}
	for name, c := range map[string]struct {
		group, gone []byte // values of the last records
		want        history.Kind
	}{
		"as acknowledged":         {value(7), nil, ""},
		"of unknown outcome":      {value(8), nil, ""},
		"older":                   {value(6), nil, history.CommitWentBack},
		"none":                    {nil, nil, history.CommitWentBack},
		"of a group that is gone": {value(7), value(1), revived},
		"damaged":                 {value(7)[:5], nil, history.Corrupt},
	} {
		h := newHistory()
		crew := &crew{round: &round{history: h}, group: h.NewGroup(1), partitions: 1, departed: &departed{names: []string{"gone"}}}
		for offset := range int64(7) {
			crew.group.Processed(0, offset)
		}
		crew.group.Committed("m", 0, 7)
		reading := newOffsetsReading(crew)
		reading.take(0, 0, key(workers), value(3))
		reading.take(0, 1, key("gone"), value(1))
		reading.take(0, 2, (&kmsg.GroupMetadataKey{Version: 2, Group: "gone"}).AppendTo(nil), nil)
		reading.take(0, 3, key("gone"), c.gone)
		reading.take(0, 4, key(workers), c.group)
		reading.end()
		if got := h.Check(); c.want == "" && got.Total() > 0 || c.want != "" && got.Counts[c.want] == 0 {
			t.Errorf("%s: want %q, got %+v", name, c.want, got)
		}
	}
}
