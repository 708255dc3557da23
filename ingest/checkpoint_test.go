package ingest

import (
	"errors"
	"testing"

	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// TestNothingIsDeletedBelowACheckpointWithPagesThatAreStoredOnce: without the objects below
// it, one rotten page would keep every node from starting.
func TestNothingIsDeletedBelowACheckpointWithPagesThatAreStoredOnce(t *testing.T) {
	var fault error
	store, state, chain := mem.New(nil, func(c mem.Call) mem.Action {
		if c.Op != objstore.OpCreate && fault != nil {
			return mem.FailBefore(fault)
		}
		return mem.Action{}
	}), partlog.New(1), journal.NewChain(segment.ID{1}, 1, 4)
	key, seq, ids := partlog.Key{Topic: segment.ID{7}}, uint64(0), byte(0)
	apply := func(kind segment.Kind, parts []segment.Partition, entries ...segment.Entry) {
		seq++
		if err := state.Apply(&segment.Footer{Header: segment.Header{Kind: kind, Journal: 1, Epoch: 1, Seq: seq}, Partitions: parts}, entries); err != nil {
			t.Fatal(err)
		}
	}
	check := func() error {
		plan := state.PlanProducers(func() segment.ID { ids++; return segment.ID{9, ids} }, partlog.ProducerPaging{Least: 1, Most: 4, OfObject: 2})
		if plan != nil {
			for _, o := range plan.Objects {
				b, err := segment.EncodeBlob(segment.Blob{Kind: segment.KindIndex, Cluster: chain.Cluster, Object: o.Name.Object, Journal: 1, Seq: seq, Payload: o.Payload})
				if err == nil {
					err = store.Create(t.Context(), o.Name.Key(), objstore.Plain(b))
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			state.PagedProducers(plan)
		}
		return CheckSpared(t.Context(), store, &journal.Checkpoint{Chain: chain, State: state.Encode(nil, segment.ID{}, nil)}, nil)
	}
	apply(segment.KindFence, nil)
	apply(segment.KindData, []segment.Partition{{
		Topic: key.Topic, LeaderEpoch: 1, Position: 100, Length: 100, CRC: 1, Records: 1, Batches: 1,
		Producers: []segment.Producer{{ID: 5, Batches: []segment.ProducerBatch{{}}}},
	}}, partlog.Open{Key: key}.Encode())
	if err := check(); !errors.Is(err, errSingle) {
		t.Errorf("pages that are stored once: error %v", err)
	}
	apply(segment.KindData, nil, partlog.Intent{Job: segment.ID{1}, Objects: []segment.Name{segment.SharedSegment(1, segment.ID{2})}}.Encode())
	if err := check(); err != nil {
		t.Errorf("pages that were written again: error %v", err)
	}
	for _, tc := range []struct {
		fault  error
		unread bool // nothing is known about the checkpoint
	}{{objstore.ErrNotFound, false}, {objstore.ErrRange, false}, {segment.ErrCorrupt, false}, {segment.ErrUnsupported, false}, {objstore.ErrDenied, true}} {
		fault = tc.fault
		if err := check(); !errors.Is(err, tc.fault) || errors.Is(err, journal.ErrUnread) != tc.unread {
			t.Errorf("pages are not read because of %v: error %v", tc.fault, err)
		}
	}
}
