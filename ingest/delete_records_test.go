package ingest

import (
	"errors"
	"testing"

	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// deleteBefore asks for deletions and returns where their answer will be.
func (b *bench) deleteBefore(wants ...Deletion) chan []Deleted {
	done := make(chan []Deleted, 1)
	b.c.deleteRecords(wants, done)
	return done
}

// answer is that of a deletion which must have one.
func answer(t *testing.T, done chan []Deleted) []Deleted {
	t.Helper()
	select {
	case r := <-done:
		return r
	default:
		t.Fatal("not answered")
		return nil
	}
}

// written is a bench with offsets 0 to 3 committed and 4 and 5 appended.
func written(t *testing.T) *bench {
	b := newBench(t)
	b.append(AcksAll, batchtest.Spec{})
	b.append(AcksAll, batchtest.Spec{})
	b.flush()
	b.commit()
	b.append(AcksAll, batchtest.Spec{})
	return b
}

func TestDeletionIsAnsweredWhenItIsCommitted(t *testing.T) {
	b := written(t)
	done := b.deleteBefore(Deletion{testKey, 3})
	if len(done) > 0 {
		t.Fatal("answered before it was flushed")
	}
	b.flush()
	if len(done) > 0 {
		t.Fatal("answered before it was committed")
	}
	b.commit()
	if r := answer(t, done)[0]; r.Err != nil || r.LogStart != 3 {
		t.Errorf("%+v, want start 3", r)
	}
	produced := b.append(AcksNone, batchtest.Spec{})
	if (*produced)[0].LogStart != 3 {
		t.Errorf("a producer gets start %d", (*produced)[0].LogStart)
	}
}

func TestDeletionOfWhatIsDeletedCostsNothing(t *testing.T) {
	b := written(t)
	first := b.deleteBefore(Deletion{testKey, 3})
	b.flush()
	b.commit()
	answer(t, first)
	again := b.deleteBefore(Deletion{testKey, 3}, Deletion{testKey, 1})
	for _, r := range answer(t, again) {
		if r.Err != nil || r.LogStart != 3 {
			t.Errorf("%+v, want start 3", r)
		}
	}
	if len(b.c.flusher.buffer.entries) > 0 {
		t.Error("an entry for nothing")
	}
}

func TestDeletionOfAllGoesToTheCommittedEnd(t *testing.T) {
	b := written(t)
	done := b.deleteBefore(Deletion{testKey, AllCommitted})
	b.flush()
	b.commit()
	if r := answer(t, done)[0]; r.Err != nil || r.LogStart != 4 {
		t.Errorf("%+v, want start 4: the records in the same object are not committed yet", r)
	}
}

func TestDeletionBeyondTheCommittedEndIsRefusedOfAProvedHead(t *testing.T) {
	for _, tc := range []struct {
		name   string
		before int64
		proof  error
		commit bool // the head was further on than was known
		want   error
	}{
		{"appended only", 5, nil, false, ErrOutOfRange},
		{"never written", 7, nil, false, ErrOutOfRange},
		{"negative", -2, nil, false, ErrOutOfRange},
		{"committed since", 5, nil, true, nil},
		{"no proof", 5, errors.New("no store"), false, ErrUnavailable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := written(t)
			done := b.deleteBefore(Deletion{testKey, tc.before}, Deletion{testKey, 2})
			b.flush()
			if tc.commit {
				b.commit()
			}
			if len(done) > 0 || len(b.proofs) != 1 {
				t.Fatalf("%d answers before the head was proved, %d proofs", len(done), len(b.proofs))
			}
			b.proofs[0](tc.proof)
			b.flush()
			for len(b.sent) > 0 {
				b.commit()
			}
			r := answer(t, done)
			if !errors.Is(r[0].Err, tc.want) || (r[0].LogStart >= 0) != (tc.want == nil) || r[1].Err != nil || r[1].LogStart < 2 {
				t.Errorf("%+v, want error %v and a start", r, tc.want)
			}
		})
	}
}

