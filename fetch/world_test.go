package fetch

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/varvelog/varve/fetch/cache"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/buffer"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testJournal = 3

var (
	testCluster = segment.ID{0xc1}
	testTopic   = segment.ID{0x70}
	keyA        = partlog.Key{Topic: testTopic, Index: 0}
	keyB        = partlog.Key{Topic: testTopic, Index: 1}
	noKey       = partlog.Key{Topic: segment.ID{0xff}}
)

// inPlace is a store that reads the objects of a world's journal without copying
// them, and the others from its store.
type inPlace struct {
	objstore.Store
	w *world
}

func (s inPlace) object(key string) ([]byte, error) {
	var journal uint32
	var seq uint64
	if _, err := fmt.Sscanf(key, "journals/%d/%d", &journal, &seq); err != nil || s.w.objects[seq] == nil {
		return nil, fmt.Errorf("get %q: %w", key, objstore.ErrNotFound)
	}
	return s.w.objects[seq], nil
}

func (s inPlace) GetRange(ctx context.Context, key string, off int64, dst []byte) error {
	if strings.Contains(key, "/index/") {
		return s.w.store.GetRange(ctx, key, off, dst)
	}
	if b, ok := s.w.others[key]; ok {
		s.w.gets.Add(1)
		copy(dst, b[off:off+int64(len(dst))])
		return nil
	}
	b, err := s.object(key)
	if err != nil {
		return err
	}
	copy(dst, b[off:off+int64(len(dst))])
	return nil
}

func (s inPlace) GetTail(_ context.Context, key string, n int64) ([]byte, int64, error) {
	b, err := s.object(key)
	return b[max(0, len(b)-int(n)):], int64(len(b)), err
}

// world is a journal with a leader that writes it and a Reader that reads it.
type world struct {
	tb     testing.TB
	store  *mem.Store
	fault  atomic.Pointer[func(mem.Call) mem.Action]
	gets   atomic.Int64
	reads  objstore.Store // of the Reader: store, unless a test changes it
	view   JournalView
	away   error          // the node has no such journal
	ahead  *partlog.State // the leader's, if view has that of a follower
	behind []applied      // objects that the follower has not applied
	prover prover
	reader *Reader
	pool   *buffer.Pool // of the reader and its cache
	far    bool         // all reads are far from the tail, from the next restart on
	memory int64        // of the cache, likewise
	clock  atomic.Int64 // of verdicts, nanoseconds

	seq     uint64
	epoch   uint32
	pages   int // index objects
	opened  map[partlog.Key]bool
	objects map[uint64][]byte
	others  map[string][]byte        // merged segments, by key
	log     map[partlog.Key][][]byte // all batches, as they must be read back
	ends    map[partlog.Key]int64
}

type prover struct {
	calls atomic.Int64
	do    func(context.Context) error // nil: the head is proved, nothing is new
}

func (p *prover) Prove(ctx context.Context) error {
	p.calls.Add(1)
	if p.do == nil {
		return nil
	}
	return p.do(ctx)
}

func newWorld(tb testing.TB, change func(*Config), reads ...func(*world) objstore.Store) *world {
	tb.Helper()
	w := &world{
		tb: tb, seq: 1, epoch: 1,
		opened:  map[partlog.Key]bool{},
		objects: map[uint64][]byte{},
		others:  map[string][]byte{},
		log:     map[partlog.Key][][]byte{},
		ends:    map[partlog.Key]int64{},
		memory:  64 << 20,
	}
	w.store = mem.New(nil, func(c mem.Call) mem.Action {
		w.gets.Add(1)
		if f := w.fault.Load(); f != nil {
			return (*f)(c)
		}
		return mem.Action{}
	})
	w.view = JournalView{State: partlog.New(testJournal), Head: &w.prover}
	w.reads = w.store
	for _, reads := range reads {
		w.reads = reads(w)
	}
	w.restart(change)
	return w
}

// newInPlaceWorld is a world for large objects: its Reader does not use store.
func newInPlaceWorld(tb testing.TB) *world {
	return newWorld(tb, nil, func(w *world) objstore.Store { return inPlace{w: w} })
}

