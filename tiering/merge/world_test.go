package merge

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

var (
	testCluster = segment.ID{1}
	testNode    = segment.ID{3}
)

// world is a journal with its bucket, which a Merger works on in virtual time.
type world struct {
	t      testing.TB
	store  *mem.Store
	fault  func(mem.Call) mem.Action
	state  *partlog.State
	disk   *memDisk
	now    time.Time
	seq    uint64
	epoch  uint32
	ids    uint64
	prev   segment.Ref
	rng    *rand.Rand
	opt    Options
	merger *Merger

	ends    map[partlog.Key]int64
	truth   map[partlog.Key][]string
	topics  map[segment.ID]Topic
	carried []segment.Entry
	damage  []string
	onCarry func(entries []segment.Entry) error // before they are applied
}

func (w *world) id() (id segment.ID) {
	w.ids++
	id[0] = 0xee
	binary.BigEndian.PutUint64(id[8:], w.ids)
	return id
}

func (w *world) Now() time.Time { return w.now }
func (w *world) Sleep(ctx context.Context, d time.Duration) error {
	w.now = w.now.Add(d)
	return ctx.Err()
}

// newWorld is a journal with open partitions of one topic each.
func newWorld(t testing.TB, partitions int, seed uint64) *world {
	w := &world{
		t: t, state: partlog.New(1), disk: newMemDisk(), now: time.UnixMilli(1e12), rng: rand.New(rand.NewPCG(seed, 0)),
		ends: map[partlog.Key]int64{}, truth: map[partlog.Key][]string{}, topics: map[segment.ID]Topic{},
	}
	w.store = mem.New(w.Now, func(c mem.Call) mem.Action {
		if w.fault != nil {
			return w.fault(c)
		}
		return mem.Action{}
	})
	w.fence()
	var entries []segment.Entry
	for i := range partitions {
		k := partlog.Key{Topic: w.id(), Index: int32(i % 3)}
		w.topics[k.Topic] = Topic{Name: fmt.Sprintf("topic-%d", i), Class: "keep"}
		w.ends[k] = 0
		entries = append(entries, partlog.Open{Key: k}.Encode())
	}
	w.object(segment.KindData, entries, nil)
	w.opt = Options{
		Config: Config{
			JobBytes: 64 << 10, DueBytes: 4 << 10, OwnBytes: 16 << 10, SmallBytes: 2 << 10, ObjectBytes: 60 << 10, TidyAge: time.Hour, TidyCount: 8,
		},
		Cluster: testCluster, Journal: 1, Node: testNode, Incarnation: segment.ID{4}, Store: w.store, State: w.state,
		Carry:  w.carry,
		Memory: func(segment.Name) ([]byte, func(), bool) { return nil, nil, false },
		Page: func(context.Context, *partlog.Page) (*partlog.PageExtents, error) {
			return nil, errors.New("no pages here")
		},
		Topic: func(id segment.ID) (Topic, bool) { t, ok := w.topics[id]; return t, ok },
		Disk:  w.disk, Clock: w, NewID: w.id, Sequential: true,
		OnDamage: func(k partlog.Key, e partlog.Extent, err error) {
			if err != nil {
				w.damage = append(w.damage, e.Object.Key())
			}
		},
	}
	return w
}

// lead begins a leadership: a fence, and a new Merger.
func (w *world) lead() {
	w.t.Helper()
	w.fence()
	var err error
	if w.merger, err = NewMerger(w.opt); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) fence() {
	w.epoch++
	w.object(segment.KindFence, nil, nil)
}

