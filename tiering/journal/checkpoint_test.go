package journal

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/segment"
)

// checkpointed is a store with a journal of some data segments, written by a
// Core, and the checkpoint of it.
func checkpointed(t *testing.T, segments int) (*mem.Store, *world, Checkpoint) {
	w := newWorld(t)
	n := w.lead()
	for range segments {
		n.propose()
		n.settle()
	}
	store := mem.New(time.Now, nil)
	for seq, data := range w.objects {
		store.PutNow(segment.JournalKey(testJournal, seq), data)
	}
	chain, history := n.core.Checkpoint()
	return store, w, Checkpoint{Chain: chain, History: history, State: []byte("state")}
}

func write(t *testing.T, store objstore.Store, w *world, c Checkpoint) {
	t.Helper()
	cp := NewCheckpointer(CheckpointerOptions{NewID: w.newID})
	job := CheckpointJob{Chain: c.Chain, History: c.History, State: c.State, Attached: c.Attached}
	cp.Begin(&job)
	if res := cp.Write(t.Context(), store, job); res.Err != nil || res.FloorErr != nil {
		t.Fatal(res.Err, res.FloorErr)
	}
}

func load(t *testing.T, store objstore.Store) *Checkpoint {
	t.Helper()
	c, err := LoadCheckpoint(t.Context(), store, NewChain(testCluster, testJournal, testWindow), nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestReadingGoesOnFromACheckpoint(t *testing.T) {
	store, w, want := checkpointed(t, 3)
	if c := load(t, store); c != nil {
		t.Fatalf("a checkpoint out of nothing: %+v", c)
	}
	want.Attached = []byte("attached")
	write(t, store, w, want)
	c := load(t, store)
	if c == nil || c.Chain != want.Chain || !bytes.Equal(c.State, want.State) || !bytes.Equal(c.Attached, want.Attached) {
		t.Fatalf("loaded %+v, want %+v", c, want)
	}
	cfg := w.config(true)
	cfg.Chain, cfg.History = c.Chain, c.History
	n := w.add(cfg)
	n.settle()
	if !n.led || len(n.log) != testWindow {
		t.Fatalf("led %v, applied %v, want the new fence and fillers alone", n.led, n.log)
	}
	n.propose()
	n.settle()
	if err := w.check(); err != nil {
		t.Fatal(err)
	}
}

func TestHistoryHasCoverageAndLeaderships(t *testing.T) {
	var h History
	a, b := segment.ID{1}, segment.ID{2}
	h.noteWAL(&segment.Header{Kind: segment.KindFence, Epoch: 1, Incarnation: a})
	h.noteWAL(&segment.Header{Kind: segment.KindData, WAL: segment.WALRange{Incarnation: a, From: 1, To: 5}})
	h.noteWAL(&segment.Header{Kind: segment.KindFence, Epoch: 2, Incarnation: b})
	h.noteWAL(&segment.Header{Kind: segment.KindData, WAL: segment.WALRange{Incarnation: a, From: 5, To: 9}})
	if h.Covered(a) != 9 || h.Covered(b) != 0 {
		t.Errorf("covered %d and %d, want 9 and 0", h.Covered(a), h.Covered(b))
	}
	var led []segment.ID
	h.LedSince(1, 3, func(_ uint32, id segment.ID) { led = append(led, id) })
	if len(led) != 1 || led[0] != b {
		t.Errorf("led since epoch 1: %v, want %v", led, b)
	}
	for i := range 2 * maxHistory {
		h.noteWAL(&segment.Header{Kind: segment.KindFence, Epoch: uint32(3 + i), Incarnation: segment.ID{byte(i), byte(i >> 8), 3},
			WAL: segment.WALRange{Incarnation: segment.ID{byte(i), byte(i >> 8), 3}, To: 2}})
	}
	if len(h.leaderships) != maxHistory || len(h.covered) != maxHistory {
		t.Errorf("%d and %d remembered, want %d", len(h.leaderships), len(h.covered), maxHistory)
	}
}

func TestHintThatDoesNotFitIsPassedOver(t *testing.T) {
	store, w, want := checkpointed(t, 3)
	write(t, store, w, want)
	key := segment.CheckpointKey(testJournal, want.Chain.Last)
	good, _ := store.GetNow(key)
	for name, damage := range map[string]func(){
		"damaged": func() {
			b := bytes.Clone(good)
			b[len(b)-1]++
			store.PutNow(key, b)
		},
		"under another name": func() {
			store.DeleteNow(key)
			store.PutNow(segment.CheckpointKey(testJournal, segment.Ref{Seq: 2, Object: w.header(2).Object}), good)
		},
		"of an object that is not there": func() {
			store.DeleteNow(segment.JournalKey(testJournal, want.Chain.Last.Seq))
		},
	} {
		damage()
		if c := load(t, store); c != nil {
			t.Errorf("%s: loaded %+v", name, c.Chain)
		}
		store.PutNow(key, good)
		store.PutNow(segment.JournalKey(testJournal, want.Chain.Last.Seq), w.objects[want.Chain.Last.Seq])
	}
	if load(t, store) == nil {
		t.Error("the good one is not found any more")
	}
}

// hanging is a store that never answers requests about a key.
type hanging struct {
	*mem.Store
	key string
}

func (h hanging) Get(ctx context.Context, key string) ([]byte, error) {
	if key == h.key {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return h.Store.Get(ctx, key)
}

func (h hanging) GetTail(ctx context.Context, key string, n int64) ([]byte, int64, error) {
	if key == h.key {
		<-ctx.Done()
		return nil, 0, ctx.Err()
	}
	return h.Store.GetTail(ctx, key, n)
}

func TestHintThatHangsIsPassedOver(t *testing.T) {
	for name, key := range map[string]func(at segment.Ref) string{
		"checkpoint": func(at segment.Ref) string { return segment.CheckpointKey(testJournal, at) },
		"object":     func(at segment.Ref) string { return segment.JournalKey(testJournal, at.Seq) },
	} {
		synctest.Test(t, func(t *testing.T) {
			store, w, want := checkpointed(t, 3)
			write(t, store, w, want)
			if c := load(t, hanging{store, key(want.Chain.Last)}); c != nil {
				t.Errorf("%s: loaded %+v", name, c.Chain)
			}
		})
	}
}

func TestCheckpointIsDueAfterEnoughObjectsAndNamedByAValidOne(t *testing.T) {
	const every = 256
	cp := NewCheckpointer(CheckpointerOptions{Last: 10})
	chain := Chain{Next: 11 + every, Last: segment.Ref{Seq: 10 + every}}
	if !cp.Due(chain, time.Time{}) {
		t.Error("not due after enough objects")
	}
	chain.Last.Seq--
	if cp.Due(chain, time.Time{}) {
		t.Error("due at a void")
	}
	chain.Next--
	if cp.Due(chain, time.Time{}) {
		t.Error("due too early")
	}
	cp.Hurry()
	if cp.Due(Chain{Next: 11, Last: segment.Ref{Seq: 10}}, time.Time{}) || !cp.Due(Chain{Next: 12, Last: segment.Ref{Seq: 11}}, time.Time{}) {
		t.Error("in a hurry, not due at just the next object")
	}
}

func TestCheckpointsAreApart(t *testing.T) {
	start := time.Unix(1000, 0)
	cp := NewCheckpointer(CheckpointerOptions{Policy: CheckpointPolicy{Every: 10, Bytes: 1000, Pause: 5 * time.Second}})
	at := func(seq uint64) Chain { return Chain{Next: seq + 1, Last: segment.Ref{Seq: seq}} }
	if !cp.Due(at(10), start) {
		t.Fatal("the first one waits")
	}
	cp.Begin(&CheckpointJob{Chain: at(10)})
	cp.busy = false
	for _, c := range []struct {
		seq   uint64
		bytes uint64
		after time.Duration
		due   bool
	}{
		{20, 0, 4 * time.Second, false},
		{20, 0, 5 * time.Second, true},
		{19, 0, time.Hour, false},
		{169, 0, time.Second, false},
		{170, 0, time.Second, true},
		{11, 999, 5 * time.Second, false},
		{11, 1000, 4 * time.Second, false},
		{11, 1000, 5 * time.Second, true},
		{11, 16_000, time.Second, true},
		{10, 16_000, time.Hour, false},
	} {
		cp.bytes = 0
		cp.Applied(&segment.Footer{Partitions: []segment.Partition{{Length: c.bytes / 2}, {Length: c.bytes - c.bytes/2}}})
		if got := cp.Due(at(c.seq), start.Add(c.after)); got != c.due {
			t.Errorf("%+v: due %t", c, got)
		}
	}
}

func sampleCheckpoint() Checkpoint {
	c := Checkpoint{Chain: NewChain(testCluster, testJournal, testWindow), State: []byte("state")}
	c.Chain.Next, c.Chain.Epoch, c.Chain.Last.Seq, c.Chain.Fence.Seq = 9, 2, 8, 1
	c.History.noteWAL(&segment.Header{Kind: segment.KindFence, Epoch: 2, WAL: segment.WALRange{To: 3}})
	return c
}

// plannedCheckpoint is one of a journal in which a floor was planned.
func plannedCheckpoint() Checkpoint {
	c := sampleCheckpoint()
	c.History.floors = FloorPlans{{N: 2, At: segment.Ref{Seq: 5, Object: segment.ID{6}}, Object: segment.ID{7}}}
	return c
}

// TestCheckpointBytes pins the payload: checkpoints in buckets have it.
func TestCheckpointBytes(t *testing.T) {
	const id = "00000000000000000000000000000000"
	head := "0000000000000009" + "00000002" + "0000000000000001" + id + "0000000000000000" + id + "0000000000000008" + id + id +
		"00000001" + "00000002" + id + "00000001" + id + "0000000000000003" + "00000005" + hex.EncodeToString([]byte("state"))
	plain := sampleCheckpoint()
	attached := sampleCheckpoint()
	attached.Attached = []byte("attached")
	planned := plannedCheckpoint()
	for _, c := range []struct {
		checkpoint Checkpoint
		want       string
	}{
		{plain, "01" + head},
		{attached, "02" + head + "00000008" + hex.EncodeToString([]byte("attached"))},
		{planned, "03" + head + "00000000" + "00000001" + "0000000000000002" + "0000000000000005" + "06" + id[2:] + "07" + id[2:]},
	} {
		if got := hex.EncodeToString(c.checkpoint.encode()); got != c.want {
			t.Errorf("got\n%s, want\n%s", got, c.want)
		}
	}
}

func TestCheckpointOfAnotherVersionIsNotRead(t *testing.T) {
	base := NewChain(testCluster, testJournal, testWindow)
	c := sampleCheckpoint()
	b := c.encode()
	for _, version := range []byte{0, 4} {
		b[0] = version
		if _, err := decodeCheckpoint(base, b); !errors.Is(err, segment.ErrUnsupported) {
			t.Errorf("version %d: %v", version, err)
		}
	}
	b[0] = checkpointAttached
	if _, err := decodeCheckpoint(base, append(b, 0, 0, 0, 0)); !errors.Is(err, segment.ErrCorrupt) {
		t.Errorf("empty attachment: %v", err)
	}
}

func FuzzDecodeCheckpoint(f *testing.F) {
	c := sampleCheckpoint()
	f.Add(c.encode())
	c.Attached = []byte("attached")
	f.Add(c.encode())
	planned := plannedCheckpoint()
	f.Add(planned.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := decodeCheckpoint(NewChain(testCluster, testJournal, testWindow), b)
		if err == nil && !bytes.Equal(got.encode(), b) {
			t.Fatalf("%x encodes to %x", b, got.encode())
		}
	})
}