// restart gives the world a Reader with an empty cache.
func (w *world) restart(change func(*Config)) {
	w.tb.Helper()
	w.pool = buffer.NewPool(16 << 20)
	c, err := cache.New(cache.Config{Store: w.reads, Bytes: w.memory, FooterBytes: 1 << 20, Pool: w.pool})
	if err != nil {
		w.tb.Fatal(err)
	}
	w.tb.Cleanup(c.Close)
	cfg := Config{
		Cluster: testCluster,
		Cache:   c,
		Pool:    w.pool,
		Journal: func(id uint32) (*JournalView, error) { return &w.view, w.away },
		Now:     func() time.Time { return time.Unix(0, w.clock.Load()) },
		Locate:  func(k partlog.Key) (uint32, bool) { return testJournal, k.Topic == testTopic },
	}
	if change != nil {
		change(&cfg)
	}
	if w.reader, err = NewReader(cfg); err != nil {
		w.tb.Fatal(err)
	}
	w.reader.errorWait = 0
	if w.far {
		w.reader.tailObjects = 0
	}
}

// inMemory is an object as a leader keeps it.
func inMemory(object []byte) *buffer.Buffer {
	var none *buffer.Pool
	b := none.Get(len(object))
	copy(b.Bytes(), object)
	return b
}

// forgive lets the time of all verdicts be over.
func (w *world) forgive() { w.clock.Add(int64(2 * lastVerdict)) }

func (w *world) header(kind segment.Kind) segment.Header {
	w.seq++
	return segment.Header{
		Kind: kind, Cluster: testCluster, Object: segment.ID{1, byte(w.seq >> 8), byte(w.seq)},
		Journal: testJournal, Epoch: w.epoch, Seq: w.seq,
		Prev: segment.Ref{Seq: w.seq - 1, Object: segment.ID{2}}, Confirmed: w.seq - 1,
		Node: segment.ID{4}, Incarnation: segment.ID{5}, BuiltMs: int64(w.seq),
	}
}

// build lays out the next object with these batches, and opens partitions that
// are new.
func (w *world) build(batches map[partlog.Key][][]byte) ([]byte, *segment.Footer, []segment.Entry) {
	w.tb.Helper()
	h := w.header(segment.KindData)
	var entries []segment.Entry
	var parts []segment.Records
	for k, bs := range batches {
		if !w.opened[k] {
			w.opened[k] = true
			entries = append(entries, partlog.Open{Key: k, StartOffset: w.ends[k]}.Encode())
		}
		r := segment.Records{}
		r.Topic, r.Index, r.LeaderEpoch = k.Topic, k.Index, int32(w.epoch)
		for _, b := range bs {
			b = bytes.Clone(b)
			batch.Patch(b, w.ends[k], int32(w.epoch))
			bh, err := batch.Parse(b)
			if err != nil {
				w.tb.Fatal(err)
			}
			w.ends[k] = bh.LastOffset() + 1
			r.Batches = append(r.Batches, b)
		}
		if len(r.Batches) > 0 {
			parts = append(parts, r)
		}
	}
	b, f, err := segment.Build(h, entries, parts)
	if err != nil {
		w.tb.Fatal(err)
	}
	for _, r := range parts {
		k := partlog.Key{Topic: r.Topic, Index: r.Index}
		w.log[k] = append(w.log[k], r.Batches...)
	}
	return b, f, entries
}

// commit stores the next object and applies it, and returns its seq.
func (w *world) commit(batches map[partlog.Key][][]byte) uint64 {
	w.tb.Helper()
	b, f, entries := w.build(batches)
	w.store.PutNow(segment.JournalKey(testJournal, w.seq), b)
	w.objects[w.seq] = b
	w.apply(f, entries)
	return w.seq
}

// applied is an object as a state takes it.
type applied struct {
	footer  *segment.Footer
	entries []segment.Entry
}

func (w *world) apply(f *segment.Footer, entries []segment.Entry) {
	w.tb.Helper()
	if err := w.leader().Apply(f, entries); err != nil {
		w.tb.Fatal(err)
	}
	if w.ahead != nil {
		w.behind = append(w.behind, applied{f, entries})
	}
}

// leader is the leader's state.
func (w *world) leader() *partlog.State {
	if w.ahead != nil {
		return w.ahead
	}
	return w.view.State
}

