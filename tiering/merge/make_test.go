package merge

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/varvelog/varve/testenv/seeded"
	"github.com/varvelog/varve/tiering/objstore"
)

// meeting is a Store in which the upload of an output waits for that of another.
type meeting struct {
	objstore.Store
	create func(ctx context.Context, key string, body objstore.Body) error
	under  atomic.Int64
}

func (m *meeting) Create(ctx context.Context, key string, body objstore.Body) error {
	if !isOutput(key) {
		return m.Store.Create(ctx, key, body)
	}
	m.under.Add(1)
	defer m.under.Add(-1)
	return m.create(ctx, key, body)
}

// sharedClock is the clock of a world for several goroutines.
type sharedClock struct {
	*world
	mu sync.Mutex
}

func (c *sharedClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.world.Now()
}

func (c *sharedClock) Sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.world.Sleep(ctx, d)
}

// newMeeting is a world whose next job has at least two outputs.
func newMeeting(t *testing.T) (*world, *meeting) {
	w := newWorld(t, 4, seeded.Seed(t))
	m := &meeting{Store: w.store}
	w.opt.Store, w.opt.Sequential, w.opt.JobBytes, w.opt.OwnBytes = m, false, firstScale<<20, 4<<10
	w.opt.ObjectBytes, w.opt.Clock = 10<<10, &sharedClock{world: w}
	w.lead()
	for range 20 {
		w.produce(2, 2, 1000)
	}
	return w, m
}

func TestOutputsAreMadeTwoAtOnce(t *testing.T) {
	w, m := newMeeting(t)
	var mu sync.Mutex
	most := int64(0)
	both := make(chan struct{})
	var first sync.Once
	m.create = func(ctx context.Context, key string, body objstore.Body) error {
		mu.Lock()
		if most = max(most, m.under.Load()); most > 1 {
			first.Do(func() { close(both) })
		}
		mu.Unlock()
		<-both
		return m.Store.Create(ctx, key, body)
	}
	w.work()
	if journal, merged := w.check(); journal > 0 || merged == 0 || most != atOnce || len(w.disk.files) > 0 {
		t.Errorf("%d outputs were sent at once; %d extents are in the journal, %d merged, %d files are left", most, journal, merged, len(w.disk.files))
	}
}

// TestOneOutputIsMadeAtATimeWithoutHurry: two would take the processors from ingest.
func TestOneOutputIsMadeAtATimeWithoutHurry(t *testing.T) {
	w, m := newMeeting(t)
	w.opt.Hurry = func() bool { return false }
	w.lead()
	most := atomic.Int64{}
	m.create = func(ctx context.Context, key string, body objstore.Body) error {
		if n := m.under.Load(); n > most.Load() {
			most.Store(n)
		}
		for range 100 {
			runtime.Gosched() // another one would come
		}
		return m.Store.Create(ctx, key, body)
	}
	w.work()
	if journal, merged := w.check(); journal > 0 || merged == 0 || most.Load() != 1 {
		t.Errorf("%d outputs were sent at once; %d extents are in the journal, %d merged", most.Load(), journal, merged)
	}
}

// TestAnOutputThatFailsEndsTheOthers: when the job has ended, nothing of it is under way.
func TestAnOutputThatFailsEndsTheOthers(t *testing.T) {
	w, m := newMeeting(t)
	why, others := errors.New("refused"), atomic.Int64{}
	both := make(chan struct{})
	m.create = func(ctx context.Context, key string, body objstore.Body) error {
		defer body.Done()
		if others.Add(1) == 1 {
			close(both)
			<-ctx.Done()
			return context.Cause(ctx)
		}
		<-both
		return why
	}
	if again, err := w.merger.Run(t.Context()); again || !errors.Is(err, why) {
		t.Fatalf("%v, error %v", again, err)
	}
	s := w.merger.Stats()
	if m.under.Load() > 0 || s.Abandons != 1 || s.Results > 0 || len(w.state.Intents()) > 0 || len(w.disk.files) > 0 {
		t.Errorf("%d uploads are under way, %d files are left, %+v", m.under.Load(), len(w.disk.files), s)
	}
	m.create = func(ctx context.Context, key string, body objstore.Body) error { return m.Store.Create(ctx, key, body) }
	w.now = w.now.Add(time.Hour)
	w.work()
	if journal, _ := w.check(); journal > 0 {
		t.Errorf("%d extents are in the journal", journal)
	}
}

// TestTheSpoolStaysForAnUploadUnderWay: a store may read a body after it has given up.
func TestTheSpoolStaysForAnUploadUnderWay(t *testing.T) {
	w, m := newMeeting(t)
	w.opt.Sequential = true
	w.lead()
	var late []objstore.Body
	m.create = func(_ context.Context, _ string, body objstore.Body) error {
		late = append(late, body)
		return errors.New("no answer")
	}
	if _, err := w.merger.Run(t.Context()); err == nil {
		t.Fatal("the job succeeded")
	}
	if len(late) == 0 || len(w.disk.files) != 1 {
		t.Fatalf("%d files are left for %d uploads", len(w.disk.files), len(late))
	}
	for _, body := range late {
		if err := body.CheckSum(); err != nil {
			t.Error(err)
		}
		body.Done()
	}
	if len(w.disk.files) > 0 {
		t.Errorf("%d files are left", len(w.disk.files))
	}
}

// TestAnImageIsReadAsItWasWritten reads each range of an image.
func TestAnImageIsReadAsItWasWritten(t *testing.T) {
	w := newWorld(t, 1, 1)
	if err := w.disk.Empty(); err != nil {
		t.Fatal(err)
	}
	w.lead()
	s, err := w.merger.executor.newSpool()
	if err != nil {
		t.Fatal(err)
	}
	spooled := []byte("abcdefghijklmnop")
	if err := errors.Join(s.append(spooled), s.written()); err != nil {
		t.Fatal(err)
	}
	m := image{spool: s, next: inMemory}
	var want []byte
	for _, p := range []struct {
		place  int64
		length int64
		text   string
	}{{inMemory, 0, "head"}, {inMemory, 0, "er"}, {8, 2, ""}, {10, 1, ""}, {2, 3, ""}, {inMemory, 0, "section"}, {0, 16, ""}, {inMemory, 0, "end"}} {
		m.next = p.place
		b := []byte(p.text)
		if p.place != inMemory {
			b = spooled[p.place:][:p.length]
		}
		if _, err := m.Write(b); err != nil {
			t.Fatal(err)
		}
		want = append(want, b...)
	}
	if len(m.pieces) != 6 {
		t.Errorf("%d pieces", len(m.pieces))
	}
	for from := range len(want) + 1 {
		for to := from; to <= len(want)+1; to++ {
			b := make([]byte, to-from)
			n, err := m.ReadAt(b, int64(from))
			if end := min(to, len(want)); n != end-from || !bytes.Equal(b[:n], want[from:end]) || (err != nil) != (to > end) {
				t.Fatalf("bytes %d to %d are %q, error %v", from, to, b[:n], err)
			}
		}
	}
}
