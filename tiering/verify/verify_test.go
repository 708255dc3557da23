package verify_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/file"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/verify"
)

func TestACleanBucketHasNoFindings(t *testing.T) {
	store, _ := history(t)
	for name, opt := range map[string]verify.Options{
		"everything":       {},
		"with records":     {Records: true},
		"one at a time":    {Parallel: 1, Memory: 1},
		"one journal":      {Journals: []uint32{1}},
		"one topic":        {Topic: "events", Partition: -1},
		"one partition":    {Topic: "events", Partition: 1},
		"topic, decompose": {Topic: "clicks", Partition: 0, Records: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := run(t, store, opt)
			if len(r.Findings) != 0 || r.Errors+r.Warnings+r.Infos != 0 {
				t.Fatalf("%+v", r.Findings)
			}
			if len(r.Journals) != 2 {
				t.Fatalf("%+v", r.Journals)
			}
			j := r.Journals[1]
			j.Bytes = 0
			want := verify.Journal{Journal: 1, Head: 20, Epoch: 3, Data: 8, Fences: 3, Fillers: 7, Voids: 2, Partitions: 3, Records: 39}
			if j != want {
				t.Fatalf("got %+v\nwant %+v", j, want)
			}
		})
	}
}

func TestACleanBucketInAFolderIsClean(t *testing.T) {
	store, _ := history(t)
	folder, err := file.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range store.ListNow("") {
		b, _ := store.GetNow(i.Key)
		if err := folder.Create(t.Context(), i.Key, objstore.Plain(b)); err != nil {
			t.Fatal(err)
		}
	}
	r, err := verify.New(folder, verify.Options{Metadata: newCatalog()}).Run(t.Context())
	if err != nil || len(r.Findings) != 0 || r.Journals[1].Head != 20 {
		t.Fatalf("%+v, %v", r, err)
	}
}

// expected is a finding in short: severity, code, key (of journal 1) and
// affected offsets.
type expected struct {
	severity verify.Severity
	code     verify.Code
	key      string
	affects  string
}

func brief(f verify.Finding) expected {
	var affects []string
	for _, a := range f.Affects {
		affects = append(affects, fmt.Sprintf("%s-%d:%d..%d", a.Topic, a.Partition, a.First, a.Last))
	}
	return expected{f.Severity, f.Code, f.Key, strings.Join(affects, " ")}
}

