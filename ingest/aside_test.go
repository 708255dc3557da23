package ingest

import (
	"testing"
	"time"

	"github.com/varvelog/varve/ingest/wal"
	"github.com/varvelog/varve/tiering/batch/batchtest"
)

// countedFolder is a folder whose Leaders report at once the records set aside.
func countedFolder(t *testing.T) (f *folder, lose func(retried bool, spec batchtest.Spec), counts chan int64) {
	f, down := newFlakyFolder(t)
	counts = make(chan int64, 10000)
	now := time.Now
	f.change = func(o *Options) {
		o.AsideEvery, o.Now = time.Millisecond, now
		o.OnAside = func(n int64, err error) {
			if err != nil {
				t.Error(err)
			}
			select {
			case counts <- n:
			default:
			}
		}
	}
	// lose has a batch appended that only the write-ahead log has, and another node
	// lead; retried: the client sends the batch to that one.
	lose = func(retried bool, spec batchtest.Spec) {
		l := f.start()
		openTestKey(t, l)
		if r := appendOne(t, l, AcksAll, batchtest.Spec{}); r.Err != nil {
			t.Fatal(r.Err)
		}
		down.Store(true)
		appendOne(t, l, AcksLeader, spec) // synced, as one with acks=all would be too
		f.kill(l)
		down.Store(false)
		other := f.other().start()
		if !retried {
			spec = batchtest.Spec{}
		}
		if r := appendOne(t, other, AcksAll, spec); r.Err != nil {
			t.Fatal(r.Err)
		}
		closeLeader(t, other)
	}
	return f, lose, counts
}

// next is the next report.
func next(counts chan int64) int64 {
	for len(counts) > 0 {
		<-counts
	}
	<-counts // of the state before
	return <-counts
}

func TestSetAsideRecordsAreCountedUntilTheyAreExported(t *testing.T) {
	f, lose, counts := countedFolder(t)
	lose(false, batchtest.Spec{})
	l := f.start()
	if n := next(counts); n != 2 || l.SetAside() != 2 {
		t.Errorf("%d records are missing, want the 2 of one batch", n)
	}
	closeLeader(t, l)
	later := f.change
	f.change = func(o *Options) { // counted for good
		later(o)
		o.Now = func() time.Time { return time.Now().Add(2 * asideSettles) }
	}
	l = f.start() // the alarm is still there
	if n := next(counts); n != 2 || l.SetAside() != 2 {
		t.Errorf("%d records are missing after another start, want 2", n)
	}
	logs, err := wal.AsideFolders(l.opt.WAL)
	if err != nil || len(logs) != 1 || logs[0].Missing != 2 {
		t.Fatalf("noted: %+v, %v", logs, err)
	}
	if err := wal.NoteExported(l.opt.WAL, logs[0]); err != nil {
		t.Fatal(err)
	}
	if n := next(counts); n != 0 || l.SetAside() != 0 {
		t.Errorf("%d records are missing after the export", n)
	}
	closeLeader(t, l)
}

func TestSetAsideRecordsAreCountedUntilTheyAreDeleted(t *testing.T) {
	f, lose, counts := countedFolder(t)
	lose(false, batchtest.Spec{})
	l := f.start()
	defer closeLeader(t, l)
	if n := next(counts); n != 2 {
		t.Errorf("%d records are missing, want 2", n)
	}
	logs, err := wal.AsideFolders(l.opt.WAL)
	if err != nil || len(logs) != 1 {
		t.Fatal(logs, err)
	}
	if err := wal.RemoveAside(l.opt.WAL, logs[0]); err != nil {
		t.Fatal(err)
	}
	if n := next(counts); n != 0 {
		t.Errorf("%d records are missing after the deletion", n)
	}
}

// Records that an idempotent client has sent again, and another leader has
// committed, are not missing, though the log has them too.
func TestWhatWasDeliveredByAnotherLeaderIsNotCounted(t *testing.T) {
	f, lose, counts := countedFolder(t)
	lose(true, batchtest.Spec{ProducerID: 7})
	l := f.start()
	defer closeLeader(t, l)
	logs, err := wal.AsideFolders(l.opt.WAL)
	if err != nil || len(logs) != 1 {
		t.Fatalf("set aside: %+v, %v", logs, err)
	}
	if n := next(counts); n != 0 || l.SetAside() != 0 {
		t.Errorf("%d records are missing", n)
	}
}
