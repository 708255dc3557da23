package verify_test

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/verify"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	cluster = segment.ID{1}
	events  = segment.ID{0xe1}
	clicks  = segment.ID{0xc1}
)

const window = 4

// catalog stands for the metadata: one data journal, two topics in it.
type catalog struct {
	applied  int
	journals []uint32
	err      error
}

func newCatalog() *catalog { return &catalog{journals: []uint32{1}} }

func (c *catalog) Apply(*segment.Footer, []segment.Entry) error {
	c.applied++
	return c.err
}

func (c *catalog) Journals() []uint32 { return c.journals }

func (c *catalog) Topic(name string) (segment.ID, []uint32, bool) {
	switch name {
	case "events":
		return events, []uint32{1, 1}, true
	case "clicks":
		return clicks, []uint32{1}, true
	}
	return segment.ID{}, nil, false
}

func (c *catalog) Is([]byte) error { return nil }

func (c *catalog) Restore([]byte) error { return nil }

func (c *catalog) Name(id segment.ID) string {
	switch id {
	case events:
		return "events"
	case clicks:
		return "clicks"
	}
	return ""
}

// writer writes a journal as leaders do, without their timing.
type writer struct {
	t     *testing.T
	store *mem.Store
	chain journal.Chain
	ids   int
	ends  map[partlog.Key]int64
	seqs  map[int64]int32 // next sequence by producer
}

func newBucket(t *testing.T) *mem.Store {
	store := mem.New(nil, nil)
	b, err := segment.EncodeCluster(segment.Cluster{ID: cluster, Format: 1, Window: window, CreatedMs: 1})
	if err != nil {
		t.Fatal(err)
	}
	store.PutNow(segment.ClusterKey, b)
	return store
}

func newWriter(t *testing.T, store *mem.Store, id uint32) *writer {
	return &writer{
		t: t, store: store, chain: journal.NewChain(cluster, id, window),
		ends: map[partlog.Key]int64{}, seqs: map[int64]int32{},
	}
}

func (w *writer) header(kind segment.Kind) segment.Header {
	w.ids++
	h := segment.Header{
		Kind: kind, Cluster: cluster, Object: segment.ID{7, byte(w.chain.Journal), byte(w.ids >> 8), byte(w.ids)},
		Journal: w.chain.Journal, Epoch: w.chain.Epoch, Seq: w.chain.Next, Confirmed: w.chain.Next - 1,
		Node: segment.ID{3}, Incarnation: segment.ID{4}, BuiltMs: 1000,
	}
	switch kind {
	case segment.KindFence:
		h.Epoch, h.Prev = w.chain.Epoch+1, w.chain.Last
	case segment.KindFiller:
		h.Prev, h.Confirmed = w.chain.Fence, w.chain.Fence.Seq
	default:
		h.Prev = w.chain.Tail
	}
	return h
}

// put stores an object at the end of the journal and returns its key.
func (w *writer) put(h segment.Header, entries []segment.Entry, parts []segment.Records) string {
	w.t.Helper()
	verdict, err := w.chain.Check(&h)
	if err != nil {
		w.t.Fatal(err)
	}
	b, _, err := segment.Build(h, entries, parts)
	if err != nil {
		w.t.Fatal(err)
	}
	key := segment.JournalKey(h.Journal, h.Seq)
	if err := w.store.CreateNow(key, b); err != nil {
		w.t.Fatal(err)
	}
	w.chain.Advance(&h, verdict)
	return key
}

// lead fences and settles. voids are data of the old leader that took places in
// the window.
func (w *writer) lead(voids int) {
	w.t.Helper()
	late := w.header(segment.KindData)
	w.put(w.header(segment.KindFence), nil, nil)
	for range voids {
		w.ids++
		late.Seq, late.Object[15] = w.chain.Next, byte(w.ids)
		late.Prev = segment.Ref{Seq: late.Seq - 1, Object: segment.ID{99}}
		late.Confirmed = w.chain.Fence.Seq - 1
		w.put(late, nil, []segment.Records{w.records(partlog.Key{Topic: events}, 0, batchtest.Spec{})})
	}
	for w.chain.Next < w.chain.Fence.Seq+window {
		w.put(w.header(segment.KindFiller), nil, nil)
	}
}

func (w *writer) open(keys ...partlog.Key) string {
	w.t.Helper()
	var entries []segment.Entry
	for _, k := range keys {
		entries = append(entries, partlog.Open{Key: k, EpochBase: 10}.Encode())
	}
	return w.put(w.header(segment.KindData), entries, nil)
}

