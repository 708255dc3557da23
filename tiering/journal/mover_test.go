package journal

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/segment"
)

// led is a journal that is led, with a checkpoint after every object.
type led struct {
	t     *testing.T
	w     *world
	n     *node
	store *mem.Store
	fault func(mem.Call) mem.Action
	cp    *Checkpointer
	plan  *FloorPlan // for the next segment
}

func newLed(t *testing.T) *led {
	l := &led{t: t, w: newWorld(t)}
	l.store = mem.New(time.Now, func(c mem.Call) mem.Action {
		if l.fault == nil {
			return mem.Action{}
		}
		return l.fault(c)
	})
	l.takeOver()
	return l
}

// takeOver starts the next leadership from the content of the bucket.
func (l *led) takeOver() {
	l.t.Helper()
	cfg := l.w.config(true)
	if c := load(l.t, l.store); c != nil {
		cfg.Chain, cfg.History = c.Chain, c.History
	}
	l.n, l.plan = l.w.add(cfg), nil
	l.n.settle()
	if !l.n.led {
		l.t.Fatalf("does not lead: %v", l.n.err)
	}
	l.cp = NewCheckpointer(CheckpointerOptions{
		NewID: l.w.newID, Policy: CheckpointPolicy{Every: 1, Most: 3, Behind: 1},
		Check: func(_ context.Context, _ objstore.Store, c *Checkpoint) error {
			if string(c.State) != "state" {
				return errors.New("cannot be started from")
			}
			return nil
		},
	})
	l.copyObjects()
}

func (l *led) copyObjects() {
	for seq, data := range l.w.objects {
		l.store.PutNow(segment.JournalKey(testJournal, seq), data)
	}
}

