package objstore_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/file"
	"github.com/varvelog/varve/tiering/objstore/mem"
)

func TestProbePassesAndLeavesNothing(t *testing.T) {
	folder, err := file.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, store := range []objstore.Store{mem.New(nil, nil), folder} {
		if err := store.Create(t.Context(), "probe/mine", objstore.Plain([]byte("mine"))); err != nil {
			t.Fatal(err)
		}
		seen := map[string]objstore.Step{}
		progress := func(s objstore.Step) { seen[s.Name] = s }
		if err := objstore.Probe(t.Context(), store, "probe", objstore.Quick, progress); err != nil {
			t.Errorf("%s: %v", store, err)
		}
		if err := objstore.CreateTwice(t.Context(), store, "probe"); err != nil {
			t.Errorf("%s: %v", store, err)
		}
		for name, s := range seen {
			if s.Done != s.Total || s.Total == 0 {
				t.Errorf("%s: step %q ended at %d of %d", store, name, s.Done, s.Total)
			}
		}
		if len(seen) != 7 {
			t.Errorf("%s: got %d steps", store, len(seen))
		}
		var left []string
		err = store.List(t.Context(), "", "", func(i objstore.Info) error { left = append(left, i.Key); return nil })
		if err != nil || len(left) != 1 || left[0] != "probe/mine" {
			t.Errorf("%s: left %q, error %v", store, left, err)
		}
	}
}

// An object that was created to see whether that is possible stays if its writer ends. A
// later start removes it.
func TestALeftObjectIsRemovedByALaterProbe(t *testing.T) {
	now := time.UnixMilli(1)
	store := mem.New(func() time.Time { return now }, nil)
	one, err := objstore.CreateOne(t.Context(), store, "probe")
	if err != nil {
		t.Fatal(err)
	}
	if two, err := objstore.CreateOne(t.Context(), store, "probe"); err != nil || one == two {
		t.Errorf("keys %q and %q, error %v", one, two, err)
	}
	for _, c := range []struct {
		after time.Duration
		left  int
	}{{time.Minute, 2}, {2 * time.Hour, 0}} {
		now = now.Add(c.after)
		if err := objstore.CreateTwice(t.Context(), store, "probe"); err != nil || len(store.ListNow("")) != c.left {
			t.Errorf("after %v: %v, error %v", c.after, store.ListNow(""), err)
		}
	}
}

// flaws are stores that break a promise, as faults of a store that keeps it.
// Keys of the probe are <prefix>/<random>/<step>/<key>/<attempt>.
var flaws = []struct {
	name  string
	fault func(s *mem.Store, c mem.Call) mem.Action
	says  string // in the error
	light bool   // CreateTwice finds it as well
}{
	{"ignores create-if-absent", func(_ *mem.Store, c mem.Call) mem.Action {
		if c.Op == objstore.OpCreate {
			return mem.Action{Effect: mem.Overwrite}
		}
		return mem.Action{}
	}, "ignores If-None-Match", true},

	{"ignores create-if-absent now and then", func(_ *mem.Store, c mem.Call) mem.Action {
		if c.Op == objstore.OpCreate && c.Number%7 == 0 {
			return mem.Action{Effect: mem.Overwrite}
		}
		return mem.Action{}
	}, "ignores If-None-Match", false},

	{"two winners, when they race", func(s *mem.Store, c mem.Call) mem.Action {
		if _, exists := s.GetNow(c.Key); c.Op == objstore.OpCreate && exists && step(c) == "2" && c.Number%16 == 0 {
			return mem.Action{Effect: mem.Skip, Claim: true}
		}
		return mem.Action{}
	}, "writers that created the same object", false},

	{"the winner's bytes are replaced, when they race", func(s *mem.Store, c mem.Call) mem.Action {
		if _, exists := s.GetNow(c.Key); c.Op == objstore.OpCreate && exists && step(c) == "2" && c.Number%16 == 0 {
			return mem.Action{Effect: mem.Overwrite, Err: objstore.ErrExists}
		}
		return mem.Action{}
	}, "not the", false},

	{"refused bytes are stored", func(s *mem.Store, c mem.Call) mem.Action {
		if _, exists := s.GetNow(c.Key); c.Op == objstore.OpCreate && exists {
			return mem.Action{Effect: mem.Overwrite, Err: objstore.ErrExists}
		}
		return mem.Action{}
	}, "not the", true},

	{"an object reads as missing at first", func(_ *mem.Store, c mem.Call) mem.Action {
		if c.Op == objstore.OpGet {
			return mem.Missing()
		}
		return mem.Action{}
	}, "reads as missing", true},

	{"a new object exists", func(_ *mem.Store, c mem.Call) mem.Action {
		if c.Op == objstore.OpCreate {
			return mem.FailBefore(objstore.ErrExists)
		}
		return mem.Action{}
	}, "never created", true},

	{"a deleted object stays", func(_ *mem.Store, c mem.Call) mem.Action {
		if c.Op == objstore.OpDelete {
			return mem.Action{Effect: mem.Skip, Claim: true}
		}
		return mem.Action{}
	}, "deleted can be read", false},

	{"large objects are cut", func(_ *mem.Store, c mem.Call) mem.Action {
		if c.Op == objstore.OpGet {
			return mem.Truncated(4 << 20)
		}
		return mem.Action{}
	}, "not the", false},

	{"ranges are wrong", func(_ *mem.Store, c mem.Call) mem.Action {
		if c.Op == objstore.OpGetRange {
			return mem.Action{Damage: func(data []byte) []byte { return append(data[1:], 0) }}
		}
		return mem.Action{}
	}, "part of an object", false},

	{"tails are wrong", func(_ *mem.Store, c mem.Call) mem.Action {
		if c.Op == objstore.OpGetTail {
			return mem.BitFlipped(8<<23 - 1)
		}
		return mem.Action{}
	}, "end of an object", false},
}

