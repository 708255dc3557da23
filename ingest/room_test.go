package ingest

import (
	"context"
	"errors"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/varvelog/varve/ingest/wal"
	"github.com/varvelog/varve/tiering/batch/batchtest"
)

// fullDisk is a disk that has room for one more file at the most.
type fullDisk struct {
	wal.OS
	made atomic.Int64
}

func (d *fullDisk) OpenFile(name string, flag int) (wal.File, error) {
	f, err := d.OS.OpenFile(name, flag)
	if err != nil {
		return nil, err
	}
	return fullFile{f, d}, nil
}

type fullFile struct {
	wal.File
	disk *fullDisk
}

func (f fullFile) Preallocate(size int64) error {
	if f.disk.made.Add(1) > 1 {
		return syscall.ENOSPC
	}
	return f.File.Preallocate(size)
}

// try appends with acks=1 and a time-out.
func try(t *testing.T, l *Leader, wait time.Duration) error {
	return trySize(t, l, 20<<10, wait)
}

func trySize(t *testing.T, l *Leader, size int, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	answer := make(chan []Result, 1)
	value := make([]byte, size)
	l.Append(ctx, AcksLeader, []Batch{makeBatch(t, testKey, batchtest.Spec{Records: []batchtest.Record{{Value: value}}})}, func(r []Result) { answer <- r })
	return (<-answer)[0].Err
}

// A disk with room for one file is used; when it is full and the bucket is away
// that is reported, answered, and over when the bucket is back.
func TestAFullDiskIsReportedAndPasses(t *testing.T) {
	f, down := newFlakyFolder(t)
	reports := make(chan error, 1000)
	f.change = func(o *Options) {
		o.WAL.FS, o.FullPatience = &fullDisk{}, 20*time.Millisecond
		o.OnFull = func(err error) { reports <- err }
	}
	l := f.start()
	defer closeLeader(t, l)
	openTestKey(t, l)
	down.Store(true)
	var err error
	n := 0
	for ; err == nil; n++ {
		err = try(t, l, time.Second)
	}
	if !errors.Is(err, ErrNoRoom) || n < 10 {
		t.Fatalf("after %d batches: %v", n, err)
	}
	if err := <-reports; !errors.Is(err, wal.ErrFull) || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("reported: %v", err)
	}
	if err := try(t, l, time.Millisecond); !errors.Is(err, ErrNoRoom) {
		t.Errorf("while it is full: %v", err)
	}
	down.Store(false)
	for <-reports != nil {
	}
	for range 3 * n { // the same file again and again
		if err := try(t, l, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
}

// A record that was accepted and does not fit waits in memory; its client is
// answered.
func TestARecordThatFindsNoRoomIsAnswered(t *testing.T) {
	f, down := newFlakyFolder(t)
	f.change = func(o *Options) { o.WAL.FS, o.FullPatience = &fullDisk{}, 20*time.Millisecond }
	l := f.start()
	defer closeLeader(t, l)
	openTestKey(t, l)
	down.Store(true)
	const size = 600 << 10 // of a file of a MiB
	if err := trySize(t, l, size, time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := trySize(t, l, size, time.Minute); !errors.Is(err, ErrNoRoom) {
		t.Errorf("the second batch: %v", err)
	}
	down.Store(false)
	for l.Pending() > 0 { // it is committed all the same
		time.Sleep(time.Millisecond)
	}
	if r := appendOne(t, l, AcksAll, batchtest.Spec{}); r.Err != nil || r.BaseOffset != 2 {
		t.Errorf("%+v, want offset 2", r)
	}
}

// A log that is full, has room for a moment and is full again is one trouble, not many.
func TestALogThatIsFullMostOfTheTimeIsOneTrouble(t *testing.T) {
	var reports []error
	now := time.Unix(0, 0)
	r := room{patience: 5 * time.Second, report: func(err error) { reports = append(reports, err) }}
	look := func(full bool, after time.Duration) {
		now = now.Add(after)
		r.look(map[bool]error{true: wal.ErrFull}[full], func() time.Time { return now })
	}
	for range 10 {
		look(true, time.Second)
		look(true, 12*time.Second)
		look(false, time.Second)
		look(false, 7*time.Second)
	}
	if len(reports) == 0 || reports[0] == nil {
		t.Fatalf("reported %v", reports)
	}
	for _, err := range reports {
		if err == nil {
			t.Fatalf("reported as over in between: %v", reports)
		}
	}
	look(false, 2*time.Second) // ten seconds in all
	look(false, time.Hour)
	if n := len(reports); reports[n-1] != nil || reports[n-2] == nil {
		t.Errorf("the end was not reported once: %v", reports)
	}
}

func TestPendingIsWhatTheBucketDoesNotHave(t *testing.T) {
	f, down := newFlakyFolder(t)
	l := f.start()
	defer closeLeader(t, l)
	openTestKey(t, l)
	for range 20 {
		if r := appendOne(t, l, AcksAll, batchtest.Spec{}); r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	if n := l.Pending(); n != 0 {
		t.Errorf("%d bytes pending when all is committed", n)
	}
	down.Store(true)
	want := int64(len(makeBatch(t, testKey, batchtest.Spec{}).Data))
	if r := appendOne(t, l, AcksLeader, batchtest.Spec{}); r.Err != nil {
		t.Fatal(r.Err)
	}
	if n := l.Pending(); n != want {
		t.Errorf("%d bytes pending, want %d of one batch", n, want)
	}
	if n := l.WALFileBytes(); n < 1<<20 {
		t.Errorf("the files take %d bytes", n)
	}
	down.Store(false)
	for l.Pending() != 0 {
		time.Sleep(time.Millisecond)
	}
}