// write commits a segment, with the plans so far.
func (l *led) write() {
	l.t.Helper()
	h := l.n.core.Header()
	h.Object = l.w.newID()
	var entries []segment.Entry
	if l.plan != nil {
		entries = append(entries, l.plan.Entry())
		l.plan = nil
	}
	bytes, footer, err := segment.Encode(nil, h, entries, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	o, err := NewObject(footer, entries)
	if err != nil {
		l.t.Fatal(err)
	}
	l.n.take(l.n.core.Propose(o, bytes))
	l.n.settle()
	l.copyObjects()
}

// checkpoint writes a checkpoint, which also does one step of the work after it.
func (l *led) checkpoint() (CheckpointResult, error) {
	l.t.Helper()
	chain, history := l.n.core.Checkpoint()
	if !l.cp.Due(chain, time.Time{}) {
		l.t.Fatalf("no checkpoint is due at seq %d", chain.Next)
	}
	job := CheckpointJob{Chain: chain, History: history, State: []byte("state")}
	l.cp.Begin(&job)
	res := l.cp.Write(context.Background(), l.store, job)
	if res.Plan != nil {
		l.plan = res.Plan
	}
	return res, l.cp.Finished(res, slog.New(slog.DiscardHandler))
}

// step writes a segment and a checkpoint, without trouble.
func (l *led) step() {
	l.t.Helper()
	l.write()
	if res, err := l.checkpoint(); res.Err != nil || res.FloorErr != nil || res.RemoveErr != nil || err != nil {
		l.t.Fatal(res.Err, res.FloorErr, res.RemoveErr, err)
	}
}

// planned goes on until a plan is in the journal, and not carried out.
func (l *led) planned() FloorPlan {
	l.t.Helper()
	for l.plan == nil {
		l.step()
	}
	plan := *l.plan
	l.write()
	return plan
}

func (l *led) floors() *floors {
	l.t.Helper()
	f := &floors{store: l.store, journal: testJournal}
	if _, err := f.read(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
	return f
}

func (l *led) checkpoints() []segment.Ref {
	found, err := listCheckpoints(l.t.Context(), l.store, testJournal)
	if err != nil {
		l.t.Fatal(err)
	}
	return found
}

func TestFloorsMoveByPlanCheckpointAndFloorObject(t *testing.T) {
	l := newLed(t)
	plan := l.planned()
	if f := l.floors(); f.n != 0 {
		t.Fatalf("floor %d is there before its plan is carried out", f.n)
	}
	if res, err := l.checkpoint(); res.FloorErr != nil || err != nil {
		t.Fatal(res.FloorErr, err)
	}
	f := l.floors()
	if f.n != 1 || !(FloorPlans{plan}).Has(f.floor, testJournal) {
		t.Fatalf("planned %+v, floor is %+v", plan, f.floor)
	}
	for range 40 {
		l.step()
	}
	f = l.floors()
	if found := l.checkpoints(); f.n < 5 || len(found) > 9 {
		t.Fatalf("floor %d, %d checkpoints", f.n, len(found))
	}
	before := &floors{store: l.store, journal: testJournal}
	b, _ := l.store.GetNow(segment.FloorKey(testJournal, f.n-1))
	if err := before.take(f.n-1, b); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{f.floor.Checkpoint, before.floor.Checkpoint} {
		if _, ok := l.store.GetNow(key); !ok {
			t.Errorf("%s is gone, which one of the last two floors names", key)
		}
	}
	if head := l.n.core.Chain().Next - 1; f.floor.Floor+10 < head {
		t.Errorf("floor %d is far behind, seq %d is confirmed", f.floor.Floor, head)
	}
}

// TestTheNextLeaderCarriesOutWhatWasPlanned: with the same bytes, whichever
// leader does it.
func TestTheNextLeaderCarriesOutWhatWasPlanned(t *testing.T) {
	l := newLed(t)
	plan := l.planned()
	l.fault = func(c mem.Call) mem.Action {
		if c.Op == objstore.OpCreate && c.Key == segment.FloorKey(testJournal, 1) {
			return mem.LandLate()
		}
		return mem.Action{}
	}
	if res, err := l.checkpoint(); res.Err != nil || res.FloorErr == nil || err != nil {
		t.Fatalf("a floor object under way: %v, %v, %v", res.Err, res.FloorErr, err)
	}
	l.fault = nil
	l.takeOver()
	l.step()
	stored, ok := l.store.GetNow(segment.FloorKey(testJournal, 1))
	if f := l.floors(); !ok || !(FloorPlans{plan}).Has(f.floor, testJournal) {
		t.Fatalf("planned %+v, floor is %+v", plan, f.floor)
	}
	l.store.DeleteNow(segment.FloorKey(testJournal, 1))
	if err := l.store.Release(0); err != nil {
		t.Fatal(err)
	}
	if late, _ := l.store.GetNow(segment.FloorKey(testJournal, 1)); !slices.Equal(late, stored) {
		t.Error("two leaders have other bytes for the same floor")
	}
}

// TestAPlanWaitsForASegment: an idle journal moves nothing, and plans nothing twice.
func TestAPlanWaitsForASegment(t *testing.T) {
	l := newLed(t)
	for l.plan == nil {
		l.step()
	}
	plan := *l.plan
	l.plan = nil // under way, say, or waiting for a record to come
	l.write()
	if res, err := l.checkpoint(); res.Plan != nil || res.FloorErr != nil || err != nil || l.floors().n != 0 {
		t.Fatalf("planned %+v while %+v was on its way: %v, %v", res.Plan, plan, res.FloorErr, err)
	}
	l.plan = &plan
	l.write()
	l.step()
	if f := l.floors(); f.n != 1 || f.floor.Object != plan.Object {
		t.Fatalf("floor is %+v", f.floor)
	}
}

// TestTidyingNeverTakesWhatAFloorMayName: not even when a leader tidies that
// was deposed long ago, with its listing of then.
func TestTidyingNeverTakesWhatAFloorMayName(t *testing.T) {
	l := newLed(t)
	for l.floors().n < 2 {
		l.step()
	}
	chain, history := l.n.core.Checkpoint()
	late := mover{
		opt: &CheckpointerOptions{NewID: l.w.newID, Policy: l.cp.opt.Policy}, store: l.store,
		job: &CheckpointJob{Chain: chain, History: history}, floors: l.floors(),
	}
	found := l.checkpoints()
	named := map[string]bool{}
	for range 30 {
		l.step()
		if f := l.floors(); f.n < 4 {
			named[f.floor.Checkpoint] = true
		}
	}
	for _, at := range found { // as if none had been removed
		key := segment.CheckpointKey(testJournal, at)
		if _, ok := l.store.GetNow(key); !ok {
			l.store.PutNow(key, []byte("old"))
		}
	}
	if err := late.tidy(t.Context(), found); err != nil {
		t.Fatal(err)
	}
	removed := 0
	for _, at := range found {
		key := segment.CheckpointKey(testJournal, at)
		switch _, ok := l.store.GetNow(key); {
		case !ok && named[key]:
			t.Errorf("%s is gone", key)
		case !ok:
			removed++
		}
	}
	if removed == 0 {
		t.Error("nothing was removed")
	}
}

func TestAStartNeedsNoListingAndNoHint(t *testing.T) {
	l := newLed(t)
	for l.floors().n < 3 {
		l.step()
	}
	f := l.floors()
	for _, at := range l.checkpoints() {
		if key := segment.CheckpointKey(testJournal, at); key != f.floor.Checkpoint {
			l.store.DeleteNow(key)
		}
	}
	l.fault = func(c mem.Call) mem.Action {
		if c.Op == objstore.OpList {
			return mem.FailBefore(objstore.ErrDenied)
		}
		return mem.Action{}
	}
	c := load(t, l.store)
	if c == nil || c.Chain.Next != f.floor.Floor {
		t.Fatalf("loaded %+v, the floor is seq %d", c, f.floor.Floor)
	}
	cfg := l.w.config(false)
	cfg.Chain, cfg.History = c.Chain, c.History
	l.w.floor = f.floor.Floor
	n := l.w.add(cfg)
	n.settle()
	if n.err != nil || n.core.chain != l.n.core.chain {
		t.Fatalf("reached %+v, %v, the leader is at %+v", n.core.chain, n.err, l.n.core.chain)
	}
	if got, want := n.core.history.Planned(), l.n.core.history.Planned(); !slices.Equal(got, want) {
		t.Fatalf("plans are %+v, the leader has %+v", got, want)
	}
	base := NewChain(testCluster, testJournal, testWindow)
	higher := *f
	higher.store, higher.floor.Floor = l.store, f.floor.Floor+1
	if _, err := higher.checkpoint(t.Context(), base); !errors.Is(err, segment.ErrCorrupt) {
		t.Errorf("a floor above the checkpoint that it names: %v", err)
	}
	b, _ := l.store.GetNow(f.floor.Checkpoint)
	b[len(b)-1] ^= 1
	l.store.PutNow(f.floor.Checkpoint, b)
	if _, err := LoadCheckpoint(t.Context(), l.store, NewChain(testCluster, testJournal, testWindow), nil); !errors.Is(err, segment.ErrCorrupt) {
		t.Errorf("the floor's checkpoint is damaged: %v", err)
	}
	l.store.DeleteNow(f.floor.Checkpoint)
	if _, err := LoadCheckpoint(t.Context(), l.store, NewChain(testCluster, testJournal, testWindow), nil); !errors.Is(err, objstore.ErrNotFound) {
		t.Errorf("without the floor's checkpoint: %v", err)
	}
}

func TestEntriesOfTheJournalDoNotReachItsStateMachine(t *testing.T) {
	plan := FloorPlan{N: 2, At: segment.Ref{Seq: 5, Object: segment.ID{6}}, Object: segment.ID{7}}
	end := End{To: segment.ID{8}, Assignment: 9}
	other := segment.Entry{Kind: 1, Payload: []byte("x")}
	o, err := NewObject(&segment.Footer{}, []segment.Entry{other, plan.Entry(), end.Entry()})
	if err != nil || o.Floor == nil || *o.Floor != plan || o.End == nil || *o.End != end || len(o.Entries) != 1 || o.Entries[0].Kind != 1 {
		t.Fatalf("%+v, %v", o, err)
	}
	for name, tc := range map[string]struct {
		entries []segment.Entry
		want    error
	}{
		"unknown kind":    {[]segment.Entry{{Kind: ownEntries + 7}}, segment.ErrUnsupported},
		"unknown version": {[]segment.Entry{{Kind: EntryFloor, Payload: []byte{2}}}, segment.ErrUnsupported},
		"cut short":       {[]segment.Entry{{Kind: EntryFloor, Payload: plan.Entry().Payload[:40]}}, segment.ErrCorrupt},
		"two plans":       {[]segment.Entry{plan.Entry(), plan.Entry()}, segment.ErrCorrupt},
		"unknown end":     {[]segment.Entry{{Kind: EntryEnd, Payload: []byte{2}}}, segment.ErrUnsupported},
		"end cut short":   {[]segment.Entry{{Kind: EntryEnd, Payload: end.Entry().Payload[:20]}}, segment.ErrCorrupt},
		"two ends":        {[]segment.Entry{end.Entry(), end.Entry()}, segment.ErrCorrupt},
		"no successor":    {[]segment.Entry{End{Assignment: 1}.Entry()}, segment.ErrCorrupt},
		"of nothing":      {[]segment.Entry{FloorPlan{N: 1}.Entry()}, segment.ErrCorrupt},
	} {
		if _, err := NewObject(&segment.Footer{}, tc.entries); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
