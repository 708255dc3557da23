package node

import (
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// TestAStartIsPatientWithAPageOfProducers is for nodes that lead and for those that follow.
func TestAStartIsPatientWithAPageOfProducers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := 10
		store := mem.New(time.Now, func(c mem.Call) mem.Action {
			if c.Op != objstore.OpGet || c.Number > busy {
				return mem.Action{}
			}
			return mem.FailBefore(errors.New("503"))
		})
		n := &node{store: store, log: slog.New(slog.DiscardHandler), cluster: segment.Cluster{ID: segment.ID{1}, Window: 4}}
		state := oneProducer(t)
		plan := state.PlanProducers(segment.NewID, partlog.ProducerPaging{Least: 1, Most: 1, OfObject: 1})
		page := plan.Objects[0]
		blob := segment.Blob{Kind: segment.KindIndex, Cluster: n.cluster.ID, Object: page.Name.Object, Journal: 1, Seq: 1, Payload: page.Payload}
		b, err := segment.EncodeBlob(blob)
		if err != nil {
			t.Fatal(err)
		}
		store.PutNow(page.Name.Key(), b)
		c := &journal.Checkpoint{Chain: journal.Chain{Journal: 1}, State: state.Encode(nil, segment.ID{}, plan)}
		if got, err := n.restore(t.Context(), c); err != nil || got.Hash() != state.Hash() {
			t.Errorf("%v, %v", got, err)
		}
	})
}

// oneProducer is the state of journal 1 with one batch.
func oneProducer(t *testing.T) *partlog.State {
	t.Helper()
	state, k := partlog.New(1), partlog.Key{Topic: segment.ID{2}}
	err := state.Apply(&segment.Footer{
		Header: segment.Header{Kind: segment.KindData, Journal: 1, Seq: 1, Epoch: 1},
		Partitions: []segment.Partition{{
			Topic: k.Topic, LeaderEpoch: 1, Position: 100, Length: 70, Records: 1, Batches: 1,
			Producers: []segment.Producer{{ID: 7, Batches: []segment.ProducerBatch{{}}}},
		}},
	}, []segment.Entry{partlog.Open{Key: k}.Encode()})
	if err != nil {
		t.Fatal(err)
	}
	return state
}