// follow gives the readers the state of a follower, which catches up when the head is
// proved.
func (w *world) follow() {
	state, err := partlog.Decode(testJournal, w.view.State.Encode(nil, segment.ID{}, nil), nil)
	if err != nil {
		w.tb.Fatal(err)
	}
	w.ahead, w.view.State = w.view.State, state
	w.prover.do = func(context.Context) error { w.catchUp(len(w.behind)); return nil }
}

// catchUp has the follower apply n objects.
func (w *world) catchUp(n int) {
	w.tb.Helper()
	for _, a := range w.behind[:n] {
		if err := w.view.State.Apply(a.footer, a.entries); err != nil {
			w.tb.Fatal(err)
		}
	}
	w.behind = w.behind[n:]
}

// page moves the chunks of at least minRefs refs to an index object, as the leader does,
// and goes on from the checkpoint that names it. It returns the object's key.
func (w *world) page(minRefs int) string {
	w.tb.Helper()
	ix, ok := w.view.State.PlanIndex(minRefs)
	if !ok {
		return ""
	}
	id := segment.NewID()
	b, err := segment.EncodeBlob(segment.Blob{
		Kind: segment.KindIndex, Cluster: testCluster, Object: id, Journal: testJournal,
		Seq: w.seq, Payload: ix.Payload(),
	})
	if err != nil {
		w.tb.Fatal(err)
	}
	name := ix.Name(id)
	key := name.Key()
	w.store.PutNow(key, b)
	if name.Seq > 0 {
		name.Copy = true
		w.store.PutNow(name.Key(), b)
	}
	w.pages++
	w.view.State, err = partlog.Decode(testJournal, w.view.State.Encode(ix, id, nil), nil)
	if err != nil {
		w.tb.Fatal(err)
	}
	return key
}

// deleteBefore deletes the records of a partition before an offset.
func (w *world) deleteBefore(k partlog.Key, offset int64) {
	w.tb.Helper()
	w.apply(&segment.Footer{Header: w.header(segment.KindData)}, []segment.Entry{partlog.DeleteRecords{Key: k, Before: offset}.Encode()})
}

// fence starts the next epoch.
func (w *world) fence() {
	w.tb.Helper()
	w.epoch++
	w.apply(&segment.Footer{Header: w.header(segment.KindFence)}, nil)
}

// values commits one object with one batch of partition A.
func (w *world) values(values ...string) uint64 {
	w.tb.Helper()
	return w.commit(map[partlog.Key][][]byte{keyA: {batchOf(1, values...)}})
}

func batchOf(ts int64, values ...string) []byte {
	return batchtest.Build(batchtest.Spec{Records: batchtest.Values(ts, values...)})
}

func (w *world) faults(f func(mem.Call) mem.Action) {
	if f == nil {
		w.fault.Store(nil)
		return
	}
	w.fault.Store(&f)
}

// want is a plain question for all of a partition from an offset on.
func want(k partlog.Key, offset int64) Partition {
	return Partition{Key: k, Offset: offset, MaxBytes: 1 << 20, LeaderEpoch: -1}
}

func request(parts ...Partition) Request {
	return Request{Partitions: parts, MinBytes: 1, MaxBytes: 50 << 20}
}

// fetch asks, releases, and returns copies of the results.
func (w *world) fetch(req Request) []Result {
	w.tb.Helper()
	r := w.reader.Fetch(w.tb.Context(), req)
	for i := range r.Results {
		for n, b := range r.Results[i].Records {
			r.Results[i].Records[n] = bytes.Clone(b)
		}
	}
	r.Release()
	return r.Results
}

// hold asks, and keeps the memory of the answer to the end of the test.
func (w *world) hold(p Partition) Result {
	w.tb.Helper()
	r := w.reader.Fetch(w.tb.Context(), request(p))
	w.tb.Cleanup(r.Release)
	return r.Results[0]
}

func (w *world) fetchOne(p Partition) Result { return w.fetch(request(p))[0] }

// values are those of the records in a result.
func values(t testing.TB, r Result) []string {
	t.Helper()
	if r.Err != nil {
		t.Fatalf("result has error %v", r.Err)
	}
	var out []string
	b := bytes.Join(r.Records, nil)
	err := batch.Walk(b, func(pos int, _ batch.Header) error {
		return batch.Records(b[pos:], 1<<20, func(r batch.Record) bool {
			out = append(out, fmt.Sprintf("%d=%s", r.Offset, r.Value))
			return true
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
