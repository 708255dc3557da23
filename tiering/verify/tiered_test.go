package verify_test

import (
	"bytes"
	"crypto/sha256"
	"log/slog"
	"slices"
	"testing"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/verify"
)

// tieredBucket is history, parts of which are merged and released.
type tieredBucket struct {
	*writer
	store *mem.Store
	state *partlog.State
	own   segment.Name // events-0 0..14
	both  segment.Name // events-1 0..8 and clicks-0 0..5
	pages []segment.IndexName
}

// tiered merges events-0 up to offset 14 into an own segment, and the two others into a
// shared one. The objects at seqs 6, 7 and 8, which nothing names any more, are released
// and deleted. events-0 15..23 stays in seqs 13, 19 and 20. There are two floors,
// at 23 and 26.
func tiered(t *testing.T) *tieredBucket {
	t.Helper()
	store, w := history(t)
	b := &tieredBucket{writer: w, store: store, own: segment.OwnSegment(events, 0, 0, segment.ID{0xa1}), both: segment.SharedSegment(1, segment.ID{0xb1})}
	b.replay()
	job := segment.ID{0xe1}
	b.entries(partlog.Intent{Job: job, Objects: []segment.Name{b.own, b.both}}.Encode()) // 21
	result := partlog.Result{Job: job, Last: true, Parts: slices.Concat(
		b.merge(b.own, part{events0, 0, 15}), b.merge(b.both, part{events1, 0, 9}, part{clicks0, 0, 6}))}
	slices.SortFunc(result.Parts, func(a, b partlog.ResultPart) int { return a.Key.Compare(b.Key) })
	b.entries(result.Encode()) // 22
	b.floor(1)                 // 23, 24
	release := partlog.Release{Class: partlog.ClassMerge, Judged: partlog.Judged{Seq: 13, Epoch: 2}, Seqs: []partlog.Seqs{{First: 6, Last: 8}}}
	b.entries(release.Encode())               // 25
	b.floor(2)                                // 26, 27
	b.data(b.next(events0, batchtest.Spec{})) // 28
	b.replay()
	for _, seq := range []uint64{6, 7, 8} {
		store.DeleteNow(at(seq))
	}
	return b
}

// replay brings the state to the head.
func (b *tieredBucket) replay() {
	b.t.Helper()
	chain, state := journal.NewChain(cluster, 1, window), partlog.New(1)
	for chain.Next < b.chain.Next {
		raw, _ := b.store.GetNow(at(chain.Next))
		o, err := segment.Decode(raw)
		if err != nil {
			b.t.Fatal(err)
		}
		verdict, err := chain.Check(&o.Footer.Header)
		if err != nil {
			b.t.Fatal(err)
		}
		chain.Advance(&o.Footer.Header, verdict)
		index, err := journal.NewObject(o.Footer, o.Entries)
		if err == nil && verdict == journal.Valid {
			err = state.Apply(o.Footer, index.Entries)
		}
		if err != nil {
			b.t.Fatal(err)
		}
	}
	b.state = state
}

func (b *tieredBucket) entries(entries ...segment.Entry) {
	b.put(b.header(segment.KindData), entries, nil)
}

type part struct {
	key      partlog.Key
	from, to int64
}

