package journal

import (
	"errors"
	"slices"
	"testing"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/wire"
)

// paging is a leader whose states are lists of index objects.
type paging struct {
	*led
	has []segment.IndexName
}

func newPaging(t *testing.T) *paging {
	p := &paging{led: newLed(t)}
	p.lead()
	return p
}

// lead gives the leader in charge checkpoints with index objects.
func (p *paging) lead() {
	p.cp = NewCheckpointer(CheckpointerOptions{
		NewID: p.w.newID, Names: listed, Policy: CheckpointPolicy{Every: 1, Most: 3, Behind: 1},
	})
}

func encoded(names []segment.IndexName) []byte {
	var w wire.Writer
	for _, n := range names {
		w.U64(n.Seq)
		w.ID(n.Object)
	}
	return w.B
}

func listed(c *Checkpoint) (names []segment.IndexName, err error) {
	for r := wire.NewReader(c.State); r.Len() > 0; {
		names = append(names, segment.IndexName{Journal: testJournal, Seq: r.U64(), Object: r.ID()})
	}
	return names, nil
}

// next writes an object and a checkpoint, with a new page if page is set.
func (p *paging) next(page bool) CheckpointResult {
	p.t.Helper()
	p.write()
	chain, history := p.n.core.Checkpoint()
	job := CheckpointJob{Chain: chain, History: history, Named: slices.Clone(p.has)}
	names := slices.Clone(p.has)
	if page {
		n := segment.IndexName{Journal: testJournal, Seq: chain.Last.Seq, Object: p.w.newID()}
		job.Indexes = append(job.Indexes, IndexObject{Name: n, Payload: []byte("page")})
		names = append(names, n)
	}
	job.State = encoded(names)
	p.cp.Begin(&job)
	res := p.cp.Write(p.t.Context(), p.store, job)
	if res.Plan != nil {
		p.plan = res.Plan
	}
	if res.Err == nil && len(res.Renewed) == 0 {
		p.has = names
	}
	for _, r := range res.Renewed {
		p.has[slices.Index(p.has, r.Old)] = r.New
	}
	return res
}

func (p *paging) kept() (from uint64, has func(segment.IndexName) bool) {
	p.t.Helper()
	from, has, err := NewSpared(p.store, NewChain(testCluster, testJournal, testWindow), nil, listed).Kept(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	return from, has
}

// floors goes on until there are so many floors.
func (p *paging) until(n uint64) {
	p.t.Helper()
	for p.floors().n < n {
		if res := p.next(false); res.Err != nil || res.FloorErr != nil {
			p.t.Fatal(res.Err, res.FloorErr)
		}
	}
}

func TestIndexObjectsOfTheLastTwoFloorsAreKept(t *testing.T) {
	p := newPaging(t)
	p.next(true)
	first := p.has[0]
	p.until(3)
	if from, has := p.kept(); first.Seq >= from || !has(first) {
		t.Fatalf("the page of seq %d, which floors name, is not kept: from seq %d on all are", first.Seq, from)
	}
	p.has = nil
	n := p.floors().n
	p.until(n + 1)
	for names := true; names; { // until the last floor does not name it
		p.until(p.floors().n + 1)
		c, err := p.floors().checkpoint(t.Context(), NewChain(testCluster, testJournal, testWindow))
		if err != nil {
			t.Fatal(err)
		}
		names = len(c.State) > 0
	}
	if _, has := p.kept(); !has(first) {
		t.Fatal("the page is named by the last floor but one, and not kept")
	}
	p.until(p.floors().n + 1)
	from, has := p.kept()
	if has(first) {
		t.Fatal("the page is kept, which no floor names")
	}
	old, young := first, first
	old.Seq, young.Seq = 0, from
	if !has(old) || !has(young) {
		t.Fatal("a page without a seq, or of the seq of the last floor but one, is not kept")
	}
}

func TestALostCheckpointOfAFloorKeepsAllIndexObjects(t *testing.T) {
	p := newPaging(t)
	p.next(true)
	p.until(3)
	f := p.floors()
	b, _ := p.store.GetNow(f.floor.Checkpoint)
	p.store.PutNow(f.floor.Checkpoint, append(slices.Clone(b[:len(b)-1]), b[len(b)-1]^1))
	if from, _, err := NewSpared(p.store, NewChain(testCluster, testJournal, testWindow), nil, listed).Kept(t.Context()); !errors.Is(err, segment.ErrCorrupt) {
		t.Fatalf("all are kept from seq %d on, error %v, though the checkpoint of the last floor is damaged", from, err)
	}
}

// TestALeaderWithIndexObjectsThatNoFloorKeeps leads again with pages that it alone has.
func TestALeaderWithIndexObjectsThatNoFloorKeeps(t *testing.T) {
	for _, gone := range []bool{false, true} {
		p := newPaging(t)
		p.next(true)
		mine := slices.Clone(p.has)
		p.has = nil // another leader, which has the extents in memory
		p.lead()
		for n := p.floors().n; p.floors().n < n+4; {
			p.next(false)
		}
		if _, has := p.kept(); has(mine[0]) {
			t.Fatal("the page is kept")
		}
		p.lead()
		p.has = slices.Clone(mine)
		if gone {
			for _, name := range mine[0].Copies() {
				p.store.DeleteNow(name.Key())
			}
			res := p.next(false)
			if err := p.cp.Finished(res, nil); !errors.Is(err, ErrBelowFloor) {
				t.Fatalf("the leader goes on without its page: %v", err)
			}
			continue
		}
		before := p.checkpoints()
		if res := p.next(false); res.Err != nil || len(res.Renewed) != 1 || len(p.checkpoints()) != len(before) {
			t.Fatalf("%+v, %d checkpoints instead of %d", res, len(p.checkpoints()), len(before))
		}
		for n := p.floors().n; p.floors().n < n+4; {
			if res := p.next(false); res.Err != nil || res.FloorErr != nil {
				t.Fatal(res.Err, res.FloorErr)
			}
		}
		if _, has := p.kept(); p.has[0] == mine[0] || !has(p.has[0]) {
			t.Fatal("the page that was written again is not kept")
		}
		if b, err := readIndex(t.Context(), p.store, p.has[0]); err != nil || string(b) != "page" {
			t.Fatalf("%q, error %v", b, err)
		}
	}
}

// notKept has a leader that names an index object in its checkpoints which no floor keeps.
func notKept(t *testing.T) (p *paging, mine segment.IndexName, bad func()) {
	t.Helper()
	p = newPaging(t)
	p.next(true)
	names := slices.Clone(p.has)
	p.has = nil
	for n := p.floors().n; p.floors().n < n+4; {
		p.next(false)
	}
	bad = func() {
		p.write()
		chain, history := p.n.core.Checkpoint()
		job := CheckpointJob{Chain: chain, History: history, State: encoded(names)}
		p.cp.Begin(&job)
		if res := p.cp.Write(t.Context(), p.store, job); res.Plan != nil {
			p.plan = res.Plan
		}
	}
	for range 10 {
		bad()
	}
	return p, names[0], bad
}

// TestNoFloorMovesToIndexObjectsThatAreNotKept has a leader that writes none again.
func TestNoFloorMovesToIndexObjectsThatAreNotKept(t *testing.T) {
	p, _, bad := notKept(t)
	n := p.floors().n
	for range 10 {
		bad()
	}
	if p.floors().n != n {
		t.Fatal("the floor moves to a checkpoint with a page that may be removed")
	}
	c, err := LoadCheckpoint(t.Context(), p.store, NewChain(testCluster, testJournal, testWindow), listed)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.State) > 0 {
		t.Fatal("a start takes a checkpoint with a page that may be removed")
	}
	p.has = nil
	p.until(n + 2)
}

