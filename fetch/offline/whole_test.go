package offline_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/varvelog/varve/fetch/offline"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

var (
	cluster = segment.ID{1}
	events  = segment.ID{2}
)

// bucket has a topic of one partition with three records in each of the seqs 6 to 9 of
// journal 1. Its leader has confirmed each seq when it sends the one after the next.
func bucket(t *testing.T, now func() time.Time) *mem.Store {
	t.Helper()
	store := mem.New(now, nil)
	put := func(key string, b []byte, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		store.PutNow(key, b)
	}
	b, err := segment.EncodeCluster(segment.Cluster{ID: cluster, Format: 1, Window: 4, CreatedMs: 1})
	put(segment.ClusterKey, b, err)
	var metas []segment.Entry
	for _, c := range []metadata.Change{
		metadata.FeatureLevel{Level: 1}, metadata.JournalCreated{ID: 1},
		metadata.TopicCreated{ID: events, Name: "events", ReplicationFactor: 1, CreatedMs: 1, Journals: []uint32{1}},
	} {
		e, err := metadata.Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		metas = append(metas, e)
	}
	for id, last := range []uint64{5, 9} {
		chain := journal.NewChain(cluster, uint32(id), 4)
		for seq := uint64(1); seq <= last; seq++ {
			h := segment.Header{
				Kind: segment.KindData, Cluster: cluster, Object: segment.ID{3, byte(id), byte(seq)}, Journal: uint32(id), Epoch: 1,
				Seq: seq, Prev: chain.Tail, Confirmed: seq - min(seq, 2), Node: segment.ID{4}, Incarnation: segment.ID{5},
			}
			var entries []segment.Entry
			var records []segment.Records
			switch {
			case seq == 1:
				h.Kind = segment.KindFence
			case seq <= 4:
				h.Kind, h.Prev = segment.KindFiller, chain.Fence
			case id == 0:
				entries = metas
			case seq == 5:
				entries = []segment.Entry{partlog.Open{Key: partlog.Key{Topic: events}}.Encode()}
			default:
				records = []segment.Records{{Partition: segment.Partition{Topic: events, LeaderEpoch: 1}, Batches: [][]byte{records3(3 * int64(seq-6))}}}
			}
			b, _, err := segment.Build(h, entries, records)
			put(segment.JournalKey(h.Journal, seq), b, err)
			chain.Advance(&h, journal.Valid)
		}
	}
	return store
}

func records3(base int64) []byte {
	return batchtest.Build(batchtest.Spec{Records: batchtest.Values(1, "a", "b", "c"), BaseOffset: base, LeaderEpoch: 1})
}

