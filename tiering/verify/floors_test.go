package verify_test

import (
	"crypto/sha256"
	"slices"
	"testing"

	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/verify"
)

// floored is history with two floors, at seqs 9 and 15, and their plans.
func floored(t *testing.T) (store *mem.Store, checkpoints [2]string) {
	t.Helper()
	store, w := history(t)
	for i, seq := range []uint64{8, 14} {
		checkpoints[i], _ = writeCheckpoint(t, store, seq, nil)
		at, _ := segment.ParseCheckpointKey(1, checkpoints[i])
		plan := journal.FloorPlan{N: uint64(i) + 1, At: at, Object: segment.ID{8, byte(i)}}
		w.put(w.header(segment.KindData), []segment.Entry{plan.Entry()}, nil)
		putFloor(t, store, segment.Floor{N: plan.N, Floor: plan.Floor(), Checkpoint: checkpoints[i], Object: plan.Object})
	}
	return store, checkpoints
}

func putFloor(t *testing.T, store *mem.Store, f segment.Floor) {
	t.Helper()
	f.Journal = 1
	b, _ := store.GetNow(f.Checkpoint)
	f.Hash = sha256.Sum256(b)
	if f.Cluster.IsZero() {
		f.Cluster = cluster
	}
	b, err := segment.EncodeFloor(f)
	if err != nil {
		t.Fatal(err)
	}
	store.PutNow(segment.FloorKey(1, f.N), b)
}

func TestFloorsThatWerePlannedAreNoFindingAndHideNothing(t *testing.T) {
	store, _ := floored(t)
	r := run(t, store, verify.Options{})
	if len(r.Findings) != 0 {
		t.Fatalf("%+v", r.Findings)
	}
	if j := r.Journals[1]; j.Floor != 15 || j.Head != 22 || j.Epoch != 3 || j.Partitions != 3 || j.Records != 39 {
		t.Fatalf("%+v", j)
	}
	for _, seq := range []uint64{6, 14, 20} { // below both floors, between them, above
		store, _ := floored(t)
		flip(seq, inBatch(0, 70))(t, store)
		if r := run(t, store, verify.Options{}); r.Errors != 1 || r.Findings[0].Key != at(seq) {
			t.Errorf("damage at seq %d: %+v", seq, r.Findings)
		}
		store.DeleteNow(at(seq))
		if r := run(t, store, verify.Options{}); r.Errors != 1 || r.Findings[0].Code != verify.CodeMissing || r.Findings[0].Key != at(seq) || len(r.Findings[0].Affects) == 0 && seq != 20 {
			t.Errorf("no object at seq %d: %+v", seq, r.Findings)
		}
	}
}

func TestFloorsMustMakeAChain(t *testing.T) {
	floor := func(n uint64) string { return segment.FloorKey(1, n) }
	bad := func(n uint64) []expected { return []expected{{"error", "floor", floor(n), ""}} }
	object := segment.ID{8, 9}
	for name, tc := range map[string]struct {
		change func(t *testing.T, s *mem.Store, checkpoints [2]string)
		want   func(checkpoints [2]string) []expected
	}{
		"missing": {
			func(_ *testing.T, s *mem.Store, _ [2]string) { s.DeleteNow(floor(1)) },
			func([2]string) []expected { return bad(1) },
		},
		"damaged": {
			func(_ *testing.T, s *mem.Store, _ [2]string) { s.PutNow(floor(1), []byte("VARV")) },
			func([2]string) []expected { return bad(1) },
		},
		"goes back": {
			func(t *testing.T, s *mem.Store, c [2]string) {
				putFloor(t, s, segment.Floor{N: 3, Floor: 1, Checkpoint: c[0], Object: object})
			},
			func([2]string) []expected { return bad(3) },
		},
		"of another cluster": {
			func(t *testing.T, s *mem.Store, c [2]string) {
				putFloor(t, s, segment.Floor{N: 3, Floor: 15, Checkpoint: c[1], Object: object, Cluster: segment.ID{5}})
			},
			func([2]string) []expected { return bad(3) },
		},
		"not planned": {
			func(t *testing.T, s *mem.Store, c [2]string) {
				putFloor(t, s, segment.Floor{N: 2, Floor: 15, Checkpoint: c[1], Object: object})
			},
			func([2]string) []expected { return bad(2) },
		},
		"at another seq than its checkpoint": {
			func(t *testing.T, s *mem.Store, c [2]string) {
				putFloor(t, s, segment.Floor{N: 2, Floor: 16, Checkpoint: c[1], Object: segment.ID{8, 1}})
			},
			func(c [2]string) []expected {
				return []expected{{"error", "floor", c[1], ""}, {"error", "floor", floor(2), ""}}
			},
		},
		"checkpoint missing": {
			func(_ *testing.T, s *mem.Store, c [2]string) { s.DeleteNow(c[1]) },
			func(c [2]string) []expected { return []expected{{"error", "floor", c[1], ""}} },
		},
		"another checkpoint": {
			func(t *testing.T, s *mem.Store, c [2]string) {
				edit(t, s, c[0], func(b []byte) []byte {
					blob, err := segment.DecodeBlob(segment.KindCheckpoint, b)
					if err != nil {
						t.Fatal(err)
					}
					blob.Object = object
					b, _ = segment.EncodeBlob(blob)
					return b
				})
			},
			func(c [2]string) []expected { return []expected{{"error", "floor", c[0], ""}} },
		},
		"beyond the head": {
			func(t *testing.T, s *mem.Store, c [2]string) {
				for seq := uint64(15); seq <= 22; seq++ {
					s.DeleteNow(at(seq))
				}
			},
			func([2]string) []expected {
				return []expected{{"error", "floor", floor(2), ""}, {"error", "floor", floor(1), ""}, {"error", "floor", floor(2), ""}}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			store, checkpoints := floored(t)
			tc.change(t, store, checkpoints)
			var got []expected
			for _, f := range run(t, store, verify.Options{}).Findings {
				got = append(got, brief(f))
			}
			if want := tc.want(checkpoints); !slices.Equal(got, want) {
				t.Fatalf("got  %v\nwant %v", got, want)
			}
		})
	}
}