// records are batches of a partition from an offset on.
func (w *writer) records(k partlog.Key, base int64, specs ...batchtest.Spec) segment.Records {
	r := segment.Records{Partition: segment.Partition{Topic: k.Topic, Index: k.Index, LeaderEpoch: int32(w.chain.Epoch) + 10}}
	var producers partlog.Producers
	for _, spec := range specs {
		spec.BaseOffset, spec.LeaderEpoch = base, r.LeaderEpoch
		if len(spec.Records) == 0 {
			spec.Records = batchtest.Values(5000+base, "one", "two", "three")
		}
		if spec.ProducerID > 0 {
			spec.Sequence = w.seqs[spec.ProducerID]
			w.seqs[spec.ProducerID] += int32(len(spec.Records))
		}
		b := batchtest.Build(spec)
		h, err := batch.Parse(b)
		if err != nil {
			w.t.Fatal(err)
		}
		producers.Add(h, base, 0)
		r.Batches = append(r.Batches, b)
		base += int64(len(spec.Records))
	}
	producers.Each(func(p segment.Producer, _ int64) { r.Producers = append(r.Producers, p) })
	return r
}

// next are records where the partition ends.
func (w *writer) next(k partlog.Key, specs ...batchtest.Spec) segment.Records {
	r := w.records(k, w.ends[k], specs...)
	for _, b := range r.Batches {
		h, err := batch.Parse(b)
		if err != nil {
			w.t.Fatal(err)
		}
		w.ends[k] = h.LastOffset() + 1
	}
	return r
}

func (w *writer) data(parts ...segment.Records) string {
	w.t.Helper()
	return w.put(w.header(segment.KindData), nil, parts)
}

var (
	events0 = partlog.Key{Topic: events}
	events1 = partlog.Key{Topic: events, Index: 1}
	clicks0 = partlog.Key{Topic: clicks}
)

// history is a bucket with two leaderships of the metadata journal and three of
// journal 1, voids among them. The segments of the data journal, by seq:
//
//	 5 opens; 6 events-0 0..5, events-1 0..2; 7 events-0 6..8, clicks-0 0..2; 8 events-0 9..14
//	 9 fence of epoch 2, 10 and 11 void; 13 events-0 15..17; 14 events-1 3..5
//	15 fence of epoch 3; 19 events-0 18..20, events-1 6..8, clicks-0 3..5; 20 events-0 21..23
func history(t *testing.T) (*mem.Store, *writer) {
	t.Helper()
	store := newBucket(t)
	meta := newWriter(t, store, 0)
	meta.lead(0)
	meta.put(meta.header(segment.KindData), []segment.Entry{{Kind: 1, Payload: []byte("a change")}}, nil)
	meta.lead(0)
	w := newWriter(t, store, 1)
	plain, idempotent := batchtest.Spec{}, batchtest.Spec{ProducerID: 77}
	w.lead(0)
	w.open(events0, events1, clicks0)
	w.data(w.next(events0, plain, idempotent), w.next(events1, batchtest.Spec{Codec: batch.Zstd}))
	w.data(w.next(events0, idempotent), w.next(clicks0, plain))
	w.data(w.next(events0, plain, idempotent))
	w.lead(2)
	w.data(w.next(events0, idempotent))
	w.data(w.next(events1, plain))
	w.lead(0)
	w.data(w.next(events0, idempotent), w.next(events1, plain), w.next(clicks0, plain))
	w.data(w.next(events0, idempotent))
	return store, w
}

// edit changes a stored object.
func edit(t *testing.T, store *mem.Store, key string, change func([]byte) []byte) {
	t.Helper()
	b, ok := store.GetNow(key)
	if !ok {
		t.Fatalf("no object %s", key)
	}
	store.PutNow(key, change(b))
}

// rewrite changes fields of an object and computes its checksums again.
func rewrite(t *testing.T, store *mem.Store, seq uint64, change func(h *segment.Header, parts []segment.Records)) {
	t.Helper()
	edit(t, store, at(seq), func(b []byte) []byte {
		o, err := segment.Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		parts := make([]segment.Records, len(o.Footer.Partitions))
		for i := range parts {
			p := &o.Footer.Partitions[i]
			parts[i].Partition = *p
			err := batch.Walk(o.Batches(p), func(pos int, h batch.Header) error {
				parts[i].Batches = append(parts[i].Batches, slices.Clone(o.Batches(p)[pos:pos+h.Size()]))
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		h := o.Footer.Header
		change(&h, parts)
		b, _, err = segment.Build(h, o.Entries, parts)
		if err != nil {
			t.Fatal(err)
		}
		return b
	})
}

// resum makes the footer's and trailer's checksums right again.
func resum(b []byte) {

	trailer := b[len(b)-segment.TrailerSize:]
	at := binary.BigEndian.Uint64(trailer)
	binary.BigEndian.PutUint32(trailer[16:], checksum(b[at:len(b)-segment.TrailerSize]))
	binary.BigEndian.PutUint32(trailer[20:], checksum(trailer[:20]))
}

func at(seq uint64) string { return segment.JournalKey(1, seq) }

func run(t *testing.T, store *mem.Store, opt verify.Options) *verify.Report {
	t.Helper()
	if opt.Metadata == nil {
		opt.Metadata = newCatalog()
	}
	if opt.Topic == "" {
		opt.Partition = -1
	}
	r, err := verify.New(store, opt).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := store.Calls("create") + store.Calls("delete"); n != 0 {
		t.Fatalf("%d writes", n)
	}
	return r
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

var errApply = errors.New("contradiction")
