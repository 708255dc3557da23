package partlog

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/varvelog/varve/testenv/seeded"
	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/wire"
)

// readPages reads pages of producers as a start does.
func (l library) readPages(pages []*ProducerPage) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, p := range pages {
			payload := l.objects[p.Object]
			if uint32(len(payload)) != p.Size {
				yield(nil, fmt.Errorf("object %v has %d bytes, not %d", p.Object, len(payload), p.Size))
				return
			}
			if !yield(payload[p.Position:][:p.Length], nil) {
				return
			}
		}
	}
}

// planProducers makes pages of producers durable.
func (l *leader) planProducers(sizes ProducerPaging) bool {
	n := len(l.objects)
	l.producers = l.PlanProducers(func() segment.ID { n++; return segment.ID{2, byte(n >> 8), byte(n)} }, sizes)
	if l.producers == nil {
		return false
	}
	for _, o := range l.producers.Objects {
		l.objects[o.Name.Object] = o.Payload
	}
	return true
}

func (l *leader) pagedProducers() {
	l.PagedProducers(l.producers)
	l.producers = nil
}

// smallPages are filled by a few producers.
var smallPages = ProducerPaging{Least: 2, Most: 4, OfObject: 2}

// TestProducersInPagesAreThoseOfAPlainState pages producers at any time, drops plans, lets
// objects come between a plan and its end, and goes on from checkpoints.
func TestProducersInPagesAreThoseOfAPlainState(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		plain, l := New(testJournal), newLeader()
		for _, o := range drawJournal(t, 60) {
			for _, s := range []*State{plain, l.State} {
				if err := s.Apply(o.footer, o.entries); err != nil {
					t.Fatal(err)
				}
			}
			switch rapid.IntRange(0, 5).Draw(t, "then") {
			case 0, 1:
				l.planProducers(smallPages)
			case 2:
				if l.producers != nil {
					l.pagedProducers()
				}
			case 3:
				l.restart(t)
			}
			if l.Hash() != plain.Hash() {
				t.Fatalf("after seq %d the state differs", o.footer.Header.Seq)
			}
			l.checkPages(t)
		}
	})
}

// checkPages holds the numbers that the state keeps of its pages against a count.
func (l *leader) checkPages(t reporter) {
	live, inPages := map[*producerPage]int{}, 0
	for _, p := range l.parts {
		batches := 0
		for id, q := range p.producers.byID {
			batches += cap(q.batches)
			if q.page != nil {
				live[q.page]++
				inPages++
			} else if !slices.Contains(p.producers.changed, id) {
				t.Fatal("a producer is in no page, and not among those that changed")
			}
		}
		if batches != p.producers.batches {
			t.Fatal("producers have memory for another number of batches than is counted")
		}
	}
	for _, p := range l.producerPages {
		if p.live != live[p] {
			t.Fatal("a page has another number of current producers than it says")
		}
		inPages -= p.live
	}
	if inPages != 0 {
		t.Fatal("producers are in pages that the state does not have")
	}
}

// Once objects of the journal may be deleted, pages of before are written again, twice.
func TestPagesThatAreStoredOnceAreWrittenAgain(t *testing.T) {
	sizes := ProducerPaging{Least: 100, Most: 4, OfObject: 2}
	l := newLeader()
	mustApply(t, l.State, data(1, 1), open(keyA, 0, 0))
	mustApply(t, l.State, objectOf(2, 0, 12, 0))
	if !l.planProducers(smallPages) {
		t.Fatal("nothing is planned")
	}
	l.pagedProducers()
	if l.planProducers(sizes) {
		t.Error("written again though no object may be deleted")
	}
	mustApply(t, l.State, data(3, 1), Intent{Job: segment.ID{1}, Objects: []segment.Name{segment.SharedSegment(testJournal, segment.ID{2})}}.Encode())
	want := l.Hash()
	for plans := 0; ; plans++ {
		once := 0
		for _, p := range l.ProducerPages() {
			if p.Seq == 0 {
				once++
			}
		}
		if once == 0 {
			break
		}
		if plans == 3 || !l.planProducers(sizes) {
			t.Fatalf("%d pages are stored once after %d plans", once, plans)
		}
		l.pagedProducers()
		l.checkPages(t)
	}
	if l.planProducers(sizes) || l.Hash() != want {
		t.Error("written again and again, or the state differs")
	}
}