func TestTheCheckpointOfAFloorIsComparedWithTheObjects(t *testing.T) {
	store, w := history(t)
	checkpoint, _ := writeCheckpoint(t, store, 8, func(job *journal.CheckpointJob) { job.Chain.Leader[0]++ })
	at, _ := segment.ParseCheckpointKey(1, checkpoint)
	plan := journal.FloorPlan{N: 1, At: at, Object: segment.ID{8}}
	w.put(w.header(segment.KindData), []segment.Entry{plan.Entry()}, nil)
	putFloor(t, store, segment.Floor{N: 1, Floor: plan.Floor(), Checkpoint: checkpoint, Object: plan.Object})
	writeCheckpoint(t, store, 14, nil) // the one from which a node would start is right
	r := run(t, store, verify.Options{})
	if len(r.Findings) != 1 || brief(r.Findings[0]) != (expected{"error", "state", checkpoint, ""}) {
		t.Fatalf("%+v", r.Findings)
	}
}

// Nodes start from the checkpoints that floors name when all others are lost.
func TestDamageToACheckpointThatAFloorNamesIsAnError(t *testing.T) {
	for i := range 2 {
		store, checkpoints := floored(t)
		edit(t, store, checkpoints[i], func(b []byte) []byte { b[len(b)-1] ^= 1; return b })
		r := run(t, store, verify.Options{})
		if !slices.ContainsFunc(r.Findings, func(f verify.Finding) bool { return brief(f) == expected{"error", "corrupt", checkpoints[i], ""} }) {
			t.Errorf("checkpoint %d: %+v", i, r.Findings)
		}
	}
}

func TestAPlanThatCannotStandThereIsFound(t *testing.T) {
	for name, plans := range map[string][]journal.FloorPlan{
		"number left out":          {{N: 2, At: segment.Ref{Seq: 8, Object: segment.ID{1}}, Object: segment.ID{2}}},
		"beyond the confirmed seq": {{N: 1, At: segment.Ref{Seq: 20, Object: segment.ID{1}}, Object: segment.ID{2}}},
		"goes back": {
			{N: 1, At: segment.Ref{Seq: 14, Object: segment.ID{1}}, Object: segment.ID{2}},
			{N: 2, At: segment.Ref{Seq: 8, Object: segment.ID{1}}, Object: segment.ID{2}},
		},
	} {
		store, w := history(t)
		var key string
		for _, plan := range plans {
			key = w.put(w.header(segment.KindData), []segment.Entry{plan.Entry()}, nil)
		}
		r := run(t, store, verify.Options{})
		if len(r.Findings) != 1 || brief(r.Findings[0]) != (expected{"error", "floor", key, ""}) {
			t.Errorf("%s: %+v", name, r.Findings)
		}
	}
}

func TestObjectsThatTheFloorPassesDuringAWalkAreInDoubt(t *testing.T) {
	full, _ := floored(t)
	moved := false
	var store *mem.Store
	store = mem.New(nil, func(c mem.Call) mem.Action {
		if c.Key == at(6) && !moved {
			moved = true
			store.DeleteNow(at(13))
			store.DeleteNow(at(20)) // above the new floor
			b, _ := full.GetNow(segment.FloorKey(1, 2))
			store.PutNow(segment.FloorKey(1, 2), b)
		}
		return mem.Action{}
	})
	for _, i := range full.ListNow("") {
		if b, _ := full.GetNow(i.Key); i.Key != segment.FloorKey(1, 2) {
			store.PutNow(i.Key, b)
		}
	}
	r := run(t, store, verify.Options{Parallel: 1})
	var got []expected
	for _, f := range r.Findings {
		f.Affects = nil
		got = append(got, brief(f))
	}
	want := []expected{{"error", "missing", at(20), ""}, {"warning", "floor", segment.FloorKey(1, 2), ""}}
	if !slices.Equal(got, want) {
		t.Fatalf("%+v", r.Findings)
	}
}
