package ingest

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// changes is the history of journal 0, as far as a data journal follows it: the first
// change is at seq 1.
type changes []change

type change struct {
	key  partlog.Key
	kind changeKind
}

// changeKind is a kind of change, of the topic of a partition.
type changeKind uint8

const (
	opens  changeKind = iota // created, or restored
	seals                    // deleted
	purges                   // it cannot be restored any more
	keeps                    // it keeps its records forever from now on
)

// placed is the view up to head, of the changes after since.
func (c changes) placed(head, since uint64) metadata.Placed {
	p := metadata.Placed{Seq: head}
	for i := since; i < head; i++ {
		later := false
		for _, other := range c[i+1 : head] {
			later = later || other.key == c[i].key && other.kind != keeps
		}
		switch {
		case later:
		case c[i].kind == seals:
			p.Sealed = append(p.Sealed, c[i].key)
		case c[i].kind == opens:
			p.Open = append(p.Open, c[i].key)
		}
	}
	if slices.Contains(p.Open, basedKey) {
		p.Bases = map[partlog.Key]int32{basedKey: 7}
	}
	return p
}

// basedKey is a partition with an epoch base.
var basedKey = partlog.Key{Topic: testTopic, Index: 4}

func TestPartitionIsOpenedWithItsEpochBase(t *testing.T) {
	b := newBench(t)
	b.place(change{basedKey, opens}, change{otherKey, opens})
	b.settleAll()
	based, _ := b.c.state.Lookup(basedKey)
	other, _ := b.c.state.Lookup(otherKey)
	if based.EpochBase != 7 || other.EpochBase != 0 || based.Epoch != other.Epoch+7 {
		t.Errorf("epoch bases %d and %d, epochs %d and %d", based.EpochBase, other.EpochBase, based.Epoch, other.Epoch)
	}
}

// Placed and Watch make a bench the view of its core.
func (b *bench) Placed(_ uint32, since uint64) metadata.Placed {
	b.looks++
	return b.metadata.placed(uint64(len(b.metadata)), since)
}

func (b *bench) Watch(chan<- struct{}) func() { return func() {} }

// place changes the metadata, and lets the core notice. It returns the seq.
func (b *bench) place(c ...change) uint64 {
	b.t.Helper()
	b.metadata = append(b.metadata, c...)
	b.c.placementsMoved()
	b.c.reconciler.next(b.c.start)
	return uint64(len(b.metadata))
}

func (b *bench) open(k partlog.Key) uint64 { return b.place(change{k, opens}) }
func (b *bench) seal(k partlog.Key) uint64 { return b.place(change{k, seals}) }

// settle commits until nothing is left to do.
func (b *bench) settleAll() {
	b.t.Helper()
	for range 20 {
		if err := b.c.progress(); err != nil {
			b.t.Fatal(err)
		}
		b.commitAll()
	}
}

func (b *bench) checkPlaced(k partlog.Key, open bool) {
	b.t.Helper()
	if v, ok := b.c.state.Lookup(k); !ok || v.Sealed == open {
		b.t.Errorf("partition %v is there %v, sealed %v, want open %v", k, ok, v.Sealed, open)
	}
	if b.c.ends.isOpen(k) != open {
		b.t.Errorf("partition %v accepts records: %v", k, !open)
	}
}

var otherKey = partlog.Key{Topic: testTopic, Index: 3}

func TestReportComesWhenAllEntriesAreCommitted(t *testing.T) {
	b := newBench(t)
	before := b.reconciled
	seq := b.place(change{otherKey, opens}, change{testKey, seals})
	if b.flush(); b.reconciled != before {
		t.Errorf("reports seq %d before the commit", b.reconciled)
	}
	b.settleAll()
	if b.reconciled != seq {
		t.Errorf("reports seq %d, want %d", b.reconciled, seq)
	}
	b.checkPlaced(otherKey, true)
	b.checkPlaced(testKey, false)
}

func TestPartitionDeletedWhileItOpensIsSealed(t *testing.T) {
	b := newBench(t)
	b.open(otherKey)
	b.flush()
	seq := b.seal(otherKey)
	b.settleAll()
	if b.checkPlaced(otherKey, false); b.reconciled != seq {
		t.Errorf("reports seq %d, want %d", b.reconciled, seq)
	}
}

// TestPartitionDeletedBeforeTheJournalSawItIsSealed: a leader whose view lags could open
// it otherwise, when its topic is purged already.
func TestPartitionDeletedBeforeTheJournalSawItIsSealed(t *testing.T) {
	b := newBench(t)
	seq := b.place(change{otherKey, opens}, change{otherKey, seals})
	b.settleAll()
	if b.checkPlaced(otherKey, false); b.reconciled != seq {
		t.Errorf("reports seq %d, want %d", b.reconciled, seq)
	}
}

// TestALaggingViewOpensNothingThatIsSealed: the next leader's view is older than that of
// the one before, and it follows none until that is proved.
func TestALaggingViewOpensNothingThatIsSealed(t *testing.T) {
	b := newBench(t)
	b.place(change{otherKey, opens}, change{otherKey, seals})
	b.settleAll()
	all := b.metadata
	b.metadata = all[:len(all)-1]
	b.c.reconciler.seq, b.c.reconciler.proved = 0, false
	b.c.placementsMoved()
	head := b.c.state.Head()
	b.settleAll()
	b.metadata = all
	b.c.placementsProved()
	b.settleAll()
	if b.checkPlaced(otherKey, false); b.c.state.Head() != head {
		t.Error("an entry for a partition that is sealed")
	}
}