// step is the number of the probe's step that a call belongs to.
func step(c mem.Call) string { return strings.Split(c.Key, "/")[2] }

func TestProbeFindsAnUnsafeStore(t *testing.T) {
	for _, f := range flaws {
		t.Run(f.name, func(t *testing.T) {
			var store *mem.Store
			store = mem.New(nil, func(c mem.Call) mem.Action { return f.fault(store, c) })
			err := objstore.Probe(t.Context(), store, "probe", objstore.Quick, nil)
			if !errors.Is(err, objstore.ErrUnsafe) || !strings.Contains(err.Error(), f.says) {
				t.Errorf("Probe: %v", err)
			}
			store = mem.New(nil, func(c mem.Call) mem.Action { return f.fault(store, c) })
			err = objstore.CreateTwice(t.Context(), store, "probe")
			if errors.Is(err, objstore.ErrUnsafe) != f.light {
				t.Errorf("CreateTwice: %v", err)
			}
		})
	}
}

// A start that takes one flipped bit for an unsafe store is not made again.
func TestProbeReadsAgainWhatWasDamagedOnTheWay(t *testing.T) {
	for _, op := range []objstore.Op{objstore.OpGet, objstore.OpGetRange, objstore.OpGetTail} {
		var mu sync.Mutex
		damaged := map[string]int{}
		var store *mem.Store
		store = mem.New(nil, func(c mem.Call) mem.Action {
			mu.Lock()
			defer mu.Unlock()
			if _, exists := store.GetNow(c.Key); !exists || c.Op != op || damaged[c.Key] == 2 {
				return mem.Action{}
			}
			damaged[c.Key]++
			return mem.BitFlipped(100)
		})
		if err := objstore.Probe(t.Context(), store, "probe", objstore.Quick, nil); err != nil || len(damaged) == 0 {
			t.Errorf("%s, %d objects damaged: %v", op, len(damaged), err)
		}
	}
}