func TestDeletionInAPartitionThatEndsIsRetriable(t *testing.T) {
	b := written(t)
	other := partlog.Key{Topic: segment.ID{77}}
	if r := answer(t, b.deleteBefore(Deletion{other, 0}))[0]; !errors.Is(r.Err, ErrNotLeader) || r.LogStart != -1 {
		t.Errorf("of no partition: %+v", r)
	}
	sealing := b.deleteBefore(Deletion{testKey, 3})
	b.seal(testKey)
	if r := answer(t, b.deleteBefore(Deletion{testKey, 2}))[0]; !errors.Is(r.Err, ErrNotLeader) {
		t.Errorf("of a sealed partition: %+v", r)
	}
	b.flush()
	b.commit()
	if r := answer(t, sealing)[0]; r.Err != nil || r.LogStart != 3 {
		t.Errorf("committed with the seal: %+v", r)
	}

	b = written(t)
	lost := b.deleteBefore(Deletion{testKey, 3})
	b.c.fail(nil)
	if r := answer(t, lost)[0]; !errors.Is(r.Err, ErrNotLeader) || r.LogStart != -1 {
		t.Errorf("when the leadership ended: %+v", r)
	}
	if r := answer(t, b.deleteBefore(Deletion{testKey, 3}))[0]; !errors.Is(r.Err, ErrNotLeader) {
		t.Errorf("after the leadership ended: %+v", r)
	}
}

func TestDeletionThatWaitsIsProposedOnce(t *testing.T) {
	b := written(t)
	b.open(partlog.Key{Topic: segment.ID{77}})
	b.flush()
	done := b.deleteBefore(Deletion{testKey, 3})
	if b.commit(); len(done) > 0 || len(b.c.flusher.buffer.entries) != 1 {
		t.Fatalf("%d answers and %d entries after the commit of another's entry", len(done), len(b.c.flusher.buffer.entries))
	}
}

// TestDeletionIsNotProposedBehindASeal: the partition ended while the head was proved.
// An entry for it would contradict the state.
func TestDeletionIsNotProposedBehindASeal(t *testing.T) {
	b := written(t)
	done := b.deleteBefore(Deletion{testKey, 7}, Deletion{testKey, 2})
	b.seal(testKey)
	b.proofs[0](nil)
	b.commitAll()
	for _, r := range answer(t, done) {
		if !errors.Is(r.Err, ErrNotLeader) {
			t.Errorf("%+v, want %v", r, ErrNotLeader)
		}
	}
}

func TestDeletionLeavesProducersKnown(t *testing.T) {
	b := newBench(t)
	spec := batchtest.Spec{ProducerID: 9}
	b.append(AcksAll, spec)
	b.flush()
	b.commit()
	done := b.deleteBefore(Deletion{testKey, AllCommitted})
	b.flush()
	b.commit()
	answer(t, done)
	if r := b.append(AcksAll, spec); !answered(r) || (*r)[0].BaseOffset != 0 || (*r)[0].LogStart != 2 {
		t.Errorf("a retry of a deleted batch is answered %+v, want its offset", *r)
	}
}

func TestDeletionsOutliveTheirLeader(t *testing.T) {
	f := newFolder(t)
	l := f.start()
	openTestKey(t, l)
	appendOne(t, l, AcksAll, batchtest.Spec{})
	if r := l.DeleteRecords(t.Context(), []Deletion{{testKey, 1}}); r[0].Err != nil || r[0].LogStart != 1 {
		t.Fatalf("%+v", r)
	}
	f.kill(l)
	if r := l.DeleteRecords(t.Context(), []Deletion{{testKey, 1}}); !errors.Is(r[0].Err, ErrNotLeader) {
		t.Errorf("of a leader that ended: %+v", r)
	}
	l = f.start()
	defer closeLeader(t, l)
	if v, _ := l.opt.State.Lookup(testKey); v.Start != 1 || v.End != 2 {
		t.Errorf("after a kill: %+v", v)
	}
	if r := appendOne(t, l, AcksAll, batchtest.Spec{}); r.BaseOffset != 2 || r.LogStart != 1 {
		t.Errorf("%+v, want offset 2", r)
	}
}