// TestAPartitionThatIsDroppedDuringAStepIsNotOpenedAgain: an earlier leader has reported that
// it is sealed, so the controller has purged its topic.
func TestAPartitionThatIsDroppedDuringAStepIsNotOpenedAgain(t *testing.T) {
	b := newBench(t)
	b.place(change{otherKey, opens}, change{otherKey, seals})
	b.settleAll()
	b.c.reconciler.seq = 0 // as of a leader that has just started
	b.c.carry([]segment.Entry{partlog.Drop{Key: otherKey}.Encode()}, make(chan error, 1))
	b.append(AcksAll, batchtest.Spec{})
	b.flush() // with the drop
	seq := b.open(partlog.Key{Topic: testTopic, Index: 7})
	b.commit()
	if _, ok := b.c.state.Lookup(otherKey); ok || b.reconciled == seq {
		t.Fatalf("the partition is there %v, reports seq %d", ok, b.reconciled)
	}
	b.settleAll()
	if _, ok := b.c.state.Lookup(otherKey); ok || b.reconciled != seq {
		t.Errorf("the partition is opened again %v, reports seq %d, want %d", ok, b.reconciled, seq)
	}
}

func TestPartitionOfARestoredTopicTakesRecordsAgain(t *testing.T) {
	b := newBench(t)
	b.seal(testKey)
	b.settleAll()
	b.checkPlaced(testKey, false)
	seq := b.open(testKey)
	if b.flush(); b.reconciled == seq {
		t.Error("reported before the commit")
	}
	b.settleAll()
	b.checkPlaced(testKey, true)
	if next, ok := b.c.ends.next(testKey); !ok || next != 0 || b.reconciled != seq {
		t.Errorf("next offset is %d, %v; reported is seq %d, want %d", next, ok, b.reconciled, seq)
	}
	b.place(change{testKey, seals}, change{testKey, opens}, change{testKey, seals})
	b.settleAll()
	b.checkPlaced(testKey, false)
}

// TestSealsOfAnotherLeaderAreReportedOnceThisOneIsProved: a leader that was deposed does
// not know that another one has opened the partition again.
func TestSealsOfAnotherLeaderAreReportedOnceThisOneIsProved(t *testing.T) {
	b := newBench(t)
	b.seal(testKey)
	b.settleAll()
	before := b.reconciled
	seq := b.place(change{testKey, opens}, change{testKey, seals})
	if b.settleAll(); b.reconciled != before || len(b.proofs) != 1 {
		t.Fatalf("reported seq %d with %d proofs asked for", b.reconciled, len(b.proofs))
	}
	b.proofs[0](errors.New("the store does not answer"))
	if b.settleAll(); b.reconciled != before || len(b.proofs) != 2 {
		t.Fatalf("reported seq %d with %d proofs asked for", b.reconciled, len(b.proofs))
	}
	if b.proofs[1](nil); b.reconciled != seq {
		t.Errorf("reported seq %d, want %d", b.reconciled, seq)
	}
}

func TestAJournalThatHasEverythingReportsWithoutAnEntry(t *testing.T) {
	b := newBench(t)
	b.c.reconciler.seq = 0 // as of a leader that has just started
	head := b.c.state.Head()
	seq := b.place(change{testKey, opens})
	b.settleAll()
	if b.reconciled != seq || b.c.state.Head() != head {
		t.Errorf("reports seq %d, want %d; %d objects for it", b.reconciled, seq, b.c.state.Head()-head)
	}
}

func TestTheMetadataIsLookedAtWhenItMovesOnly(t *testing.T) {
	b := newBench(t)
	looks := b.looks
	b.settleAll()
	if b.open(otherKey); b.looks != looks+1 {
		t.Errorf("%d looks for one change", b.looks-looks)
	}
	b.seal(otherKey) // while the first is under way
	if b.looks != looks+1 {
		t.Errorf("%d looks while a step is under way", b.looks-looks)
	}
	b.settleAll()
	b.checkPlaced(otherKey, false)
}

func TestALeadershipThatEndsReportsNothing(t *testing.T) {
	b := newBench(t)
	before := b.reconciled
	b.open(otherKey)
	b.c.fail(nil)
	b.c.placementsMoved()
	if err := b.c.progress(); err != nil || b.reconciled != before {
		t.Errorf("reports seq %d, %v", b.reconciled, err)
	}
}

func TestAClosingLeaderFollowsNothingMore(t *testing.T) {
	b := newBench(t)
	b.c.close()
	b.metadata = append(b.metadata, change{otherKey, opens})
	b.c.placementsMoved()
	b.settleAll()
	if _, ok := b.c.state.Lookup(otherKey); ok || !b.c.finished() {
		t.Errorf("opened %v, finished %v", ok, b.c.finished())
	}
}

// TestAChangeAmongManyPartitionsIsCheap: a step visits only changed partitions.
func TestAChangeAmongManyPartitionsIsCheap(t *testing.T) {
	b := newBench(t)
	for i := range int32(2000) {
		b.metadata = append(b.metadata, change{partlog.Key{Topic: testTopic, Index: 10 + i}, opens})
	}
	b.place()
	b.settleAll()
	lookups := fmt.Sprint(b.Placed(1, b.reconciled))
	if want := fmt.Sprint(metadata.Placed{Seq: uint64(len(b.metadata))}); lookups != want {
		t.Errorf("after everything is followed: %s, want %s", lookups, want)
	}
	if b.reconciled != uint64(len(b.metadata)) {
		t.Errorf("reports seq %d, want %d", b.reconciled, len(b.metadata))
	}
}
