package journal

import (
	"errors"
	"strings"
	"testing"

	"github.com/varvelog/varve/tiering/segment"
)

// Each row is held by one check of Chain.Check alone.
func TestAChainRefusesWhatDoesNotFollow(t *testing.T) {
	fence, other := segment.Ref{Seq: 10, Object: segment.ID{1}}, segment.Ref{Seq: 10, Object: segment.ID{2}}
	settling := Chain{Cluster: testCluster, Journal: testJournal, Window: testWindow, Next: 11, Epoch: 3, Fence: fence, Last: fence, Tail: fence}
	settled := settling
	settled.Next = fence.Seq + testWindow
	filler := segment.Header{Kind: segment.KindFiller, Cluster: testCluster, Journal: testJournal, Epoch: 3, Seq: 11, Prev: fence}
	data := segment.Header{Kind: segment.KindData, Cluster: testCluster, Journal: testJournal, Epoch: 3, Seq: settled.Next, Prev: fence}
	for name, tc := range map[string]struct {
		chain  Chain
		header segment.Header
		change func(*segment.Header)
		says   string
	}{
		"a filler":                       {settling, filler, func(*segment.Header) {}, ""},
		"data":                           {settled, data, func(*segment.Header) {}, ""},
		"another cluster's":              {settled, data, func(h *segment.Header) { h.Cluster = segment.ID{9} }, "belongs to cluster"},
		"another journal's":              {settled, data, func(h *segment.Header) { h.Journal++ }, "says it is seq"},
		"another seq's":                  {settled, data, func(h *segment.Header) { h.Seq++ }, "says it is seq"},
		"one that knows itself":          {settled, data, func(h *segment.Header) { h.Confirmed = h.Seq }, "is confirmed"},
		"without an epoch":               {settled, data, func(h *segment.Header) { h.Epoch = 0 }, "has no epoch"},
		"a filler of another fence":      {settling, filler, func(h *segment.Header) { h.Prev = other }, "is a filler of fence"},
		"a filler beyond the window":     {settled, filler, func(h *segment.Header) { h.Seq = settled.Next }, "beyond the window"},
		"data before the epoch settled":  {settling, data, func(h *segment.Header) { h.Seq = settling.Next }, "before epoch 3 was settled"},
		"a second fence":                 {settled, data, func(h *segment.Header) { h.Kind = segment.KindFence }, "second fence"},
		"data after another segment":     {settled, data, func(h *segment.Header) { h.Prev = other }, "the segment before it"},
		"data of an epoch not opened":    {settled, data, func(h *segment.Header) { h.Epoch = 4 }, "no fence has opened"},
		"a void that knows of the fence": {settled, data, func(h *segment.Header) { h.Epoch, h.Confirmed = 2, fence.Seq }, "whose leader had confirmed"},
	} {
		h := tc.header
		tc.change(&h)
		switch _, err := tc.chain.Check(&h); {
		case tc.says == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case tc.says != "" && (!errors.Is(err, ErrBroken) || !strings.Contains(err.Error(), tc.says)):
			t.Errorf("%s: %v, want %v with %q", name, err, ErrBroken, tc.says)
		}
	}
}

func TestAFloorOnlyRises(t *testing.T) {
	f := floors{journal: testJournal}
	floor := segment.Floor{
		Cluster: testCluster, Journal: testJournal, N: 1, Floor: 20, Object: segment.ID{3}, Hash: [32]byte{1},
		Checkpoint: segment.CheckpointKey(testJournal, segment.Ref{Seq: 19, Object: segment.ID{3}}),
	}
	for _, at := range []struct{ n, seq uint64 }{{1, 20}, {2, 19}} {
		floor.N, floor.Floor = at.n, at.seq
		floor.Checkpoint = segment.CheckpointKey(testJournal, segment.Ref{Seq: at.seq - 1, Object: segment.ID{3}})
		b, err := segment.EncodeFloor(floor)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.take(at.n, b); errors.Is(err, ErrBroken) != (at.seq < 20) || err != nil && at.seq == 20 {
			t.Errorf("floor %d at seq %d: %v", at.n, at.seq, err)
		}
	}
	if f.n != 1 || f.floor.Floor != 20 {
		t.Errorf("floor %d at seq %d is in force", f.n, f.floor.Floor)
	}
}
