package node

import (
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"testing"

	"github.com/varvelog/varve/cmd/internal/status"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// TestTopicsAreShownAsTheyAreStored: 300 bytes are written, 100 of them are merged into a
// shared segment and 100 into one of the partition's own.
func TestTopicsAreShownAsTheyAreStored(t *testing.T) {
	n := retaining(t, slog.New(slog.DiscardHandler), metadata.FeatureLevel{Level: metadata.LevelTiering}, metadata.JournalCreated{ID: 1}, configured(7, "t", nil))
	state, key, job := partlog.New(1), partlog.Key{Topic: segment.ID{7}}, segment.ID{9}
	n.journals = &journals{byID: map[uint32]*dataJournal{1: {state: state}}}
	n.board.Serves()
	seq := uint64(0)
	apply := func(kind segment.Kind, entries []segment.Entry, parts ...segment.Partition) {
		t.Helper()
		seq++
		f := &segment.Footer{Header: segment.Header{Kind: kind, Journal: 1, Epoch: 1, Seq: seq}, Partitions: parts}
		if err := state.Apply(f, entries); err != nil {
			t.Fatal(err)
		}
	}
	shared, own := segment.SharedSegment(1, segment.ID{1}), segment.OwnSegment(key.Topic, 0, 10, segment.ID{2})
	extent := func(name segment.Name, base int64) partlog.Extent {
		return partlog.Extent{
			Object: name, Base: base, Last: base + 9, MaxTimestamp: 1000 + base, Position: 200, Length: 100, IndexLength: 50,
			Records: 10, Size: 500, SHA256: [32]byte{1}, BuiltMs: 77, SourceMs: 5,
		}
	}
	apply(segment.KindFence, nil)
	apply(segment.KindData, []segment.Entry{partlog.Open{Key: key}.Encode()})
	for base := int64(0); base < 30; base += 10 {
		apply(segment.KindData, nil, segment.Partition{
			Topic: key.Topic, LeaderEpoch: 1, Position: 100, Length: 100, BaseOffset: base, LastOffset: base + 9, Records: 10, Batches: 1, MaxTimestamp: 1000 + base,
		})
	}
	apply(segment.KindData, []segment.Entry{partlog.Intent{Job: job, Objects: []segment.Name{shared, own}}.Encode()})
	apply(segment.KindData, []segment.Entry{(&partlog.Result{Job: job, Last: true, Parts: []partlog.ResultPart{
		{Key: key, From: 0, To: 20, Source: 200, Extents: []partlog.Extent{extent(shared, 0), extent(own, 10)}},
	}}).Encode()})

	w := httptest.NewRecorder()
	status.HandlerOf(n.storedTopics).ServeHTTP(w, httptest.NewRequest("GET", status.TopicsPath+"?name=t&name=none", nil))
	var topics []status.StoredTopic
	if err := json.Unmarshal(w.Body.Bytes(), &topics); err != nil || len(topics) != 1 || len(topics[0].Partitions) != 1 {
		t.Fatalf("%v in %s", err, w.Body)
	}
	p := topics[0].Partitions[0]
	if p.Unmerged != 100 || p.Shared != 100 || p.Own != 100 || p.Objects != 2 || p.Journal != 1 {
		t.Errorf("stored %+v", p)
	}
	if p.Oldest == nil || p.Newest == nil || p.Oldest.UnixMilli() != 1000 || p.Newest.UnixMilli() != 1020 {
		t.Errorf("from %v to %v", p.Oldest, p.Newest)
	}
}