func TestProbeSaysWhatToDoAboutMissingKeysThatAreErrors(t *testing.T) {
	for _, c := range []struct {
		err  error
		says string
	}{
		{objstore.ErrDenied, "must allow to list"},
		{objstore.ErrNoBucket, "create the bucket"},
		{errors.New("status 500"), "must say that it is missing"},
	} {
		var store *mem.Store
		store = mem.New(nil, func(call mem.Call) mem.Action {
			if _, exists := store.GetNow(call.Key); !exists && call.Op != objstore.OpCreate {
				return mem.FailBefore(c.err)
			}
			return mem.Action{}
		})
		for name, err := range map[string]error{
			"Probe":       objstore.Probe(t.Context(), store, "probe", objstore.Quick, nil),
			"CreateTwice": objstore.CreateTwice(t.Context(), store, "probe"),
		} {
			if !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.says) || errors.Is(err, objstore.ErrUnsafe) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestProbeBearsLosersThatGetConflictsAndABusyStore(t *testing.T) {
	var mu sync.Mutex
	busy := 0
	var store *mem.Store
	store = mem.New(nil, func(c mem.Call) mem.Action {
		if _, exists := store.GetNow(c.Key); exists && c.Op == objstore.OpCreate && step(c) == "2" && c.Number%3 == 0 &&
			strings.HasSuffix(c.Key, "/0") { // at the first attempt
			return mem.FailBefore(objstore.ErrConflict)
		}
		mu.Lock()
		defer mu.Unlock()
		if c.Op == objstore.OpCreate && c.Number%97 == 0 && busy < 3 {
			busy++
			return mem.ReplyLost()
		}
		return mem.Action{}
	})
	if err := objstore.Probe(t.Context(), store, "probe", objstore.Quick, nil); err != nil {
		t.Error(err)
	}
	if busy != 3 {
		t.Errorf("%d answers were lost, want 3", busy)
	}
}

func TestProbeIsUndecidedWhenTheStoreDoesNotAnswer(t *testing.T) {
	errDown := errors.New("no route to host")
	store := mem.New(nil, func(mem.Call) mem.Action { return mem.FailBefore(errDown) })
	err := objstore.Probe(t.Context(), store, "probe", objstore.Quick, nil)
	if !errors.Is(err, errDown) || errors.Is(err, objstore.ErrUnsafe) {
		t.Errorf("error %v", err)
	}
	if n := store.Calls(objstore.OpList); n != 0 {
		t.Errorf("%d listings of a store that may hang at each", n)
	}
}

func TestProbeEndsWithItsContextAndStillCleansUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	store := mem.New(nil, nil)
	err := objstore.Probe(ctx, store, "probe", objstore.Quick, func(s objstore.Step) {
		if s.Done == 10 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || errors.Is(err, objstore.ErrUnsafe) {
		t.Errorf("error %v", err)
	}
	if left := store.ListNow(""); len(left) != 0 {
		t.Errorf("left %d objects", len(left))
	}
}

func TestProbeDeletesOnlyWhatItCreated(t *testing.T) {
	var mu sync.Mutex
	created := map[string]bool{}
	var store *mem.Store
	store = mem.New(nil, func(c mem.Call) mem.Action {
		mu.Lock()
		defer mu.Unlock()
		if c.Op == objstore.OpDelete && !created[c.Key] {
			t.Errorf("deleted %s", c.Key)
		}
		if c.Op == objstore.OpCreate && c.Number > 40 {
			return mem.ReplyLost()
		}
		created[c.Key] = created[c.Key] || c.Op == objstore.OpCreate
		return mem.Action{}
	})
	if err := objstore.Probe(t.Context(), store, "probe", objstore.Quick, nil); err == nil {
		t.Error("no error")
	}
	if n := store.Calls(objstore.OpDelete); n == 0 {
		t.Error("nothing was deleted")
	}
}

func TestCheckKeyTakesTheKeysOfTheBucketLayout(t *testing.T) {
	for _, key := range []string{
		"cluster", "journals/0/00000000000000000001", "topics/.hidden-0123/0/a-b", "topics/..-0123/x", "probe/A/0",
		strings.Repeat("x", 255), strings.Repeat("abcdefg/", 99) + "12345678",
	} {
		if err := objstore.CheckKey(key); err != nil {
			t.Error(err)
		}
	}
	if err := objstore.CheckKey(strings.Repeat("abcdefg/", 99) + "123456789"); err == nil {
		t.Error("801 bytes: no error")
	}
}

func TestCreateOfMoreThanMaxSizeIsRefused(t *testing.T) {
	if err := objstore.CheckCreate("a", objstore.Plain(make([]byte, objstore.MaxSize))); err != nil {
		t.Error(err)
	}
	if err := objstore.CheckCreate("a", objstore.Plain(make([]byte, objstore.MaxSize+1))); err == nil {
		t.Error("no error")
	}
}
