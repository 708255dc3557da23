package node

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/metadata/membership/drive"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/segment"
)

// unread are the chains of a node that follows no journal.
func unread(journalID uint32) journal.Chain {
	return journal.NewChain(segment.ID{9}, journalID, window)
}

// startProbes starts probes of a store, and their loop.
func startProbes(t *testing.T, store objstore.Store, chain func(uint32) journal.Chain) *probes {
	t.Helper()
	l, _ := startLoop(t, nil)
	p := newProbes(store, chain, l)
	t.Cleanup(p.Close)
	return p
}

// asked asks on the goroutine of the Driver, and returns the answer.
func asked[T any](t *testing.T, l *drive.Loop, ask func(done func(T))) T {
	t.Helper()
	answers := make(chan T, 2)
	if err := l.Do(t.Context(), func() { ask(func(v T) { answers <- v }) }); err != nil {
		t.Fatal(err)
	}
	v := <-answers
	synced := make(chan struct{})
	if err := l.Do(t.Context(), func() { close(synced) }); err != nil {
		t.Fatal(err)
	}
	if <-synced; len(answers) > 0 {
		t.Error("a second answer")
	}
	return v
}

func (p *probes) looked(t *testing.T, journal uint32) membership.Looked {
	t.Helper()
	return asked(t, p.loop, func(done func(membership.Looked)) { p.Look(journal, membership.LookLimit, done) })
}

func (p *probes) probed(t *testing.T) bool {
	t.Helper()
	return asked(t, p.loop, func(done func(bool)) { p.Probe(membership.ProbeLimit, done) })
}

func (p *probes) checked(t *testing.T, l membership.Leader) bool {
	t.Helper()
	return asked(t, p.loop, func(done func(bool)) { p.Check(l, done) })
}

// A look finds the head by listings alone, however far it is, and its number grows slowly.
func TestALookListsTheHead(t *testing.T) {
	for _, head := range []uint64{0, 1, 999, 1000, 1001, 2000, 2001, 8000, 12345} {
		synctest.Test(t, func(t *testing.T) { looksListTheHead(t, head) })
	}
}

func looksListTheHead(t *testing.T, head uint64) {
	var lists, others atomic.Int32
	store := mem.New(nil, func(c mem.Call) (a mem.Action) {
		if c.Op == objstore.OpList {
			lists.Add(1)
		} else {
			others.Add(1)
		}
		return a
	})
	for seq := range head {
		store.PutNow(segment.JournalKey(3, seq+1), nil)
	}
	store.PutNow(segment.FloorKey(3, 1), nil)
	store.PutNow(segment.JournalKey(30, 99999), nil)
	p := startProbes(t, store, unread)
	if got := p.looked(t, 3); got != (membership.Looked{Journal: 3, Head: head}) {
		t.Errorf("head %d: %+v", head, got)
	}
	if n := lists.Swap(0); n > 12 {
		t.Errorf("head %d: %d listings", head, n)
	}
	store.PutNow(segment.JournalKey(3, head+1), nil)
	if got := p.looked(t, 3); got.Head != head+1 || lists.Load() != 1 {
		t.Errorf("one more than %d: %+v, with %d listings", head, got, lists.Load())
	}
	if n := others.Load(); n > 0 {
		t.Errorf("%d requests that are no listings", n)
	}
}

// A journal that this node follows is listed from where it has been read.
func TestALookBeginsWhereTheJournalWasRead(t *testing.T) {
	store := mem.New(nil, nil)
	p := startProbes(t, store, func(id uint32) journal.Chain {
		c := unread(id)
		c.Next = 41
		return c
	})
	for seq := range uint64(20) { // the objects above are not listed yet
		store.PutNow(segment.JournalKey(0, seq+1), nil)
	}
	if got := p.looked(t, 0); got.Head != 40 {
		t.Errorf("%+v", got)
	}
}

func TestAProbeWritesAndLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var created []string
		var fault mem.Action
		var mu sync.Mutex
		store := mem.New(nil, func(c mem.Call) (a mem.Action) {
			if c.Op != objstore.OpCreate {
				return a
			}
			mu.Lock()
			defer mu.Unlock()
			created = append(created, c.Key)
			return fault
		})
		p := startProbes(t, store, unread)
		for range 2 {
			if !p.probed(t) {
				t.Error("the store takes objects, and the probe fails")
			}
		}
		if synctest.Wait(); len(store.ListNow("")) > 0 {
			t.Errorf("%v stays", store.ListNow(""))
		}
		mu.Lock()
		if created[0] == created[1] || !strings.HasPrefix(created[0], segment.ProbePrefix+"/") {
			t.Errorf("the keys are %q", created)
		}
		mu.Unlock()
		for name, f := range map[string]mem.Action{"refused": mem.FailBefore(objstore.ErrFull), "lost": mem.ReplyLost(), "exists": mem.FailBefore(objstore.ErrExists), "no answer": mem.NeverAnswer()} {
			mu.Lock()
			fault = f
			mu.Unlock()
			if p.probed(t) {
				t.Errorf("%s: the probe succeeds", name)
			}
		}
	})
}

