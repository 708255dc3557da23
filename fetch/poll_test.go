package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// long is longer than any test may take: a poll that is not woken hangs.
const long = time.Hour

func poll(minBytes int32, wait time.Duration, parts ...Partition) Request {
	req := request(parts...)
	req.MinBytes, req.MaxWait = minBytes, wait
	return req
}

// inBackground fetches, and returns where the results will be.
func (w *world) inBackground(req Request) <-chan []Result {
	done := make(chan []Result, 1)
	go func() { done <- w.fetch(req) }()
	return done
}

func TestLongPollWakesForNewRecords(t *testing.T) {
	w := newWorld(t, nil)
	w.commit(map[partlog.Key][][]byte{keyA: nil, keyB: nil})
	for i := range 50 {
		done := w.inBackground(poll(1, long, want(keyA, int64(i)), want(keyB, 0)))
		w.values("x")
		if got := <-done; len(got[0].Records) != 1 || got[0].HighWatermark != int64(i+1) || len(got[1].Records) != 0 {
			t.Fatalf("round %d: %+v", i, got)
		}
	}
}

// TestConsumersFollowALiveLog has consumers poll while a leader commits; some
// read from its memory, some from the store.
func TestConsumersFollowALiveLog(t *testing.T) {
	const objects = 150
	w := newWorld(t, nil)
	recent := NewRecent(testJournal, 4<<10)
	w.view.Tail = recent
	w.commit(map[partlog.Key][][]byte{keyA: nil, keyB: nil})
	got := make([][]byte, 4)
	var consumers sync.WaitGroup
	for i := range got {
		k := []partlog.Key{keyA, keyB}[i%2]
		consumers.Go(func() {
			for offset := int64(0); offset < objects; {
				r := w.fetch(poll(1, long, want(k, offset)))[0]
				if r.Err != nil {
					t.Errorf("offset %d: %v", offset, r.Err)
					return
				}
				b := bytes.Join(r.Records, nil)
				_ = batch.Walk(b, func(_ int, h batch.Header) error { offset = h.LastOffset() + 1; return nil })
				got[i] = append(got[i], b...)
			}
		})
	}
	for i := range objects {
		b, f, entries := w.build(map[partlog.Key][][]byte{
			keyA: {batchOf(1, fmt.Sprint("a", i))}, keyB: {batchOf(1, fmt.Sprint("b", i))},
		})
		w.store.PutNow(segment.JournalKey(testJournal, w.seq), b)
		recent.Add(w.seq, inMemory(b))
		w.apply(f, entries)
	}
	consumers.Wait()
	for i := range got {
		if k := []partlog.Key{keyA, keyB}[i%2]; !bytes.Equal(got[i], bytes.Join(w.log[k], nil)) {
			t.Errorf("consumer %d has not got the log", i)
		}
	}
}

func TestLongPollWaitsForMinBytes(t *testing.T) {
	w := newWorld(t, nil)
	w.values("a")
	size := int32(len(w.log[keyA][0]))
	done := w.inBackground(poll(2*size+1, long, want(keyA, 0)))
	w.values("b")
	select {
	case got := <-done:
		t.Fatalf("answered with %v, before MinBytes", got)
	case <-time.After(5 * time.Millisecond):
	}
	w.values("c")
	if got := values(t, (<-done)[0]); !slices.Equal(got, []string{"0=a", "1=b", "2=c"}) {
		t.Errorf("records %v", got)
	}
}

func TestLongPollEndsWithWhatThereIs(t *testing.T) {
	w := newWorld(t, nil)
	w.values("a")
	if r := w.fetch(poll(1, time.Millisecond, want(keyA, 1)))[0]; len(r.Records) > 0 || r.Err != nil || r.HighWatermark != 1 {
		t.Errorf("nothing new: %+v", r)
	}
	if got := values(t, w.fetch(poll(1<<20, time.Millisecond, want(keyA, 0)))[0]); len(got) != 1 {
		t.Errorf("less than MinBytes: %v", got)
	}
}