// A producer that was used while its page was written is not taken from the page, and one
// that expired then does not come back.
func TestChangesWhileAPageIsWrittenCount(t *testing.T) {
	l := newLeader()
	mustApply(t, l.State, data(1, 1), open(keyA, 0, 0))
	mustApply(t, l.State, objectOf(2, 0, 4, 0)) // used at 2000
	if !l.planProducers(smallPages) {
		t.Fatal("nothing is planned")
	}
	mustApply(t, l.State, objectOf(5, 4, 1, 0)) // producer 0 is used at 5000
	mustApply(t, l.State, data(6, 1), ExpireProducers{BeforeMs: 3000}.Encode())
	mustApply(t, l.State, objectOf(7, 5, 1, 3)) // producer 3 comes back
	want := l.Hash()
	for _, when := range []string{"before", "after"} {
		if when == "after" {
			l.pagedProducers()
		}
		l.restart(t)
		if l.Hash() != want || l.parts[keyA].producers.Len() != 2 {
			t.Errorf("a checkpoint %s the plan is carried out has %d producers, want 0 and 3", when, l.parts[keyA].producers.Len())
		}
		if when == "before" {
			l.planProducers(smallPages)
		}
	}
}

// paged has so many ids of one batch in pages.
func pagedProducers(tb testing.TB, n int) (l *leader, seq uint64) {
	tb.Helper()
	l = newLeader()
	l.State, seq, _ = withProducers(tb, n)
	if !l.planProducers(DefaultProducerPaging) {
		tb.Fatal("nothing is planned")
	}
	l.pagedProducers()
	return l, seq
}

// use uses so many producers of n.
func use(tb testing.TB, s *State, seq uint64, random *rand.Rand, changed, n int) {
	tb.Helper()
	end := s.parts[keyA].end
	r := records(keyA, 1, end, end+int64(changed)-1, 1)
	for i := range int64(changed) {
		r.Producers = append(r.Producers, segment.Producer{ID: random.Int64N(int64(n)), Batches: []segment.ProducerBatch{{BaseOffset: end + i, LastOffset: end + i}}})
	}
	mustApply(tb, s, data(seq, 1, r))
}

// checkpoint uses so many producers of n, and returns the bytes that a checkpoint then writes.
func (l *leader) checkpoint(t *testing.T, seq uint64, random *rand.Rand, changed, n int) (written int) {
	t.Helper()
	use(t, l.State, seq, random, changed, n)
	if l.planProducers(DefaultProducerPaging) {
		for _, o := range l.producers.Objects {
			written += len(o.Payload)
		}
	}
	ix, _ := l.PlanIndex(1) // refs are no matter here
	written += len(l.Encode(ix, segment.ID{9}, l.producers))
	l.Paged(ix, segment.ID{9})
	if l.producers != nil {
		l.pagedProducers()
	}
	return written
}

// TestACheckpointWritesWhatChanged counts bytes. A hundred times as many producers may
// cost a few names of pages more.
func TestACheckpointWritesWhatChanged(t *testing.T) {
	const changed, rounds = 2000, 40
	random := rand.New(rand.NewPCG(seeded.Seed(t), 0))
	sums := map[int]int{}
	for _, n := range []int{3_000, 300_000} {
		l, seq := pagedProducers(t, n)
		for round := range rounds {
			sums[n] += l.checkpoint(t, seq+uint64(round), random, changed, n)
		}
		total := 0
		for _, p := range l.producerPages {
			total += int(p.total)
		}
		if total > 2*n+2*DefaultProducerPaging.Most {
			t.Errorf("pages of %d producers have %d", n, total)
		}
	}
	perChange := sums[300_000] / rounds / changed
	t.Logf("bytes: %v; %d for each change", sums, perChange)
	if state := producerFixedSize + 3*producerBatchSize; perChange > 6*state {
		t.Errorf("each change of 300,000 producers writes %d bytes, the state of one has %d", perChange, state)
	}
}

// When most producers expire and few change, pages become fewer all the same.
func TestPagesShrinkWithTheirProducers(t *testing.T) {
	const n = 50_000
	l, seq := pagedProducers(t, n)
	random := rand.New(rand.NewPCG(seeded.Seed(t), 0))
	for id := int64(0); id < n; id += 10 { // a tenth is used later
		r := records(keyA, 1, l.parts[keyA].end, l.parts[keyA].end, 1)
		r.Producers = []segment.Producer{{ID: id, Batches: []segment.ProducerBatch{{BaseOffset: r.BaseOffset, LastOffset: r.LastOffset}}}}
		mustApply(t, l.State, data(seq, 1, r))
		seq++
	}
	l.checkpoint(t, seq, random, 1, n)
	mustApply(t, l.State, data(seq+1, 1), ExpireProducers{BeforeMs: int64(seq-4_000) * 1000}.Encode())
	for i := range uint64(10) {
		l.checkpoint(t, seq+2+i, random, 1, n)
	}
	total := 0
	for _, p := range l.producerPages {
		total += int(p.total)
	}
	if left := l.parts[keyA].producers.Len(); total > 2*left+DefaultProducerPaging.Most {
		t.Errorf("pages have %d producers, %d are left", total, left)
	}
}