// merge stores a merged segment, and returns its part of a Result.
func (b *tieredBucket) merge(name segment.Name, parts ...part) []partlog.ResultPart {
	b.t.Helper()
	var out bytes.Buffer
	m, err := segment.NewMergedWriter(&out, segment.MergedHeader{
		Name: name, Journal: 1, Cluster: cluster, Job: segment.ID{1}, Node: segment.ID{2}, Incarnation: segment.ID{3}, BuiltMs: 7,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	slices.SortFunc(parts, func(a, b part) int { return a.key.Compare(b.key) })
	for _, p := range parts {
		if err := m.Begin(segment.MergedPart{Topic: p.key.Topic, Index: p.key.Index, TopicName: "a-topic", From: p.from, To: p.to, SourceMs: 6}); err != nil {
			b.t.Fatal(err)
		}
		extents, _, _, _ := b.state.Find(p.key, p.from, 100)
		for _, e := range extents {
			if e.Base >= p.to {
				break
			}
			object, _ := b.store.GetNow(e.Object.Key())
			records := object[e.Position:][:e.Length]
			err := batch.Walk(records, func(pos int, h batch.Header) error { return m.Append(records[pos:pos+h.Size()], nil) })
			if err != nil {
				b.t.Fatal(err)
			}
		}
		if _, err := m.End(); err != nil {
			b.t.Fatal(err)
		}
	}
	made, err := m.Close()
	if err != nil {
		b.t.Fatal(err)
	}
	b.store.PutNow(name.Key(), out.Bytes())
	var results []partlog.ResultPart
	for _, p := range made.Partitions {
		results = append(results, partlog.ResultPart{
			Key: partlog.Key{Topic: p.Topic, Index: p.Index}, From: p.From, To: p.To, Source: 1,
			Extents: []partlog.Extent{{
				Object: name, Base: p.From, Last: p.To - 1, MaxTimestamp: p.MaxTimestamp, Position: p.Position, Length: p.Length, CRC: p.CRC,
				IndexLength: p.IndexLength, Records: uint32(p.Records), Size: uint32(made.Size), SHA256: sha256.Sum256(out.Bytes()), BuiltMs: 7, SourceMs: p.SourceMs,
			}},
		})
	}
	return results
}

// floor writes a checkpoint at the head, with index pages, and the floor that names it.
func (b *tieredBucket) floor(n uint64) {
	b.t.Helper()
	b.replay()
	index, ok := b.state.PlanIndex(1)
	if !ok {
		b.t.Fatal("no index page")
	}
	chain := journal.NewChain(cluster, 1, window)
	for chain.Next < b.chain.Next {
		raw, _ := b.store.GetNow(at(chain.Next))
		o, _ := segment.Decode(raw)
		verdict, _ := chain.Check(&o.Footer.Header)
		chain.Advance(&o.Footer.Header, verdict)
	}
	page := segment.ID{0xaa, byte(n)}
	job := journal.CheckpointJob{Chain: chain, State: b.state.Encode(index, page, nil)}
	job.Indexes = []journal.IndexObject{{Name: index.Name(page), Payload: index.Payload()}}
	b.pages = append(b.pages, index.Name(page))
	scratch := mem.New(nil, nil) // writes to the store are a fault of the walk
	c := journal.NewCheckpointer(journal.CheckpointerOptions{NewID: func() segment.ID { return segment.ID{0xbb} }})
	c.Begin(&job)
	res := c.Write(b.t.Context(), scratch, job)
	if err := c.Finished(res, slog.New(slog.DiscardHandler)); err != nil || res.Err != nil {
		b.t.Fatal(err, res.Err)
	}
	for _, i := range scratch.ListNow("") {
		raw, _ := scratch.GetNow(i.Key)
		b.store.PutNow(i.Key, raw)
	}
	plan := journal.FloorPlan{N: n, At: chain.Last, Object: segment.ID{8, byte(n)}}
	b.entries() // a plan comes later than the seq of its floor
	b.entries(plan.Entry())
	putFloor(b.t, b.store, segment.Floor{N: n, Floor: plan.Floor(), Checkpoint: segment.CheckpointKey(1, chain.Last), Object: plan.Object})
}

func TestAMergedAndReleasedBucketIsSound(t *testing.T) {
	for _, opt := range []verify.Options{{}, {Records: true}, {Topic: "clicks", Partition: -1}, {Topic: "events", Partition: 0, Records: true}} {
		b := tiered(t)
		b.name(events, segment.TopicName{Cluster: cluster, Topic: events, Name: "events"})
		b.store.PutNow(segment.HoldKey(segment.ID{1}), []byte("any"))
		r := run(t, b.store, opt)
		if len(r.Findings) != 0 {
			t.Errorf("%+v: %+v", opt, r.Findings)
		}
		if j := r.Journals[1]; opt.Topic == "" && (j.Merged != 2 || j.Head != 28 || j.Floor != 26 || j.Garbage != 3 || j.Partitions != 3) {
			t.Errorf("%+v", j)
		}
	}
}

func TestDamageOfAMergedBucketIsFoundWhereItIs(t *testing.T) {
	const all = "events-0 offsets 0 to 14"
	second := func(n segment.IndexName) segment.IndexName { n.Copy = true; return n }
	for name, tc := range map[string]struct {
		spoil   func(b *tieredBucket)
		want    expected
		affects []string
		records bool
	}{
		"own segment missing":   {func(b *tieredBucket) { b.store.DeleteNow(b.own.Key()) }, expected{"error", "missing", "own", ""}, []string{all}, false},
		"own segment cut":       {func(b *tieredBucket) { b.cut(b.own.Key()) }, expected{"error", "corrupt", "own", ""}, []string{all}, false},
		"a record flipped":      {func(b *tieredBucket) { b.flip(b.own.Key(), 144+70) }, expected{"error", "corrupt", "own", ""}, []string{all}, true},
		"shared one missing":    {func(b *tieredBucket) { b.store.DeleteNow(b.both.Key()) }, expected{"error", "missing", "both", ""}, []string{"clicks-0 offsets 0 to 5", "events-1 offsets 0 to 8"}, false},
		"two segments swapped":  {func(b *tieredBucket) { raw, _ := b.store.GetNow(b.both.Key()); b.store.PutNow(b.own.Key(), raw) }, expected{"error", "corrupt", "own", ""}, []string{all}, false},
		"a source that counts":  {func(b *tieredBucket) { b.store.DeleteNow(at(13)) }, expected{"error", "missing", at(13), ""}, []string{"events-0 offsets 15 to 17"}, false},
		"the same, flipped":     {func(b *tieredBucket) { flip(13, inBatch(0, 70))(b.t, b.store) }, expected{"error", "corrupt", at(13), ""}, []string{"events-0 offsets 15 to 17"}, false},
		"merged away, flipped":  {func(b *tieredBucket) { flip(14, inBatch(0, 70))(b.t, b.store) }, expected{"warning", "corrupt", at(14), ""}, nil, false},
		"not released, missing": {func(b *tieredBucket) { b.store.DeleteNow(at(21)) }, expected{"error", "missing", at(21), ""}, nil, false},
		"a page's copy":         {func(b *tieredBucket) { b.store.DeleteNow(second(b.pages[1]).Key()) }, expected{"warning", "copy", "page", ""}, nil, false},
		"a page's first copy":   {func(b *tieredBucket) { b.flip(b.pages[1].Key(), 100) }, expected{"warning", "copy", "page", ""}, nil, false},
		"the newest floor":      {func(b *tieredBucket) { b.store.DeleteNow(segment.FloorKey(1, 2)) }, expected{"error", "floor", segment.FloorKey(1, 2), ""}, nil, false},
		"a segment of no job":   {func(b *tieredBucket) { b.store.PutNow("merged/1/"+segment.ID{0xff}.String(), []byte("x")) }, expected{"warning", "orphan", "merged/1/" + segment.ID{0xff}.String(), ""}, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := tiered(t)
			tc.spoil(b)
			r := run(t, b.store, verify.Options{Records: tc.records})
			if len(r.Findings) != 1 {
				t.Fatalf("%+v", r.Findings)
			}
			f := r.Findings[0]
			var affects []string
			for _, a := range f.Affects {
				affects = append(affects, a.String())
			}
			f.Affects = nil
			want := tc.want
			switch want.key {
			case "own":
				want.key = b.own.Key()
			case "both":
				want.key = b.both.Key()
			case "page":
				want.key = f.Key
			}
			slices.Sort(affects)
			if brief(f) != want || !slices.Equal(affects, tc.affects) || f.Hint == "" {
				t.Errorf("%+v affects %v, want %v, %v", f, affects, want, tc.affects)
			}
		})
	}
}

func (b *tieredBucket) cut(key string) {
	edit(b.t, b.store, key, func(raw []byte) []byte { return raw[:len(raw)-1] })
}

func (b *tieredBucket) flip(key string, at int) {
	edit(b.t, b.store, key, func(raw []byte) []byte { raw = bytes.Clone(raw); raw[at] ^= 1; return raw })
}

// An index object is lost only if both copies are.
func TestBothCopiesOfAnIndexObjectAreAnError(t *testing.T) {
	b := tiered(t)
	lost := b.pages[0]
	b.store.DeleteNow(lost.Key())
	lost.Copy = true
	b.flip(lost.Key(), 100)
	r := run(t, b.store, verify.Options{})
	if r.Errors != 1 || r.Findings[0].Key != b.pages[0].Key() || r.Findings[0].Code != verify.CodeMissing || len(r.Findings[0].Affects) == 0 {
		t.Errorf("%+v", r.Findings)
	}
}

// A segment that a job made and that was deleted once must not be there, but it harms
// nothing. One that waits for its deletion is in order.
func TestDeletedObjectsThatAreThereAreAWarning(t *testing.T) {
	for _, swept := range []bool{false, true} {
		b := tiered(t)
		name, job := segment.SharedSegment(1, segment.ID{0xc1}), segment.ID{0xe2}
		b.entries(partlog.Intent{Job: job, Objects: []segment.Name{name}}.Encode())
		b.store.PutNow(name.Key(), []byte("half of an upload"))
		if r := run(t, b.store, verify.Options{}); len(r.Findings) != 0 {
			t.Errorf("an upload under way: %+v", r.Findings)
		}
		b.entries(partlog.Abandon{Job: job}.Encode())
		if swept {
			e := partlog.Swept{Objects: []segment.ID{name.Object}}
			b.entries(e.Encode())
		}
		r := run(t, b.store, verify.Options{})
		if !swept && len(r.Findings) != 0 || swept && (len(r.Findings) != 1 || brief(r.Findings[0]) != expected{"warning", "released", name.Key(), ""}) {
			t.Errorf("deleted %v: %+v", swept, r.Findings)
		}
	}
}

// A segment that is merged away and deleted during the walk is no damage: the state at a
// head that is proved later names another one.
func TestASegmentThatIsMergedAwayDuringTheWalkIsNoDamage(t *testing.T) {
	full := tiered(t)
	again, job := segment.OwnSegment(events, 0, 0, segment.ID{0xa2}), segment.ID{0xe3}
	before := full.chain.Next
	full.entries(partlog.Intent{Job: job, Objects: []segment.Name{again}}.Encode())
	old, _, _, _ := full.state.Find(events0, 0, 1)
	result := partlog.Result{Job: job, Last: true, Parts: []partlog.ResultPart{{Key: events0, From: 0, To: 15, Replaced: old[:1], Extents: full.copied(again)}}}
	full.entries(result.Encode())
	for _, deletes := range []bool{true, false} {
		var store *mem.Store
		store = mem.New(nil, func(c mem.Call) mem.Action {
			if c.Key == full.own.Key() && c.Op != objstore.OpDelete {
				store.DeleteNow(full.own.Key())
				for seq := before; deletes && seq < full.chain.Next; seq++ {
					raw, _ := full.store.GetNow(at(seq))
					store.PutNow(at(seq), raw)
				}
			}
			return mem.Action{}
		})
		for _, i := range full.store.ListNow("") {
			if raw, _ := full.store.GetNow(i.Key); i.Key < at(before) || i.Key > at(full.chain.Next) {
				store.PutNow(i.Key, raw)
			}
		}
		r := run(t, store, verify.Options{Parallel: 1})
		if deletes && len(r.Findings) != 0 || !deletes && (r.Errors != 1 || r.Findings[0].Code != verify.CodeMissing) {
			t.Errorf("merged away %v: %+v", deletes, r.Findings)
		}
	}
}

// copied stores another own segment with the records of events-0 up to offset 14.
func (b *tieredBucket) copied(name segment.Name) []partlog.Extent {
	b.t.Helper()
	return b.merge(name, part{events0, 0, 15})[0].Extents
}

// Objects that are released may be deleted while a walk that began at the first object
// comes to them.
func TestObjectsThatAreDeletedDuringTheWalkAreNoDamage(t *testing.T) {
	full := tiered(t)
	whole, _ := history(t)
	var store *mem.Store
	store = mem.New(nil, func(c mem.Call) mem.Action {
		if c.Key == at(2) {
			for _, seq := range []uint64{6, 7, 8} {
				store.DeleteNow(at(seq))
			}
		}
		return mem.Action{}
	})
	for _, from := range []*mem.Store{full.store, whole} {
		for _, i := range from.ListNow("") {
			raw, _ := from.GetNow(i.Key)
			store.PutNow(i.Key, raw)
		}
	}
	if r := run(t, store, verify.Options{Parallel: 1}); len(r.Findings) != 0 || r.Journals[1].Head != 28 {
		t.Errorf("%+v, %+v", r.Findings, r.Journals)
	}
}

func TestALostCopyIsFoundWithoutAWalk(t *testing.T) {
	b := tiered(t)
	b.store.DeleteNow(b.pages[1].Key())
	b.store.DeleteNow(b.own.Key())
	r := run(t, b.store, verify.Options{Indexes: true})
	if len(r.Findings) != 1 || brief(r.Findings[0]) != (expected{"warning", "copy", b.pages[1].Key(), ""}) || b.store.Calls(objstore.OpGet) > 60 {
		t.Errorf("%+v after %d GETs", r.Findings, b.store.Calls(objstore.OpGet))
	}
}