func TestLongPollEndsWithItsContext(t *testing.T) {
	w := newWorld(t, nil)
	w.values("a")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan *Response)
	go func() { done <- w.reader.Fetch(ctx, poll(1, long, want(keyA, 1))) }()
	cancel()
	r := <-done
	r.Release()
	if res := r.Results[0]; res.Err != nil || res.HighWatermark != 1 {
		t.Errorf("%+v", res)
	}
}

func TestFetchAnswersAtOnce(t *testing.T) {
	w := newWorld(t, nil)
	w.values("a")
	for i := 0; i < maxExtents+5; i++ {
		w.commit(map[partlog.Key][][]byte{keyB: {batchOf(1, "b")}})
	}
	for name, req := range map[string]Request{
		"nothing to wait for":        poll(0, long, want(keyA, 1)),
		"no partitions":              poll(1, long),
		"an error":                   poll(1<<20, long, want(keyA, 0), want(noKey, 0)),
		"MinBytes above MaxBytes":    {Partitions: []Partition{want(keyA, 0)}, MinBytes: 1000, MaxBytes: 10, MaxWait: long},
		"more objects than are read": poll(1<<20, long, want(keyB, 0)),
	} {
		t.Run(name, func(t *testing.T) {
			results := w.fetch(req)
			if name == "an error" && (!errors.Is(results[1].Err, ErrUnknownPartition) || len(results[0].Records) != 1) {
				t.Errorf("%+v, want the records of the good partition and the error of the other", results)
			}
		})
	}
}

func TestFetchByOffset(t *testing.T) {
	failed := errors.New("no store")
	for _, tc := range []struct {
		name    string
		offset  int64
		epoch   int32 // as the client knows it
		late    bool  // the proof shows one more record, in a new epoch
		unproof bool  // the head cannot be proved
		append  int64 // the leader's append end; 0: not the leader
		want    error
		records int
		proofs  int64
	}{
		{name: "in the log", offset: 5, epoch: -1, records: 3},
		{name: "at the high watermark", offset: 8, epoch: -1},
		{name: "beyond it", offset: 9, epoch: -1, want: ErrOutOfRange, proofs: 1},
		{name: "beyond it, but this node lags", offset: 9, epoch: -1, late: true, proofs: 1},
		{name: "far beyond it, and this node lags", offset: 10, epoch: -1, late: true, want: ErrOutOfRange, proofs: 1},
		{name: "beyond it, not provable", offset: 9, epoch: -1, unproof: true, want: ErrNotReady, proofs: 1},
		{name: "appended, not committed", offset: 9, epoch: -1, append: 9},
		{name: "beyond the appended end", offset: 10, epoch: -1, append: 9, want: ErrOutOfRange, proofs: 1},
		{name: "before the start", offset: 4, epoch: -1, want: ErrOutOfRange, proofs: 1},
		{name: "before the start, not provable", offset: 4, epoch: -1, unproof: true, want: ErrNotReady, proofs: 1},
		{name: "negative", offset: -1, epoch: -1, want: ErrOutOfRange, proofs: 1},
		{name: "epoch in force", offset: 5, epoch: 2, records: 3},
		{name: "old epoch", offset: 5, epoch: 1, want: ErrFencedEpoch},
		{name: "old epoch and beyond the end", offset: 99, epoch: 1, want: ErrFencedEpoch},
		{name: "new epoch", offset: 5, epoch: 3, want: ErrUnknownEpoch, proofs: 1},
		{name: "new epoch, and this node lags", offset: 5, epoch: 3, late: true, records: 4, proofs: 1},
		{name: "new epoch, not provable", offset: 5, epoch: 3, unproof: true, want: ErrNotReady, proofs: 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.fence()
			w.ends[keyA] = 5
			w.values("a", "b", "c")
			w.prover.do = func(context.Context) error {
				switch {
				case tc.unproof:
					return failed
				case tc.late:
					w.fence()
					w.values("d")
				}
				return nil
			}
			if tc.append > 0 {
				w.view.AppendEnd = func(partlog.Key) (int64, bool) { return tc.append, true }
			}
			p := want(keyA, tc.offset)
			p.LeaderEpoch = tc.epoch
			results := w.fetch(request(p, p))
			for _, r := range results {
				if !errors.Is(r.Err, tc.want) {
					t.Fatalf("error %v, want %v", r.Err, tc.want)
				}
				if tc.unproof && !errors.Is(r.Err, failed) {
					t.Errorf("error %v does not name the cause", r.Err)
				}
				if r.LogStart != 5 || r.HighWatermark < 8 {
					t.Errorf("result %+v", r)
				}
			}
			if tc.want == nil {
				if got := values(t, results[0]); len(got) != tc.records {
					t.Errorf("records %v, want %d", got, tc.records)
				}
			}
			if n := w.prover.calls.Load(); n != tc.proofs {
				t.Errorf("%d proofs, want %d", n, tc.proofs)
			}
		})
	}
}

