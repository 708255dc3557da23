package journal

import (
	"encoding/hex"
	"errors"
	"slices"
	"testing"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/segment"
)

func TestOutcomesOfAFloorsCreation(t *testing.T) {
	floorKey := segment.FloorKey(testJournal, 1)
	rival, err := segment.EncodeFloor(segment.Floor{
		Journal: testJournal, N: 1, Floor: 6, Checkpoint: "journals/7/checkpoints/x", Hash: [32]byte{1}, Object: segment.ID{66}, Cluster: testCluster,
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		prepare  func(l *led)
		create   mem.Action
		floorErr error // class of FloorErr, if any
		moved    bool
		ended    error
	}{
		"stored, reply lost":        {create: mem.ReplyLost(), moved: true},
		"never arrives":             {create: mem.FailBefore(objstore.ErrConflict), floorErr: objstore.ErrConflict},
		"sent twice":                {create: mem.FailAfter(objstore.ErrExists), moved: true},
		"another leader's is there": {prepare: func(l *led) { l.store.PutNow(floorKey, rival) }, floorErr: ErrFenced, moved: true, ended: ErrFenced},
		"another leader's comes first": {create: mem.Action{Effect: mem.Skip, Err: objstore.ErrExists}, floorErr: ErrFenced, moved: true, ended: ErrFenced,
			prepare: func(l *led) {
				create := l.fault
				l.fault = func(c mem.Call) mem.Action {
					if c.Op == objstore.OpCreate && c.Key == floorKey {
						l.store.PutNow(floorKey, rival)
					}
					return create(c)
				}
			}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLed(t)
			l.planned()
			l.fault = func(c mem.Call) mem.Action {
				if c.Op == objstore.OpCreate && c.Key == floorKey {
					return tc.create
				}
				return mem.Action{}
			}
			if tc.prepare != nil {
				tc.prepare(l)
			}
			res, ended := l.checkpoint()
			if res.Err != nil || !errors.Is(res.FloorErr, tc.floorErr) || (res.FloorErr == nil) != (tc.floorErr == nil) || !errors.Is(ended, tc.ended) {
				t.Fatalf("got %v, %v, ended by %v", res.Err, res.FloorErr, ended)
			}
			if f := l.floors(); (f.n == 1) != tc.moved {
				t.Fatalf("floor is %d", f.n)
			}
			if ended != nil {
				return
			}
			l.fault = nil
			l.step()
			if f := l.floors(); f.n != 1 {
				t.Fatalf("floor is %d after another try", f.n)
			}
		})
	}
}

// TestAFloorNeverNamesACheckpointThatIsNoGood: another is planned for its number.
func TestAFloorNeverNamesACheckpointThatIsNoGood(t *testing.T) {
	for name, spoil := range map[string]func(s *mem.Store, key string, good []byte){
		"missing":              func(s *mem.Store, key string, _ []byte) { s.DeleteNow(key) },
		"damaged":              func(s *mem.Store, key string, good []byte) { good[len(good)-1] ^= 1; s.PutNow(key, good) },
		"of a version to come": func(s *mem.Store, key string, good []byte) { good[5]++; s.PutNow(key, good) },
		"cannot be started from": func(s *mem.Store, key string, good []byte) {
			blob, _ := segment.DecodeBlob(segment.KindCheckpoint, good)
			c, _ := decodeCheckpoint(NewChain(testCluster, testJournal, testWindow), blob.Payload)
			c.State = []byte("no state")
			blob.Payload = c.encode()
			b, _ := segment.EncodeBlob(blob)
			s.PutNow(key, b)
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLed(t)
			first := l.planned()
			key := segment.CheckpointKey(testJournal, first.At)
			b, _ := l.store.GetNow(key)
			spoil(l.store, key, b)
			res, err := l.checkpoint()
			if res.Err != nil || res.FloorErr == nil || err != nil {
				t.Fatal(res.Err, res.FloorErr, err)
			}
			for l.floors().n == 0 {
				l.step()
			}
			f := l.floors()
			if again := l.n.core.history.floors; !again.Has(f.floor, testJournal) || f.floor.Object == first.Object || f.floor.Floor <= first.Floor() {
				t.Fatalf("floor is %+v, planned were %+v", f.floor, again)
			}
			for f.n == 1 { // and it goes on from there
				l.step()
				f = l.floors()
			}
		})
	}
}

