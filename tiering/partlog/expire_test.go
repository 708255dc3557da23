package partlog

import (
	"math/bits"
	"testing"

	"pgregory.net/rapid"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/segment"
)

func used(t *Producers, id, ms int64) {
	t.Add(batch.Header{ProducerID: id}, ms, ms)
}

// TestExpireMatchesALookAtAll compares with a table in which each producer is looked at.
func TestExpireMatchesALookAtAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var table Producers
		naive := map[int64]int64{}
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			ms := rapid.Int64Range(0, 50).Draw(t, "time") // clocks are set back, too
			if rapid.IntRange(0, 4).Draw(t, "what") > 0 {
				id := rapid.Int64Range(0, 20).Draw(t, "id")
				used(&table, id, ms)
				naive[id] = max(naive[id], ms)
				continue
			}
			table.Expire(ms)
			for id, last := range naive {
				if last < ms {
					delete(naive, id)
				}
			}
			got := 0
			table.Each(func(p segment.Producer, usedMs int64) {
				if got++; naive[p.ID] != usedMs {
					t.Fatalf("producer %d was used at %d, want %d", p.ID, usedMs, naive[p.ID])
				}
			})
			if got != len(naive) || len(table.due) != got {
				t.Fatalf("%d producers and %d deadlines, want %d", got, len(table.due), len(naive))
			}
		}
	})
}

// An expiry looks at the producers that it forgets, and once at each that was used since
// it was looked at before. It never looks at all.
func TestExpireLooksAtNoMoreThanItMust(t *testing.T) {
	for _, n := range []int64{1_000, 100_000} {
		var table Producers
		for id := range n {
			used(&table, id, id)
		}
		if looked := table.Expire(10); looked != 10 {
			t.Errorf("of %d producers, 10 of which are old, it looked at %d", n, looked)
		}
		for id := range int64(7) {
			used(&table, 10+id, n)
		}
		if looked := table.Expire(20); looked != 10 {
			t.Errorf("of %d producers, 3 of which are old and 7 used again, it looked at %d", n, looked)
		}
		if looked := table.Expire(20); looked != 0 {
			t.Errorf("of %d producers, none of which is old, it looked at %d", n, looked)
		}
	}
}

// A batch moves nothing in the heap but for a new producer, which moves up no further
// than the heap is high. The step counter is the heap's height.
func TestABatchOfAKnownProducerLeavesTheHeapAlone(t *testing.T) {
	var table Producers
	const n = 100_000
	for id := range int64(n) {
		used(&table, id, n-id) // each is the oldest so far
	}
	before := append(deadlines{}, table.due...)
	for id := range int64(1000) {
		used(&table, id, 2*n)
	}
	for i := range before {
		if table.due[i] != before[i] {
			t.Fatalf("deadline %d moved from %v to %v", i, before[i], table.due[i])
		}
	}
	used(&table, n, -1)
	moved := 0
	for i := range before {
		if table.due[i] != before[i] {
			moved++
		}
	}
	if moved > bits.Len(n) {
		t.Errorf("a new producer moved %d deadlines of %d", moved, n)
	}
}

func TestMemoryOfForgottenProducersIsFreed(t *testing.T) {
	var table Producers
	for id := range int64(10_000) {
		used(&table, id, id)
	}
	table.Expire(9_990)
	if table.Len() != 10 || cap(table.due) > 100 {
		t.Errorf("%d producers are left, in a heap with room for %d", table.Len(), cap(table.due))
	}
}

// The append side holds producers with batches that are not committed, and no others.
func TestAheadForgetsWhatIsCommitted(t *testing.T) {
	s := New(testJournal)
	mustApply(t, s, data(1, 1), open(keyA, 0, 0))
	a := NewAhead(s, keyA)
	write := func(id int64, sequence int32, base int64) segment.Partition {
		t.Helper()
		h := batch.Header{ProducerID: id, BaseSequence: sequence}
		if v, _, err := a.Check(h); v != VerdictNew || err != nil {
			t.Fatalf("producer %d, sequence %d: %d, %v", id, sequence, v, err)
		}
		a.Add(h, base)
		r := records(keyA, 1, base, base, 1)
		r.Producers = []segment.Producer{{ID: id, Batches: []segment.ProducerBatch{batchAt(&h, base)}}}
		return r
	}
	first, second, third := write(1, 0, 0), write(2, 0, 1), write(1, 1, 2)
	for i, r := range []segment.Partition{first, second, third} {
		mustApply(t, s, data(uint64(2+i), 1, r))
		a.Committed(&r)
		for sequence := range int32(2) {
			if v, _, err := a.Check(batch.Header{ProducerID: 1, BaseSequence: sequence}); v != VerdictDuplicate {
				t.Fatalf("after object %d sequence %d is %d, %v, want a duplicate", 2+i, sequence, v, err)
			}
		}
		if want := []int{2, 1, 0}[i]; len(a.byID) != want {
			t.Errorf("after object %d there are %d producers ahead, want %d", 2+i, len(a.byID), want)
		}
	}
}