func TestProofHasALimit(t *testing.T) {
	w := newWorld(t, nil)
	w.values("a")
	w.prover.do = func(ctx context.Context) error {
		if _, ok := ctx.Deadline(); !ok {
			t.Error("the proof has no deadline")
		}
		return context.DeadlineExceeded
	}
	if r := w.fetchOne(want(keyA, 7)); !errors.Is(r.Err, ErrNotReady) {
		t.Errorf("error %v, want ErrNotReady", r.Err)
	}
}

func TestUnknownIsNeverZero(t *testing.T) {
	w := newWorld(t, nil)
	unopened := partlog.Key{Topic: testTopic, Index: 7}
	for _, tc := range []struct {
		key  partlog.Key
		want error
	}{{noKey, ErrUnknownPartition}, {unopened, ErrNotReady}} {
		r := w.fetchOne(want(tc.key, 0))
		if !errors.Is(r.Err, tc.want) || r.HighWatermark != -1 || r.LogStart != -1 || r.Epoch != -1 {
			t.Errorf("%+v, want %v and nothing known", r, tc.want)
		}
		if at, err := w.reader.Offsets().ListOffset(t.Context(), tc.key, -1, Latest); !errors.Is(err, tc.want) || at != nowhere {
			t.Errorf("latest offset %+v, %v, want %v", at, err, tc.want)
		}
		if end, err := w.reader.Offsets().EpochEnd(t.Context(), tc.key, -1, 1); !errors.Is(err, tc.want) || end.End != -1 {
			t.Errorf("end of epoch %+v, %v, want %v", end, err, tc.want)
		}
	}
	w.away = ErrNotReady
	if r := w.fetchOne(want(keyA, 0)); !errors.Is(r.Err, ErrNotReady) || r.HighWatermark != -1 {
		t.Errorf("journal that is not followed: %+v", r)
	}
}

// A leader without records answers only while it is known to lead, or while that cannot be
// known. It is asked once for each answer, and not if there are records.
func TestAnEmptyAnswerIsThatOfALeader(t *testing.T) {
	w := newWorld(t, nil)
	w.values("x")
	w.commit(map[partlog.Key][][]byte{keyB: nil})
	var asked int
	var answer error
	w.view.Confirm = func(context.Context) error { asked++; return answer }
	for _, test := range []struct {
		name   string
		answer error
		want   error
		offset int64
		asks   int
	}{
		{"leads", nil, nil, 1, 1},
		{"leads no more", fmt.Errorf("%w: fenced", ErrNotLeader), ErrNotLeader, 1, 1},
		{"store away", errors.New("time-out"), nil, 1, 1},
		{"leads no more, has records", ErrNotLeader, nil, 0, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			asked, answer = 0, test.answer
			got := w.fetch(poll(1, time.Millisecond, want(keyA, test.offset), want(keyB, 0)))
			if !errors.Is(got[0].Err, test.want) || asked != test.asks {
				t.Errorf("asked %d times, answered %v", asked, got[0].Err)
			}
			if other := got[1].Err; errors.Is(other, ErrNotLeader) != errors.Is(test.answer, ErrNotLeader) {
				t.Errorf("the empty partition next to it: %v", other)
			}
		})
	}
}

