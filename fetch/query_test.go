package fetch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/varvelog/varve/fetch/cache"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// fleet is a Reader over many partitions of some journals without records.
type fleet struct {
	reader  *Reader
	keys    []partlog.Key
	states  []*partlog.State // by journal
	proofs  []atomic.Int64   // by journal
	settles []atomic.Int64   // by journal
	proving func(ctx context.Context, journal uint32) error
	fails   atomic.Bool // a proof or settlement
}

const fleetTopic = 0x71

func newFleet(t *testing.T, journals, partitions int) *fleet {
	f := &fleet{states: make([]*partlog.State, journals), proofs: make([]atomic.Int64, journals), settles: make([]atomic.Int64, journals)}
	f.proving = func(context.Context, uint32) error { return nil }
	opens := make([][]segment.Entry, journals)
	for i := range partitions {
		k := partlog.Key{Topic: segment.ID{fleetTopic}, Index: int32(i)}
		f.keys = append(f.keys, k)
		opens[i%journals] = append(opens[i%journals], partlog.Open{Key: k, StartOffset: 5}.Encode())
	}
	for id := range f.states {
		f.states[id] = partlog.New(uint32(id))
		h := segment.Header{
			Kind: segment.KindData, Cluster: testCluster, Object: segment.ID{1}, Journal: uint32(id), Epoch: 1, Seq: 2,
			Prev: segment.Ref{Seq: 1, Object: segment.ID{2}}, Confirmed: 1, Node: segment.ID{4}, Incarnation: segment.ID{5},
		}
		if err := f.states[id].Apply(&segment.Footer{Header: h}, opens[id]); err != nil {
			t.Fatal(err)
		}
	}
	w := newWorld(t, nil)
	c, err := cache.New(cache.Config{Store: w.store, Bytes: cache.MinBytes, FooterBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	f.reader, err = NewReader(Config{
		Cluster: testCluster, Cache: c, Journal: f.view,
		Locate: func(k partlog.Key) (uint32, bool) { return uint32(int(k.Index) % journals), true },
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fleet) view(id uint32) (*JournalView, error) {
	settle := func(context.Context) error {
		f.settles[id].Add(1)
		if f.fails.Load() {
			return errors.New("no store")
		}
		return nil
	}
	return &JournalView{State: f.states[id], Head: fleetHead{f, id}, Settle: settle}, nil
}

type fleetHead struct {
	*fleet
	id uint32
}

func (h fleetHead) Prove(ctx context.Context) error {
	h.proofs[h.id].Add(1)
	if h.fails.Load() {
		return errors.New("no store")
	}
	return h.proving(ctx, h.id)
}

// asked returns how often each journal was proved and settled since the last call.
func (f *fleet) asked() (proofs, settles []int64) {
	for id := range f.states {
		proofs = append(proofs, f.proofs[id].Swap(0))
		settles = append(settles, f.settles[id].Swap(0))
	}
	return proofs, settles
}

// each asks for all partitions in one request, 16 at a time, and returns the errors.
func (f *fleet) each(ask func(o Offsets, k partlog.Key) error) []error {
	o := f.reader.Offsets()
	errs := make([]error, len(f.keys))
	parallel(16, len(f.keys), func(i int) { errs[i] = ask(o, f.keys[i]) })
	return errs
}

func listing(ctx context.Context, timestamp int64) func(Offsets, partlog.Key) error {
	return func(o Offsets, k partlog.Key) error {
		at, err := o.ListOffset(ctx, k, -1, timestamp)
		if want := int64(5); err == nil && timestamp < 0 && timestamp != MaxTimestamp && at.Offset != want {
			return fmt.Errorf("offset %d, want %d", at.Offset, want)
		}
		return err
	}
}

func TestARequestForOffsetsProvesEachJournalOnce(t *testing.T) {
	for name, tc := range map[string]struct {
		ask     func(Offsets, partlog.Key) error
		settles int64
	}{
		"latest":             {listing(t.Context(), Latest), 1},
		"earliest":           {listing(t.Context(), Earliest), 0},
		"greatest timestamp": {listing(t.Context(), MaxTimestamp), 1},
		"time":               {listing(t.Context(), 7), 1},
		"end of the epoch": {func(o Offsets, k partlog.Key) error {
			_, err := o.EpochEnd(t.Context(), k, -1, 1)
			return err
		}, 1},
		"newer epoch": {func(o Offsets, k partlog.Key) error {
			if _, err := o.ListOffset(t.Context(), k, 9, 7); !errors.Is(err, ErrUnknownEpoch) {
				return fmt.Errorf("error %v, want ErrUnknownEpoch", err)
			}
			return nil
		}, 0},
	} {
		for journals := 1; journals <= 2; journals++ {
			f := newFleet(t, journals, 1000)
			for round := range 2 { // another request rests on proofs of its own
				if err := errors.Join(f.each(tc.ask)...); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				proofs, settles := f.asked()
				for id := range proofs {
					if proofs[id] != 1 || settles[id] != tc.settles {
						t.Errorf("%s, request %d, journal %d of %d: %d proofs and %d settlements, want 1 and %d",
							name, round, id, journals, proofs[id], settles[id], tc.settles)
					}
				}
			}
		}
	}
}

// TestAFailedProofHoldsForAllPartitions: the others do not wait for one each.
func TestAFailedProofHoldsForAllPartitions(t *testing.T) {
	f := newFleet(t, 2, 100)
	f.fails.Store(true)
	for _, timestamp := range []int64{Latest, Earliest} {
		for i, err := range f.each(listing(t.Context(), timestamp)) {
			if !errors.Is(err, ErrNotReady) {
				t.Fatalf("timestamp %d, partition %d: error %v, want ErrNotReady", timestamp, i, err)
			}
		}
		proofs, settles := f.asked()
		if proofs[0]+settles[0] != 1 || proofs[1]+settles[1] != 1 {
			t.Errorf("timestamp %d: %d proofs and %d settlements, want one question for each journal", timestamp, proofs, settles)
		}
	}
}

// TestAProofThatIsGivenUpIsAskedForAgain: the partition that asked first has less time
// than the others.
func TestAProofThatIsGivenUpIsAskedForAgain(t *testing.T) {
	f := newFleet(t, 1, 2)
	asked := make(chan struct{})
	f.proving = func(ctx context.Context, _ uint32) error {
		if f.proofs[0].Load() > 1 {
			return nil
		}
		close(asked)
		<-ctx.Done()
		return ctx.Err()
	}
	o := f.reader.Offsets()
	short, giveUp := context.WithCancel(t.Context())
	var both sync.WaitGroup
	both.Go(func() {
		if err := listing(short, Earliest)(o, f.keys[0]); !errors.Is(err, ErrNotReady) {
			t.Errorf("the one that gave up: error %v", err)
		}
	})
	<-asked
	both.Go(func() {
		if err := listing(t.Context(), Earliest)(o, f.keys[1]); err != nil {
			t.Errorf("the one with time: %v", err)
		}
	})
	time.Sleep(time.Millisecond) // so that it usually waits
	giveUp()
	both.Wait()
	if n := f.proofs[0].Load(); n != 2 {
		t.Errorf("%d proofs, want 2", n)
	}
}

// TestAProofIsOfTheStateThatIsServed: one of a journal that was replaced since says
// nothing about the state that took its place.
func TestAProofIsOfTheStateThatIsServed(t *testing.T) {
	w := newWorld(t, nil)
	w.values("a", "b")
	q := w.reader.newFetch(request(want(keyA, 9)))
	q.look(t.Context())
	if q.parts[0].result.Err != ErrOutOfRange || w.prover.calls.Load() != 1 {
		t.Fatalf("%+v after %d proofs", q.parts[0].result, w.prover.calls.Load())
	}
	w.view = JournalView{State: partlog.New(testJournal), Head: &w.prover}
	w.seq, w.opened, w.ends = 1, map[partlog.Key]bool{}, map[partlog.Key]int64{}
	w.values("a", "b") // as far as the new one has read
	w.prover.do = func(context.Context) error {
		w.values("c", "d", "e", "f", "g", "h", "i")
		return nil
	}
	q.look(t.Context())
	if err := q.parts[0].result.Err; err != nil || w.prover.calls.Load() != 2 {
		t.Errorf("error %v after %d proofs, want none after one more", err, w.prover.calls.Load())
	}
}

// TestAMissingObjectIsJudgedByALaterProof: another node deletes the object after the
// request's first proof.
func TestAMissingObjectIsJudgedByALaterProof(t *testing.T) {
	w := newWorld(t, nil)
	w.commit(map[partlog.Key][][]byte{keyA: {batchOf(1, "a")}})
	key := segment.JournalKey(testJournal, w.seq)
	w.values("b")
	o := w.reader.Offsets()
	if _, err := o.ListOffset(t.Context(), keyA, -1, Latest); err != nil {
		t.Fatal(err)
	}
	w.store.DeleteNow(key)
	w.prover.do = func(context.Context) error { w.deleteBefore(keyA, 1); return nil }
	if at, err := o.ListOffset(t.Context(), keyA, -1, 0); err != nil || at.Offset != 1 {
		t.Errorf("%+v, %v, want the first record that is left", at, err)
	}
}