// TestAStartWithoutCheckpointsOfFloorsTakesANewerOne loses those of both last floors: no
// leader can name the index objects that are kept, and none can remove one.
func TestAStartWithoutCheckpointsOfFloorsTakesANewerOne(t *testing.T) {
	p, mine, _ := notKept(t)
	base := NewChain(testCluster, testJournal, testWindow)
	start := func() (*Checkpoint, error) { return LoadCheckpoint(t.Context(), p.store, base, listed) }
	last := p.floors()
	before, err := last.before(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p.store.PutNow(last.floor.Checkpoint, []byte("rotten"))
	if c, err := start(); err != nil || c.Chain.Next != before.floor.Floor {
		t.Fatalf("%+v, error %v, want the floor before", c, err)
	}
	failing := func(fails func(mem.Call) bool) {
		t.Helper()
		p.fault = func(c mem.Call) mem.Action {
			if fails(c) {
				return mem.FailBefore(objstore.ErrDenied)
			}
			return mem.Action{}
		}
		if c, err := start(); !errors.Is(err, objstore.ErrDenied) || unusable(err) {
			t.Fatalf("%+v, error %v, want that of the store", c, err)
		}
		p.fault = nil
	}
	failing(func(c mem.Call) bool { return c.Key == before.floor.Checkpoint })
	p.store.PutNow(before.floor.Checkpoint, []byte("rotten"))
	newest := p.checkpoints()[len(p.checkpoints())-1]
	for range 2 {
		if c, err := start(); err != nil || c.Chain.Last != newest || len(c.State) == 0 {
			t.Fatalf("%+v, error %v, want the newest checkpoint, of seq %d", c, err, newest.Seq)
		}
		p.store.DeleteNow(mine.Key()) // its copy is there
	}
	failing(func(c mem.Call) bool { return c.Op == objstore.OpList && c.Key == segment.IndexPrefix(testJournal) })
	for _, name := range mine.Copies() {
		p.store.DeleteNow(name.Key())
	}
	if c, err := start(); !errors.Is(err, segment.ErrCorrupt) {
		t.Fatalf("%+v, error %v, though the index object is gone", c, err)
	}
}
