package node

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/varvelog/varve/ingest"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/partlog"
)

// producers append to a partition at the nodes that lead it, and keep the offsets of
// acknowledged batches.
type producers struct {
	t     *testing.T
	key   partlog.Key
	work  sync.WaitGroup
	mu    sync.Mutex
	acked map[int64]string // guarded by mu: the producer of the batch at an offset
}

// append appends one batch after the other at a node until ctx ends.
func (p *producers) append(ctx context.Context, n *testNode, name string) {
	p.work.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			time.Sleep(5 * time.Millisecond) // or a rival loses each race for a place
			a := n.appender(1)
			if a == nil {
				continue
			}
			data := batchtest.Build(batchtest.Spec{Records: batchtest.Values(1000, fmt.Sprint(name, i))})
			h, err := batch.Parse(data)
			if err != nil {
				p.t.Error(err)
				return
			}
			answer := make(chan ingest.Result, 1)
			a.Append(ctx, ingest.AcksAll, []ingest.Batch{{Key: p.key, Data: data, Header: h}}, func(r []ingest.Result) { answer <- r[0] })
			if r := <-answer; r.Err == nil {
				p.acknowledged(r.BaseOffset, fmt.Sprintf("%s %d", name, i))
			}
		}
	})
}

func (p *producers) acknowledged(offset int64, name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if other, twice := p.acked[offset]; twice {
		p.t.Errorf("offset %d was given to %s and to %s", offset, other, name)
	}
	p.acked[offset] = name
}

func (p *producers) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.acked)
}

// Two nodes take the journals from each other again and again, while producers write to
// the node that leads.
func TestNodesThatTakeJournalsInTurnLoseNothing(t *testing.T) {
	store := mem.New(time.Now, nil)
	createUnopened(t, store)
	var nodes []*testNode
	var closes []func()
	start := func() (n *testNode, closeAll func()) {
		n, closeAll = newNode(t, store)
		n.afterLoss = func(uint32, error) (bool, error) { return true, nil }
		if err := n.lead(t.Context(), &n.closers); err != nil {
			t.Fatal(err)
		}
		return n, closeAll
	}
	for range 2 {
		n, closeAll := start()
		nodes, closes = append(nodes, n), append(closes, closeAll)
	}
	p := &producers{t: t, key: partlog.Key{Topic: nodes[0].meta.Topics()[0].ID}, acked: map[int64]string{}}
	ctx, cancel := context.WithCancel(t.Context())
	for i := range 4 {
		p.append(ctx, nodes[i%2], fmt.Sprint("producer ", i))
	}
	turns := 6
	if testing.Short() {
		turns = 2
	}
	for turn := range turns {
		n := nodes[turn%2]
		before := len(n.dir.Incarnations(1))
		until(t, "a node that was deposed leads again", func() bool {
			_ = n.controller.Prove(ctx)
			if a := n.journals.get(1).leader; a != nil {
				_ = a.Prove(ctx)
			}
			return len(n.dir.Incarnations(1)) > before && n.appender(1) != nil
		})
		acked := p.count()
		until(t, "records are acknowledged", func() bool { return p.count() > acked })
	}
	cancel()
	p.work.Wait()
	for i, n := range nodes {
		closes[i]()
		if len(n.failed) > 0 {
			t.Error(<-n.failed)
		}
	}
	last, closeLast := start()
	defer closeLast()
	v, _ := last.journals.get(1).state.Lookup(p.key)
	for offset, name := range p.acked {
		if offset >= v.End {
			t.Errorf("%s was acknowledged at offset %d, the log ends at %d", name, offset, v.End)
		}
	}
	t.Logf("%d batches were acknowledged over %d epochs", len(p.acked), v.Epoch)
}
