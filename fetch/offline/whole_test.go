package offline_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/varvelog/varve/fetch/offline"
	"github.com/varvelog/varve/fetch/offline/offlinetest"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/segment"
)

// bucket has three records in each of the seqs 6 to 9 of journal 1, whose leader has two
// objects under way.
func bucket(now func() time.Time) *mem.Store {
	store := mem.New(now, nil)
	offlinetest.Bucket(4, 2, store.PutNow)
	return store
}

func putMerged(store *mem.Store, name segment.Name, topic segment.ID, from, to int64) {
	store.PutNow(name.Key(), offlinetest.Merged(name, topic, from, to))
}

func open(t *testing.T, store *mem.Store) *offline.Bucket {
	t.Helper()
	b, err := offline.Open(t.Context(), store, offline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func TestABucketThatLacksTheEndOfAJournalIsCutOff(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil func(*mem.Store)
		why   string // empty: it is whole
	}{
		"whole": {func(*mem.Store) {}, ""},
		"an object under way is not there yet": {func(s *mem.Store) {
			s.DeleteNow(segment.JournalKey(1, 8))
		}, ""},
		"a hole that a later object knows": {func(s *mem.Store) {
			s.DeleteNow(segment.JournalKey(1, 7))
		}, "the object at seq 9 knows seq 7 to be confirmed"},
		"a hole, and a rotten object far above": {func(s *mem.Store) {
			s.DeleteNow(segment.JournalKey(1, 7))
			s.DeleteNow(segment.JournalKey(1, 8))
			s.DeleteNow(segment.JournalKey(1, 9))
			s.PutNow(segment.JournalKey(1, 11), []byte("rotten"))
		}, "the object at seq 11 is sent only after seq 7"},
		"an index page of a later seq": {func(s *mem.Store) {
			s.PutNow(segment.IndexName{Journal: 1, Seq: 10, Object: segment.ID{9}}.Key(), []byte("page"))
		}, "is of seq 10"},
		"a checkpoint of metadata of a later seq": {func(s *mem.Store) {
			s.PutNow(segment.CheckpointKey(0, segment.Ref{Seq: 6, Object: segment.ID{9}}), []byte("rotten"))
		}, "journal 0 ends at seq 5"},
		"an own segment of later offsets": {func(s *mem.Store) {
			putMerged(s, segment.OwnSegment(offlinetest.Events, 0, 12, segment.ID{9}), offlinetest.Events, 12, 15)
		}, "has records from offset 12 on"},
		"an own segment of the last offsets": {func(s *mem.Store) {
			putMerged(s, segment.OwnSegment(offlinetest.Events, 0, 9, segment.ID{9}), offlinetest.Events, 9, 12)
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			store := bucket(time.Now)
			tc.spoil(store)
			err := open(t, store).ProveWhole(t.Context())
			if tc.why == "" && err != nil || tc.why != "" && (!errors.Is(err, offline.ErrCutOff) || !strings.Contains(err.Error(), tc.why)) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestAnOrphanThatMayHaveTheOnlyRecordsIsNeeded has orphans of all kinds.
func TestAnOrphanThatMayHaveTheOnlyRecordsIsNeeded(t *testing.T) {
	now := time.Now()
	store := bucket(func() time.Time { return now })
	spare, own := segment.SharedSegment(1, segment.ID{0xa1}), segment.OwnSegment(offlinetest.Events, 0, 3, segment.ID{0xa2})
	only, foreign, junk := segment.SharedSegment(1, segment.ID{0xa3}), segment.SharedSegment(1, segment.ID{0xa4}), segment.SharedSegment(1, segment.ID{0xa5})
	putMerged(store, spare, offlinetest.Events, 0, 3)
	putMerged(store, own, offlinetest.Events, 3, 6)
	putMerged(store, only, offlinetest.Events, 3, 9)
	putMerged(store, foreign, segment.ID{7}, 0, 3)
	store.PutNow(junk.Key(), []byte("half of an upload"))
	now = now.Add(offline.OrphanAge + time.Minute)
	b := open(t, store)
	needed := func() map[string]string {
		t.Helper()
		found, err := b.Orphans(t.Context(), now, func(int64) {})
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]string{}
		for _, o := range found {
			out[o.Key] = o.Needed
		}
		return out
	}
	expect := func(got map[string]string, want map[string]string) {
		t.Helper()
		for key, why := range want {
			reason, found := got[key]
			if !found || why == "" && reason != "" || !strings.Contains(reason, why) {
				t.Errorf("%s: %q, want %q", key, reason, why)
			}
		}
	}
	expect(needed(), map[string]string{
		spare.Key(): "", own.Key(): "", only.Key(): "", foreign.Key(): "no journal has partition 0", junk.Key(): "not known which records",
	})
	store.DeleteNow(segment.JournalKey(1, 8)) // offsets 6 to 8
	expect(needed(), map[string]string{
		spare.Key(): "", own.Key(): "", only.Key(): "offsets 6 to 8 of partition 0 of topic events may be nowhere else",
	})
	putMerged(store, segment.SharedSegment(1, segment.ID{0xa6}), offlinetest.Events, 9, 15)
	now = now.Add(offline.OrphanAge)
	if _, err := b.Orphans(t.Context(), now, func(int64) {}); !errors.Is(err, offline.ErrCutOff) {
		t.Errorf("records of a lost end: %v", err)
	}
}