// object writes and applies the next object of the journal.
func (w *world) object(kind segment.Kind, entries []segment.Entry, parts []segment.Records) {
	w.t.Helper()
	w.seq++
	h := segment.Header{
		Kind: kind, Cluster: testCluster, Object: w.id(), Journal: 1, Epoch: w.epoch, Seq: w.seq, Prev: w.prev,
		Node: testNode, Incarnation: segment.ID{4}, BuiltMs: w.now.UnixMilli(),
	}
	b, footer, err := segment.Build(h, entries, parts)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.store.CreateNow(segment.JournalKey(1, w.seq), b); err != nil {
		w.t.Fatal(err)
	}
	if err := w.state.Apply(footer, entries); err != nil {
		w.t.Fatal(err)
	}
	w.prev = segment.Ref{Seq: w.seq, Object: h.Object}
}

// carry is Options.Carry.
func (w *world) carry(ctx context.Context, entries []segment.Entry) error {
	if w.onCarry != nil {
		if err := w.onCarry(entries); err != nil {
			return err
		}
	}
	w.carried = append(w.carried, entries...)
	w.object(segment.KindData, entries, nil)
	return nil
}

func (w *world) keys() []partlog.Key {
	keys := make([]partlog.Key, 0, len(w.ends))
	for k := range w.ends {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, partlog.Key.Compare)
	return keys
}

// produce writes an object with some batches of some partitions.
func (w *world) produce(share float64, batches, size int) {
	w.t.Helper()
	var keys []partlog.Key
	for _, k := range w.keys() {
		if w.rng.Float64() < share {
			keys = append(keys, k)
		}
	}
	w.produceTo(batches, size, keys...)
}

// produceTo is produce with some batches of each of the partitions.
func (w *world) produceTo(batches, size int, keys ...partlog.Key) {
	w.t.Helper()
	var parts []segment.Records
	for _, k := range keys {
		p := segment.Records{Partition: segment.Partition{Topic: k.Topic, Index: k.Index, LeaderEpoch: int32(w.epoch)}}
		for range 1 + w.rng.IntN(batches) {
			p.Batches = append(p.Batches, w.batch(k, size))
		}
		parts = append(parts, p)
	}
	w.object(segment.KindData, nil, parts)
}

// batch is the next batch of a partition.
func (w *world) batch(k partlog.Key, size int) []byte {
	spec := batchtest.Spec{BaseOffset: w.ends[k], LeaderEpoch: int32(w.epoch), BaseTimestamp: w.now.UnixMilli(), Codec: batch.Codec(w.rng.IntN(5))}
	for range 1 + w.rng.IntN(4) {
		r := batchtest.Record{Timestamp: w.now.UnixMilli() - w.rng.Int64N(1000), Value: make([]byte, w.rng.IntN(size)+1)}
		for i := range r.Value {
			r.Value[i] = byte(w.rng.Uint32())
		}
		if w.rng.IntN(2) == 0 {
			r.Key = fmt.Append(nil, w.rng.IntN(100))
			r.Headers = []batchtest.Header{{Key: "h", Value: []byte("v")}, {Key: "null"}}
		}
		spec.Records = append(spec.Records, r)
	}
	b := batchtest.Build(spec)
	switch w.rng.IntN(8) { // as old versions stored them
	case 0:
		batch.SetMaxTimestamp(b, -1)
	case 1:
		batch.SetMaxTimestamp(b, spec.BaseTimestamp)
	case 2:
		spec.BaseTimestamp -= 2000
		b = batchtest.Build(spec)
		batch.SetMaxTimestamp(b, spec.BaseTimestamp+1)
	}
	w.truth[k] = append(w.truth[k], recordsOf(w.t, b)...)
	w.ends[k] += int64(len(spec.Records))
	return b
}

