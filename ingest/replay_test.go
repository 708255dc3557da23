package ingest

import (
	"testing"

	"github.com/varvelog/varve/ingest/wal"
	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/segment"
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

// TestDamagedLogIsSetAsideUnlessAllOfItIsInTheBucket: reading such a log ends with
// the damage, which must stop neither the node nor the alarm.
func TestDamagedLogIsSetAsideUnlessAllOfItIsInTheBucket(t *testing.T) {
	for _, tc := range []struct {
		highest, covered uint64
		aside            bool
	}{{0, 9, true}, {8, 8, true}, {8, 9, false}} {
		b := newBench(t)
		b.c.accepting = false
		id := segment.ID{0xd}
		b.history = journal.NewHistory(map[segment.ID]uint64{id: tc.covered})
		log := &wal.Incarnation{ID: id, FirstLSN: 1, LastLSN: 4, Epochs: []uint32{1}, Damage: &wal.DamageError{Lost: 5, Highest: tc.highest}}
		files := &damagedFiles{damage: log.Damage}
		b.c.replay.onAside = func(int, string, error) {}
		b.c.replay.add(log, files)
		if err := b.c.progress(); err != nil || !b.c.accepting {
			t.Errorf("highest %d, covered %d: taking %v, %v", tc.highest, tc.covered, b.c.accepting, err)
		}
		if files.aside != tc.aside || files.removed == tc.aside {
			t.Errorf("highest %d, covered %d: set aside %v, removed %v", tc.highest, tc.covered, files.aside, files.removed)
		}
	}
}

type damagedFiles struct {
	damage         error
	aside, removed bool
}

func (f *damagedFiles) Read(uint64, func(wal.Record) error) error { return f.damage }
func (f *damagedFiles) Remove() error                             { f.removed = true; return nil }
func (f *damagedFiles) SetAside(string) (string, error)           { f.aside = true; return "aside", nil }

func TestStallOfAFenceIsOverWhenTheJournalIsLed(t *testing.T) {
	b := newBench(t)
	b.c.stall()
	b.c.lead(1)
	if r := b.append(AcksAll, batchtest.Spec{}); answered(r) {
		t.Fatalf("refused: %v", *r)
	}
}