func TestDamagedPagesOfProducersAreFound(t *testing.T) {
	l, _ := pagedProducers(t, 2000)
	payload := l.Encode(nil, segment.ID{}, nil)
	lost := errors.New("lost")
	for name, read := range map[string]ReadPages{
		"lost": func([]*ProducerPage) iter.Seq2[[]byte, error] {
			return func(yield func([]byte, error) bool) { yield(nil, lost) }
		},
		"missing": func([]*ProducerPage) iter.Seq2[[]byte, error] { return func(func([]byte, error) bool) {} },
		"damaged": func(pages []*ProducerPage) iter.Seq2[[]byte, error] {
			return func(yield func([]byte, error) bool) {
				for b := range l.readPages(pages) {
					b = bytes.Clone(b)
					b[40] ^= 1
					if !yield(b, nil) {
						return
					}
				}
			}
		},
	} {
		_, err := Decode(testJournal, payload, read)
		want := map[string]error{"lost": lost, "missing": errFewPages, "damaged": segment.ErrCorrupt}[name]
		if !errors.Is(err, want) {
			t.Errorf("%s: error %v, want %v", name, err, want)
		}
	}
}

// A page fits in an index object, also if each of its producers is of another partition.
func TestPagesOfProducersFitInAnIndexObject(t *testing.T) {
	most := producerPageFixedSize + DefaultProducerPaging.Most*(producersOfPartSize+producerFixedSize+segment.MaxProducerBatches*producerBatchSize)
	if n := DefaultProducerPaging.OfObject * most; n > MaxIndexPayload {
		t.Errorf("an index object of %d bytes, the limit is %d", n, MaxIndexPayload)
	}
}

// FuzzProducerPage takes any bytes for a page, with a reference that fits them.
func FuzzProducerPage(f *testing.F) {
	f.Add(snapshot(f, "v1-producers.hex"), uint32(6))
	f.Add([]byte{}, uint32(0))
	f.Fuzz(func(t *testing.T, b []byte, n uint32) {
		p := &ProducerPage{Length: uint32(len(b)), CRC: checksum(b), Producers: n}
		s, members := New(testJournal), []producersOf(nil)
		var err error
		bounded(t, b, func() { err = CheckProducerPage(p, b) })
		if err != nil {
			if !errors.Is(err, segment.ErrCorrupt) && !errors.Is(err, segment.ErrUnsupported) {
				t.Fatalf("error %v", err)
			}
			return
		}
		page := &producerPage{}
		_ = walkProducerPage(p, b, func(k Key, q stored) error {
			if s.parts[k] == nil {
				s.parts[k] = &part{}
				members = append(members, producersOf{key: k})
			}
			members[len(members)-1].ids = append(members[len(members)-1].ids, q.id)
			s.parts[k].producers.restore(q, page)
			return nil
		})
		var again wire.Writer
		if s.appendProducerPage(&again, members); !bytes.Equal(again.B, b) {
			t.Fatalf("%x was accepted and encodes as %x", b, again.B)
		}
	})
}

func TestDamagedReferencesToPagesOfProducersAreRefused(t *testing.T) {
	good := snapshot(t, "v3-checkpoint.hex")
	at := checkpointFixedSize + 3*indexObjectSize
	if _, err := decode(testJournal, good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(b []byte){
		"no pages":                       func(b []byte) { b[31] = 0 },
		"reserved bytes of the state":    func(b []byte) { b[35] = 1 },
		"object that is not there":       func(b []byte) { b[at+3] = 9 },
		"outside of its object":          func(b []byte) { b[at+4] = 1 },
		"far longer than its object":     func(b []byte) { b[at+8] = 0xff },
		"no producers":                   func(b []byte) { b[at+19] = 0 },
		"more than its bytes hold":       func(b []byte) { b[at+18] = 1 },
		"reserved bytes":                 func(b []byte) { b[at+23] = 1 },
		"expired before a negative time": func(b []byte) { b[at+24] = 0x80 },
	} {
		b := bytes.Clone(good)
		change(b)
		if _, err := decode(testJournal, b); !errors.Is(err, segment.ErrCorrupt) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