// recordsOf are the records of batches back to back, as texts.
func recordsOf(t testing.TB, b []byte) (texts []string) {
	t.Helper()
	err := batch.Walk(b, func(pos int, h batch.Header) error {
		whole := b[pos : pos+h.Size()]
		if !batch.CheckCRC(whole, h) {
			return errors.New("wrong CRC")
		}
		return batch.Records(whole, 1<<20, func(r batch.Record) bool {
			text := fmt.Sprintf("%d %d %q %q", r.Offset, r.Timestamp, r.Key, r.Value)
			for k, v := range r.Headers.All() {
				text += fmt.Sprintf(" %q=%q", k, v)
			}
			texts = append(texts, text)
			return true
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return texts
}

// deleteBefore moves the start of a partition.
func (w *world) deleteBefore(k partlog.Key, before int64) {
	w.object(segment.KindData, []segment.Entry{partlog.DeleteRecords{Key: k, Before: before}.Encode()}, nil)
}

// work runs the Merger until it has nothing more to do.
func (w *world) work() {
	w.t.Helper()
	for range 200 {
		again, err := w.merger.Run(w.t.Context())
		if err != nil {
			w.t.Fatal(err)
		}
		if !again {
			return
		}
	}
	w.t.Fatal("no end of jobs")
}

// extents are those of a partition from its start on.
func (w *world) extents(k partlog.Key) []partlog.Extent {
	w.t.Helper()
	v, _ := w.state.Lookup(k)
	if v.Start == v.End {
		return nil
	}
	extents, page, _, _ := w.state.Find(k, v.Start, 1<<30)
	if page != nil {
		w.t.Fatal("a page")
	}
	return extents
}

// check checks that the bucket has the records of each partition, where the state says.
// It returns the number of extents in journal objects, and in merged ones.
func (w *world) check() (journal, merged int) {
	w.t.Helper()
	objects := map[segment.Name][]byte{}
	for _, k := range w.keys() {
		v, _ := w.state.Lookup(k)
		var got []string
		for _, e := range w.extents(k) {
			if e.Object.Kind == segment.KindMerged {
				merged++
			} else {
				journal++
			}
			if objects[e.Object] == nil {
				objects[e.Object], _ = w.store.GetNow(e.Object.Key())
			}
			b := objects[e.Object]
			if uint64(len(b)) < uint64(e.Position)+uint64(e.Length) {
				w.t.Fatalf("offsets %d to %d of %v: %s has %d bytes", e.Base, e.Last, k, e.Object.Key(), len(b))
			}
			got = append(got, recordsOf(w.t, b[e.Position:][:e.Length])...)
		}
		for len(got) > 0 && offsetOf(got[0]) < v.Start {
			got = got[1:]
		}
		if want := w.truth[k][min(v.Start, int64(len(w.truth[k]))):]; !slices.Equal(got, want) {
			w.t.Fatalf("partition %v: %d records from offset %d on, want %d", k, len(got), v.Start, len(want))
		}
	}
	return journal, merged
}

func offsetOf(text string) (offset int64) {
	_, _ = fmt.Sscan(text, &offset)
	return offset
}

// memDisk is a Disk in memory that takes so many bytes.
type memDisk struct {
	files map[string]*memFile
	room  int
	most  int // bytes at once
	used  int
}

var errNoSpace = errors.New("no space left on device")

func newMemDisk() *memDisk { return &memDisk{files: map[string]*memFile{}, room: math.MaxInt} }

func (d *memDisk) Empty() error {
	d.files, d.used = map[string]*memFile{}, 0
	return nil
}

func (d *memDisk) Create(name string) (File, error) {
	f := &memFile{disk: d, name: name}
	d.files[name] = f
	return f, nil
}

type memFile struct {
	disk *memDisk
	name string
	data []byte
}

func (f *memFile) Write(b []byte) (int, error) {
	if f.disk.used+len(b) > f.disk.room {
		return 0, errNoSpace
	}
	f.disk.used += len(b)
	f.disk.most = max(f.disk.most, f.disk.used)
	f.data = append(f.data, b...)
	return len(b), nil
}

func (f *memFile) ReadAt(b []byte, at int64) (int, error) { return copy(b, f.data[at:]), nil }

func (f *memFile) Remove() error {
	if f.disk.files[f.name] == f {
		delete(f.disk.files, f.name)
		f.disk.used -= len(f.data)
	}
	return nil
}

var _ objstore.Store = (*mem.Store)(nil)
