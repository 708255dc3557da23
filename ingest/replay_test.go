package ingest

import (
	"testing"

	"github.com/varvelog/varve/ingest/wal"
	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/partlog"
)

func TestOlderLogThatIsAllInTheBucketIsNoAlarm(t *testing.T) {
	f := newFolder(t)
	l := f.start()
	openTestKey(t, l)
	appendOne(t, l, AcksAll, batchtest.Spec{})
	f.kill(l)
	other := f.other().start()
	appendOne(t, other, AcksAll, batchtest.Spec{})
	closeLeader(t, other)
	l = f.start()
	defer closeLeader(t, l)
	aside, err := wal.Aside(l.opt.WAL)
	if err != nil || len(aside) != 0 || l.SetAside() != 0 {
		t.Fatalf("set aside: %v (%d records), %v, want nothing: all of it was committed", aside, l.SetAside(), err)
	}
}

func TestPartitionIsSealedThoughItWasStillOpening(t *testing.T) {
	b := newBench(t)
	k := partlog.Key{Topic: testTopic, Index: 3}
	opened, sealed := make(chan error, 1), make(chan error, 1)
	b.c.reconcile(Want{Open: []partlog.Key{k}}, opened)
	b.c.reconcile(Want{Sealed: []partlog.Key{k}}, sealed)
	for range 2 {
		b.flush()
		b.commit()
	}
	if err := <-opened; err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-sealed:
		if v, _ := b.c.state.Lookup(k); err != nil || !v.Sealed {
			t.Fatalf("partition is %+v, %v", v, err)
		}
	default:
		t.Fatal("never sealed")
	}
}

func TestStallOfAFenceIsOverWhenTheJournalIsLed(t *testing.T) {
	b := newBench(t)
	b.c.stall()
	b.c.lead(1)
	if r := b.append(AcksAll, batchtest.Spec{}); answered(r) {
		t.Fatalf("refused: %v", *r)
	}
}