func TestDamageOnTheWayDoesNotKeepTheFloor(t *testing.T) {
	l := newLed(t)
	plan := l.planned()
	reads := 0
	l.fault = func(c mem.Call) mem.Action {
		if c.Op == objstore.OpGet && c.Key == segment.CheckpointKey(testJournal, plan.At) {
			if reads++; reads < maxDamagedReads {
				return mem.BitFlipped(900)
			}
		}
		return mem.Action{}
	}
	if res, err := l.checkpoint(); res.FloorErr != nil || err != nil || l.floors().n != 1 {
		t.Fatalf("%v, %v after %d reads", res.FloorErr, err, reads)
	}
}

func TestPlansThatCannotStandThereBreakTheJournal(t *testing.T) {
	plan := func(n, seq uint64) FloorPlan {
		return FloorPlan{N: n, At: segment.Ref{Seq: seq, Object: segment.ID{1}}, Object: segment.ID{2}}
	}
	h := segment.Header{Seq: 101, Confirmed: 98}
	for name, tc := range map[string]struct {
		before []FloorPlan
		plan   FloorPlan
		ok     bool
	}{
		"first":                   {nil, plan(1, 97), true},
		"first, not numbered so":  {nil, plan(2, 97), false},
		"not confirmed":           {nil, plan(1, 98), false},
		"next":                    {[]FloorPlan{plan(1, 50)}, plan(2, 51), true},
		"next, not above":         {[]FloorPlan{plan(1, 50)}, plan(2, 50), false},
		"number left out":         {[]FloorPlan{plan(1, 50)}, plan(3, 51), false},
		"number again":            {[]FloorPlan{plan(1, 50)}, plan(1, 51), true},
		"number again, not above": {[]FloorPlan{plan(1, 50), plan(1, 60)}, plan(1, 55), false},
		"number that is done":     {[]FloorPlan{plan(1, 50), plan(2, 60)}, plan(1, 70), false},
		"number too often": {[]FloorPlan{plan(1, 1), plan(1, 2), plan(1, 3), plan(1, 4), plan(1, 5), plan(1, 6), plan(1, 7), plan(1, 8),
			plan(1, 9), plan(1, 10), plan(1, 11), plan(1, 12), plan(1, 13), plan(1, 14), plan(1, 15), plan(1, 16)}, plan(1, 17), false},
	} {
		var ps FloorPlans
		for _, p := range tc.before {
			if err := ps.Note(p, &h); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		before := slices.Clone(ps)
		err := ps.Note(tc.plan, &h)
		if tc.ok && (err != nil || ps.last() != tc.plan) || !tc.ok && (!errors.Is(err, ErrBroken) || !slices.Equal(ps, before)) {
			t.Errorf("%s: %v, %+v", name, err, ps)
		}
	}
}

// TestFloorEntryKeepsItsBytes pins the payload: journals hold it.
func TestFloorEntryKeepsItsBytes(t *testing.T) {
	plan := FloorPlan{N: 2, At: segment.Ref{Seq: 5, Object: segment.ID{6}}, Object: segment.ID{7}}
	const want = "01" + "0000000000000002" + "0000000000000005" + "06000000000000000000000000000000" + "07000000000000000000000000000000"
	if e := plan.Entry(); e.Kind != 0xff00 || hex.EncodeToString(e.Payload) != want {
		t.Errorf("kind %#x, %x, want %s", e.Kind, e.Payload, want)
	}
}

func FuzzDecodeFloorPlan(f *testing.F) {
	f.Add(FloorPlan{N: 2, At: segment.Ref{Seq: 5, Object: segment.ID{6}}, Object: segment.ID{7}}.Entry().Payload)
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := decodeFloorPlan(b)
		if err == nil && !slices.Equal(p.Entry().Payload, b) {
			t.Fatalf("%x encodes to %x", b, p.Entry().Payload)
		}
	})
}