func TestObjectsUnderWayAreNoDamage(t *testing.T) {
	store, w := history(t)
	later := w.header(segment.KindData)
	later.Seq, later.Prev = 23, segment.Ref{Seq: 22, Object: segment.ID{42}}
	later.Confirmed = 20
	b, _, err := segment.Build(later, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	store.PutNow(at(23), b)
	r := run(t, store, verify.Options{})
	if len(r.Findings) != 1 || brief(r.Findings[0]) != (expected{"info", "beyond", at(23), ""}) || r.Journals[1].Head != 20 {
		t.Fatalf("%+v", r)
	}
	// Beyond the window it cannot have been sent.
	store.DeleteNow(at(23))
	later.Seq, later.Prev.Seq = 25, 24
	if b, _, err = segment.Build(later, nil, nil); err != nil {
		t.Fatal(err)
	}
	store.PutNow(at(25), b)
	r = run(t, store, verify.Options{})
	if r.Errors == 0 || brief(r.Findings[0]) != (expected{"error", "missing", at(21), ""}) {
		t.Fatalf("%+v", r.Findings)
	}
}

func TestAConfirmedObjectMayNotBeMissingAtTheEnd(t *testing.T) {
	store, w := history(t)
	w.lead(0) // 21 fence, 22 to 24 fillers, which say that 21 is confirmed
	store.DeleteNow(at(21))
	store.DeleteNow(at(22))
	store.DeleteNow(at(23))
	r := run(t, store, verify.Options{})
	if len(r.Findings) == 0 || brief(r.Findings[0]) != (expected{"error", "missing", at(21), ""}) {
		t.Fatalf("%+v", r.Findings)
	}
}

// The journal grows at requests to the store, while it is walked.
func TestALiveJournalIsNeverBroken(t *testing.T) {
	full, _ := history(t)
	for step := 1; step < 8; step++ {
		var store *mem.Store
		next := uint64(1)
		calls := 0
		store = mem.New(nil, func(c mem.Call) mem.Action {
			if calls++; calls%step == 0 && next <= 20 {
				b, _ := full.GetNow(at(next))
				store.PutNow(at(next), b)
				next++
			}
			return mem.Action{}
		})
		for _, i := range full.ListNow("") {
			if !strings.HasPrefix(i.Key, "journals/1/") {
				b, _ := full.GetNow(i.Key)
				store.PutNow(i.Key, b)
			}
		}
		r, err := verify.New(store, verify.Options{Metadata: newCatalog(), Parallel: 1}).Run(t.Context())
		if err != nil || r.Errors+r.Warnings > 0 {
			t.Fatalf("one object in %d requests: %+v, %v", step, r, err)
		}
	}
}

func TestAStoreThatFailsIsNoFindingAboutTheEnd(t *testing.T) {
	full, _ := history(t)
	away := errors.New("away")
	fail := func(match func(mem.Call) bool) *mem.Store {
		store := mem.New(nil, func(c mem.Call) mem.Action {
			if match(c) {
				return mem.FailBefore(away)
			}
			return mem.Action{}
		})
		for _, i := range full.ListNow("") {
			b, _ := full.GetNow(i.Key)
			store.PutNow(i.Key, b)
		}
		return store
	}
	for name, match := range map[string]func(mem.Call) bool{
		"list": func(c mem.Call) bool { return c.Op == objstore.OpList },
		"get":  func(c mem.Call) bool { return strings.HasPrefix(c.Key, "journals/1/00") },
		"end":  func(c mem.Call) bool { return c.Key == at(21) },
	} {
		r, err := verify.New(fail(match), verify.Options{Metadata: newCatalog()}).Run(t.Context())
		if !errors.Is(err, away) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	r := run(t, fail(func(c mem.Call) bool { return c.Key == at(7) }), verify.Options{})
	if len(r.Findings) != 1 || brief(r.Findings[0]) != (expected{"error", "unread", at(7), all7}) {
		t.Fatalf("one object: %+v", r.Findings)
	}
	failures := 0
	store := fail(func(c mem.Call) bool { failures++; return c.Key == at(7) && failures%2 == 0 })
	if r := run(t, store, verify.Options{Parallel: 1}); len(r.Findings) != 0 {
		t.Fatalf("a store that fails now and then: %+v", r.Findings)
	}
}

func TestAnInterruptionEndsTheWalk(t *testing.T) {
	full, _ := history(t)
	ctx, cancel := context.WithCancel(t.Context())
	store := mem.New(nil, func(c mem.Call) mem.Action {
		if c.Key == at(9) {
			cancel()
		}
		return mem.Action{}
	})
	for _, i := range full.ListNow("") {
		b, _ := full.GetNow(i.Key)
		store.PutNow(i.Key, b)
	}
	if r, err := verify.New(store, verify.Options{Metadata: newCatalog()}).Run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("%+v, %v", r, err)
	}
}

func TestAnUnknownScopeIsRefused(t *testing.T) {
	store, _ := history(t)
	for _, opt := range []verify.Options{
		{Topic: "gone", Partition: -1}, {Topic: "events", Partition: 2}, {Journals: []uint32{2}},
	} {
		opt.Metadata = newCatalog()
		if r, err := verify.New(store, opt).Run(t.Context()); !errors.Is(err, verify.ErrScope) {
			t.Errorf("%+v: %+v, %v", opt, r, err)
		}
	}
}

func TestATopicsWalkFindsDamageToItOnly(t *testing.T) {
	store, _ := history(t)
	flip(8, inBatch(0, 165))(t, store)
	if r := run(t, store, verify.Options{Topic: "clicks", Partition: -1}); len(r.Findings) != 0 {
		t.Fatalf("damage to another topic: %+v", r.Findings)
	}
	r := run(t, store, verify.Options{Topic: "events", Partition: 0})
	if len(r.Findings) != 1 || brief(r.Findings[0]) != (expected{"error", "corrupt", at(8), "events-0:12..14"}) {
		t.Fatalf("%+v", r.Findings)
	}
	remove(14)(t, store)
	if r := run(t, store, verify.Options{Topic: "clicks", Partition: -1}); r.Errors != 1 || r.Findings[0].Code != verify.CodeMissing {
		t.Fatalf("break in the chain: %+v", r.Findings)
	}
}

func TestMetadataThatDoesNotApplyIsFoundOnce(t *testing.T) {
	store, _ := history(t)
	r := run(t, store, verify.Options{Metadata: &catalog{journals: []uint32{1}, err: errApply}})
	if len(r.Findings) != 1 || brief(r.Findings[0]) != (expected{"error", "state", segment.JournalKey(0, 1), ""}) {
		t.Fatalf("%+v", r.Findings)
	}
}

func TestRecordsAreLookedIntoWhenAsked(t *testing.T) {
	store, w := history(t)
	r := w.next(clicks0, batchtest.Spec{})
	r.Batches[0][len(r.Batches[0])-1] = 77 // the last record's header count
	batchtest.FixCRC(r.Batches[0])
	w.data(r)
	late := w.next(clicks0, batchtest.Spec{})
	binary.BigEndian.PutUint64(late.Batches[0][35:], 1) // max timestamp
	batchtest.FixCRC(late.Batches[0])
	w.data(late)
	if r := run(t, store, verify.Options{}); len(r.Findings) != 0 {
		t.Fatalf("not asked: %+v", r.Findings)
	}
	got := run(t, store, verify.Options{Records: true}).Findings
	want := []expected{{"warning", "content", at(21), "clicks-0:6..8"}, {"warning", "batch", at(22), "clicks-0:9..11"}}
	if len(got) != 2 || brief(got[0]) != want[0] || brief(got[1]) != want[1] {
		t.Fatalf("%+v", got)
	}
}