// A Fetch that finds nothing has followers look for records until it is answered, also
// one that does not wait.
func TestAFetchThatFindsNothingHasFollowersLook(t *testing.T) {
	w := newWorld(t, nil)
	w.values("x")
	var begun, ended int
	w.view.Await = func() func() { begun++; return func() { ended++ } }
	for _, test := range []struct {
		offset int64
		wait   time.Duration
		waits  int
	}{{0, long, 0}, {1, time.Millisecond, 1}, {1, 0, 1}} {
		begun, ended = 0, 0
		w.fetch(poll(1, test.wait, want(keyA, test.offset)))
		if begun != test.waits || ended != begun {
			t.Errorf("offset %d, wait %v: %d waits began, %d ended; want %d", test.offset, test.wait, begun, ended, test.waits)
		}
	}
}

// A client that waits is sent away when the leadership ends, and gets the records that
// there are.
func TestALongPollEndsWithTheLeadership(t *testing.T) {
	w := newWorld(t, nil)
	w.values("a")
	var lost atomic.Bool
	w.restart(func(c *Config) {
		c.Journal = func(uint32) (*JournalView, error) {
			return &JournalView{State: w.view.State, Head: &w.prover, Lost: lost.Load()}, nil
		}
	})
	done := w.inBackground(poll(1, long, want(keyA, 1)))
	lost.Store(true)
	w.view.State.Disturb()
	if r := (<-done)[0]; !errors.Is(r.Err, ErrNotLeader) {
		t.Errorf("without records: %+v", r)
	}
	if r := w.fetch(poll(1, long, want(keyA, 0)))[0]; r.Err != nil || len(r.Records) == 0 {
		t.Errorf("with records: %+v", r)
	}
}

// A node of a cluster drops a journal that another one leads. Clients that wait, and those
// that come later, are sent away.
func TestALongPollEndsWhenTheJournalIsDropped(t *testing.T) {
	w := newWorld(t, nil)
	w.values("a")
	var dropped atomic.Bool
	w.restart(func(c *Config) {
		c.Journal = func(uint32) (*JournalView, error) {
			if dropped.Load() {
				return nil, ErrNotLeader
			}
			return &w.view, nil
		}
	})
	done := w.inBackground(poll(1, long, want(keyA, 1)))
	dropped.Store(true)
	w.view.State.Disturb()
	if r := (<-done)[0]; !errors.Is(r.Err, ErrNotLeader) || errors.Is(r.Err, ErrNotReady) {
		t.Errorf("one that waits: %+v", r)
	}
	if r := w.fetch(poll(1, long, want(keyA, 0)))[0]; !errors.Is(r.Err, ErrNotLeader) {
		t.Errorf("one that comes later: %+v", r)
	}
	if _, err := w.reader.Offsets().ListOffset(t.Context(), keyA, -1, Latest); !errors.Is(err, ErrNotLeader) {
		t.Errorf("a question for an offset: %v", err)
	}
}

// A client that is to read elsewhere gets its answer at once, without records: of each read
// that the caller sends away, by where the records are.
func TestReadsAreSentElsewhere(t *testing.T) {
	w := newWorld(t, nil)
	recent := NewRecent(testJournal, 1<<20)
	w.commit(map[partlog.Key][][]byte{keyA: nil, keyB: nil})
	w.values("x")
	w.view.Tail = recent
	var asked []bool
	req := poll(1, long, want(keyA, 0), want(keyB, 0))
	req.Elsewhere = func(k partlog.Key, offset int64, tail bool) int32 {
		asked = append(asked, tail)
		if k == keyA && offset == 0 {
			return 9
		}
		return 0
	}
	got := w.fetch(req)
	if got[0].Elsewhere != 9 || len(got[0].Records) != 0 || got[0].Err != nil || got[0].HighWatermark != 1 {
		t.Errorf("history: %+v", got[0])
	}
	if got[1].Elsewhere != 0 || got[1].Err != nil {
		t.Errorf("a partition that is read here: %+v", got[1])
	}
	if !slices.Equal(asked, []bool{false, true}) {
		t.Errorf("history and the end count as the tail: %v", asked)
	}
	req = poll(1, long, want(keyA, 9))
	req.Elsewhere = func(partlog.Key, int64, bool) int32 { return 9 }
	if got := w.fetch(req)[0]; !errors.Is(got.Err, ErrOutOfRange) || got.Elsewhere != 0 {
		t.Errorf("out of range: %+v", got)
	}
}
