package ingest

import (
	"errors"
	"testing"

	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/journal"
)

// The write-ahead log fails while a request waits for a proof of the head. Its other
// batch was placed, and will never be safe.
func TestARequestThatWaitsForAProofIsAnsweredAfterTheEnd(t *testing.T) {
	for _, acks := range []Acks{AcksLeader, AcksAll} {
		b := newBench(t)
		b.append(AcksNone, batchtest.Spec{ProducerID: 9, Sequence: 0})
		var answer []Result
		b.c.append(request{acks: acks, batches: []Batch{
			makeBatch(t, testKey, batchtest.Spec{}), makeBatch(t, testKey, batchtest.Spec{ProducerID: 9, Sequence: 7}),
		}, done: func(r []Result) { answer = r }})
		b.c.fail(errors.New("disk error"))
		b.proofs[0](journal.ErrEnded)
		if len(answer) != 2 || !errors.Is(answer[0].Err, ErrNotLeader) || !errors.Is(answer[1].Err, ErrNotLeader) {
			t.Errorf("acks=%d: answered with %v, want %v twice", acks, answer, ErrNotLeader)
		}
	}
}

// quietDisk never says that anything is wrong.
type quietDisk struct{ *bench }

func (quietDisk) SyncedLSN() uint64 { return 0 }
func (quietDisk) Err() error        { return nil }
func (quietDisk) Full() error       { return nil }
func (quietDisk) Unwritten() int64  { return 0 }

// A leader whose log counts otherwise accepts nothing any more, so it must end.
func TestARequestThatCannotBeLoggedEndsTheLeadership(t *testing.T) {
	b := newBench(t)
	m := &machine{core: b.c, disk: quietDisk{b}}
	if _, err := m.Progress(); err != nil {
		t.Fatal(err)
	}
	b.logged += 7
	if r := b.append(AcksAll, batchtest.Spec{}); !answered(r) || (*r)[0].Err == nil {
		t.Fatalf("answered with %v", *r)
	}
	if _, err := m.Progress(); !errors.Is(err, ErrNotLeader) {
		t.Errorf("goes on with %v", err)
	}
}