// settled is an object of a leadership, a filler.
func settled(t *testing.T, change func(*segment.Header)) []byte {
	t.Helper()
	h := segment.Header{
		Kind: segment.KindFiller, Cluster: segment.ID{9}, Object: segment.ID{7}, Journal: 2, Epoch: 5, Seq: 44,
		Prev: segment.Ref{Seq: 41, Object: segment.ID{6}}, Node: segment.ID{2}, Incarnation: segment.ID{3},
	}
	if change != nil {
		change(&h)
	}
	b, _, err := segment.Build(h, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A claim is right if each field of it is that of the object that it names.
func TestAClaimIsCheckedByItsObject(t *testing.T) {
	claim := membership.Leader{Journal: 2, Node: segment.ID{2}, Epoch: 5, Settled: segment.Ref{Seq: 44, Object: segment.ID{7}}}
	for name, c := range map[string]struct {
		change func(*segment.Header)
		right  bool
	}{
		"the filler":      {nil, true},
		"data":            {func(h *segment.Header) { h.Kind = segment.KindData }, true},
		"a fence":         {func(h *segment.Header) { h.Kind = segment.KindFence }, false},
		"another cluster": {func(h *segment.Header) { h.Cluster = segment.ID{8} }, false},
		"another object":  {func(h *segment.Header) { h.Object = segment.ID{8} }, false},
		"another journal": {func(h *segment.Header) { h.Journal = 1 }, false},
		"another epoch":   {func(h *segment.Header) { h.Epoch = 4 }, false},
		"another seq":     {func(h *segment.Header) { h.Seq = 43 }, false},
		"another node":    {func(h *segment.Header) { h.Node = segment.ID{1} }, false},
	} {
		store := mem.New(nil, nil)
		store.PutNow(segment.JournalKey(2, 44), settled(t, c.change))
		if got := startProbes(t, store, unread).checked(t, claim); got != c.right {
			t.Errorf("%s: %v", name, got)
		}
	}
	store := mem.New(nil, nil)
	p := startProbes(t, store, unread)
	if p.checked(t, claim) {
		t.Error("without an object")
	}
	for n, b := 0, settled(t, nil); n < len(b); n += 10 {
		store.PutNow(segment.JournalKey(2, 44), b[:n])
		if n < segment.HeaderSize && p.checked(t, claim) {
			t.Errorf("cut to %d bytes", n)
		}
	}
}

// deaf is a store that answers no request, and does not notice that its caller gives up.
type deaf struct {
	objstore.Store
	answer chan struct{}
}

func (d deaf) List(context.Context, string, string, func(objstore.Info) error) error {
	<-d.answer
	return nil
}

func (d deaf) Create(context.Context, string, objstore.Body) error {
	<-d.answer
	return nil
}

func (d deaf) GetRange(context.Context, string, int64, []byte) error {
	<-d.answer
	return nil
}

func (deaf) Delete(context.Context, string) error { return nil }

// The limits hold, whatever the store does, and answers that come later are not heard.
func TestAnswersOfTheStoreThatComeLateAreNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := deaf{answer: make(chan struct{})}
		p := startProbes(t, store, unread)
		began := time.Now()
		if got := p.looked(t, 1); !got.Failed || time.Since(began) != membership.LookLimit {
			t.Errorf("look: %+v after %v", got, time.Since(began))
		}
		began = time.Now()
		if p.probed(t) || time.Since(began) != membership.ProbeLimit {
			t.Errorf("probe: after %v", time.Since(began))
		}
		began = time.Now()
		if p.checked(t, membership.Leader{Settled: segment.Ref{Seq: 1}}) || time.Since(began) != checkLimit {
			t.Errorf("check: after %v", time.Since(began))
		}
		for range probesMost {
			p.looked(t, 1)
		}
		began = time.Now()
		if got := p.looked(t, 1); !got.Failed || time.Since(began) != 0 {
			t.Errorf("one of too many: %+v after %v", got, time.Since(began))
		}
		closed := make(chan struct{})
		go func() {
			p.Close()
			close(closed)
		}()
		synctest.Wait()
		select {
		case <-closed:
			t.Error("Close does not wait for requests")
		default:
		}
		close(store.answer)
		<-closed
	})
}

// Many questions at once have an answer each.
func TestEachQuestionToTheStoreHasOneAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int32
		store := mem.New(nil, func(mem.Call) (a mem.Action) {
			if n.Add(1)%3 == 0 {
				return mem.NeverAnswer()
			}
			return a
		})
		p := startProbes(t, store, unread)
		answers := map[string]int{}
		err := p.loop.Do(t.Context(), func() {
			for i := range 40 {
				answered := func() { answers[fmt.Sprint(i)]++ }
				p.Look(uint32(i), membership.LookLimit, func(membership.Looked) { answered() })
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		for i := range 40 {
			if got := answers[fmt.Sprint(i)]; got != 1 {
				t.Errorf("question %d has %d answers", i, got)
			}
		}
	})
}