// putMerged stores a merged segment of partition 0 of a topic with the offsets from one on
// up to another.
func putMerged(t *testing.T, store *mem.Store, name segment.Name, topic segment.ID, from, to int64) {
	t.Helper()
	var out bytes.Buffer
	m, err := segment.NewMergedWriter(&out, segment.MergedHeader{
		Name: name, Journal: 1, Cluster: cluster, Job: segment.ID{1}, Node: segment.ID{2}, Incarnation: segment.ID{3}, BuiltMs: 7,
	})
	if err == nil {
		err = m.Begin(segment.MergedPart{Topic: topic, TopicName: "events", From: from, To: to, SourceMs: 6})
	}
	for at := from; at < to && err == nil; at += 3 {
		err = m.Append(records3(at), nil)
	}
	if err == nil {
		_, err = m.End()
	}
	if err == nil {
		_, err = m.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	store.PutNow(name.Key(), out.Bytes())
}

func open(t *testing.T, store *mem.Store) *offline.Bucket {
	t.Helper()
	b, err := offline.Open(t.Context(), store, offline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func TestABucketThatLacksTheEndOfAJournalIsCutOff(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil func(*testing.T, *mem.Store)
		why   string // empty: it is whole
	}{
		"whole": {func(*testing.T, *mem.Store) {}, ""},
		"an object under way is not there yet": {func(_ *testing.T, s *mem.Store) {
			s.DeleteNow(segment.JournalKey(1, 8))
		}, ""},
		"a hole that a later object knows": {func(_ *testing.T, s *mem.Store) {
			s.DeleteNow(segment.JournalKey(1, 7))
		}, "the object at seq 9 knows seq 7 to be confirmed"},
		"a hole, and a rotten object far above": {func(_ *testing.T, s *mem.Store) {
			s.DeleteNow(segment.JournalKey(1, 7))
			s.DeleteNow(segment.JournalKey(1, 8))
			s.DeleteNow(segment.JournalKey(1, 9))
			s.PutNow(segment.JournalKey(1, 11), []byte("rotten"))
		}, "the object at seq 11 is sent only after seq 7"},
		"an index page of a later seq": {func(_ *testing.T, s *mem.Store) {
			s.PutNow(segment.IndexName{Journal: 1, Seq: 10, Object: segment.ID{9}}.Key(), []byte("page"))
		}, "is of seq 10"},
		"a checkpoint of metadata of a later seq": {func(_ *testing.T, s *mem.Store) {
			s.PutNow(segment.CheckpointKey(0, segment.Ref{Seq: 6, Object: segment.ID{9}}), []byte("rotten"))
		}, "journal 0 ends at seq 5"},
		"an own segment of later offsets": {func(t *testing.T, s *mem.Store) {
			putMerged(t, s, segment.OwnSegment(events, 0, 12, segment.ID{9}), events, 12, 15)
		}, "has records from offset 12 on"},
		"an own segment of the last offsets": {func(t *testing.T, s *mem.Store) {
			putMerged(t, s, segment.OwnSegment(events, 0, 9, segment.ID{9}), events, 9, 12)
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			store := bucket(t, time.Now)
			tc.spoil(t, store)
			err := open(t, store).ProveWhole(t.Context())
			if tc.why == "" && err != nil || tc.why != "" && (!errors.Is(err, offline.ErrCutOff) || !strings.Contains(err.Error(), tc.why)) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestAnOrphanThatMayHaveTheOnlyRecordsIsNeeded has orphans of all kinds.
func TestAnOrphanThatMayHaveTheOnlyRecordsIsNeeded(t *testing.T) {
	now := time.Now()
	store := bucket(t, func() time.Time { return now })
	spare, own := segment.SharedSegment(1, segment.ID{0xa1}), segment.OwnSegment(events, 0, 3, segment.ID{0xa2})
	only, foreign, junk := segment.SharedSegment(1, segment.ID{0xa3}), segment.SharedSegment(1, segment.ID{0xa4}), segment.SharedSegment(1, segment.ID{0xa5})
	putMerged(t, store, spare, events, 0, 3)
	putMerged(t, store, own, events, 3, 6)
	putMerged(t, store, only, events, 3, 9)
	putMerged(t, store, foreign, segment.ID{7}, 0, 3)
	store.PutNow(junk.Key(), []byte("half of an upload"))
	now = now.Add(offline.OrphanAge + time.Minute)
	b := open(t, store)
	needed := func() map[string]string {
		t.Helper()
		found, err := b.Orphans(t.Context(), now, func(int64) {})
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]string{}
		for _, o := range found {
			out[o.Key] = o.Needed
		}
		return out
	}
	expect := func(got map[string]string, want map[string]string) {
		t.Helper()
		for key, why := range want {
			reason, found := got[key]
			if !found || why == "" && reason != "" || !strings.Contains(reason, why) {
				t.Errorf("%s: %q, want %q", key, reason, why)
			}
		}
	}
	expect(needed(), map[string]string{
		spare.Key(): "", own.Key(): "", only.Key(): "", foreign.Key(): "no journal has partition 0", junk.Key(): "not known which records",
	})
	store.DeleteNow(segment.JournalKey(1, 8)) // offsets 6 to 8
	expect(needed(), map[string]string{
		spare.Key(): "", own.Key(): "", only.Key(): "offsets 6 to 8 of partition 0 of topic events may be nowhere else",
	})
	putMerged(t, store, segment.SharedSegment(1, segment.ID{0xa6}), events, 9, 15)
	now = now.Add(offline.OrphanAge)
	if _, err := b.Orphans(t.Context(), now, func(int64) {}); !errors.Is(err, offline.ErrCutOff) {
		t.Errorf("records of a lost end: %v", err)
	}
}
