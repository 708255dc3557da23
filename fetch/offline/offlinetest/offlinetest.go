// Package offlinetest makes small buckets for tests, object by object.
//
// It owns the bytes of the objects. It promises a bucket that is sound: one topic, events,
// of one partition, in journal 1. It is not for use outside tests: it panics after an
// error.
package offlinetest

import (
	"bytes"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// Cluster and Events are the ids of the cluster and of the topic. A bucket's window is 4.
var (
	Cluster = segment.ID{1}
	Events  = segment.ID{2}
)

const window = 4

// Bucket calls put for each object of a bucket. Journal 1 has three records in each of its
// last segments, from seq 6 on. Leaders have so many seqs under way, from 1 on, that they
// have not confirmed. More changes of the metadata come after those that make the topic.
func Bucket(segments int, underWay uint64, put func(key string, object []byte), more ...metadata.Change) {
	put(segment.ClusterKey, must(segment.EncodeCluster(segment.Cluster{ID: Cluster, Format: 1, Window: window, CreatedMs: 1})))
	var metas []segment.Entry
	made := []metadata.Change{
		metadata.FeatureLevel{Level: 1}, metadata.JournalCreated{ID: 1},
		metadata.TopicCreated{ID: Events, Name: "events", ReplicationFactor: 1, CreatedMs: 1, Journals: []uint32{1}},
	}
	for _, c := range append(made, more...) {
		metas = append(metas, must(metadata.Encode(c)))
	}
	putJournal(0, []object{{entries: metas}}, underWay, put)
	log := []object{{entries: []segment.Entry{partlog.Open{Key: partlog.Key{Topic: Events}}.Encode()}}}
	for i := range segments {
		log = append(log, object{records: []segment.Records{{
			Partition: segment.Partition{Topic: Events, LeaderEpoch: 1}, Batches: [][]byte{records(3 * int64(i))},
		}}})
	}
	putJournal(1, log, underWay, put)
}

// object is the content of a segment of a journal.
type object struct {
	entries []segment.Entry
	records []segment.Records
}

// putJournal makes the objects of a journal: a fence, fillers, and segments.
func putJournal(id uint32, segments []object, underWay uint64, put func(string, []byte)) {
	chain := journal.NewChain(Cluster, id, window)
	for seq := uint64(1); seq <= window+uint64(len(segments)); seq++ {
		h := segment.Header{
			Kind: segment.KindData, Cluster: Cluster, Object: segment.ID{3, byte(id), byte(seq)}, Journal: id, Epoch: 1,
			Seq: seq, Prev: chain.Tail, Confirmed: seq - min(seq, underWay), Node: segment.ID{4}, Incarnation: segment.ID{5},
		}
		var o object
		switch {
		case seq == 1:
			h.Kind = segment.KindFence
		case seq <= window:
			h.Kind, h.Prev = segment.KindFiller, chain.Fence
		default:
			o = segments[seq-window-1]
		}
		b, _, err := segment.Build(h, o.entries, o.records)
		put(segment.JournalKey(id, seq), must(b, err))
		chain.Advance(&h, journal.Valid)
	}
}

// records is a batch of three records.
func records(base int64) []byte {
	return batchtest.Build(batchtest.Spec{Records: batchtest.Values(1, "a", "b", "c"), BaseOffset: base, LeaderEpoch: 1})
}

// Merged is a merged segment of partition 0 of a topic with the offsets from one on up to
// another, in batches of three records.
func Merged(name segment.Name, topic segment.ID, from, to int64) []byte {
	var out bytes.Buffer
	m := must(segment.NewMergedWriter(&out, segment.MergedHeader{
		Name: name, Journal: 1, Cluster: Cluster, Job: segment.ID{1}, Node: segment.ID{2}, Incarnation: segment.ID{3}, BuiltMs: 7,
	}))
	check(m.Begin(segment.MergedPart{Topic: topic, TopicName: "events", From: from, To: to, SourceMs: 6}))
	for at := from; at < to; at += 3 {
		check(m.Append(records(at), nil))
	}
	must(m.End())
	must(m.Close())
	return out.Bytes()
}

func must[T any](v T, err error) T {
	check(err)
	return v
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
