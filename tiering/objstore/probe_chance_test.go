package objstore_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
)

var probeSeed = flag.Uint64("probe.seed", 0, "first seed of the probes of stores that fail by chance; 0 is a random one")

// jittery is a store whose creates arrive at any time within spread. All waits are in
// the time of a synctest bubble.
type jittery struct {
	*mem.Store
	mu     *sync.Mutex
	rand   *rand.Rand // guarded by mu
	spread time.Duration
}

func newJittery(seed uint64, spread time.Duration, fault func(j *jittery, c mem.Call) mem.Action) *jittery {
	j := &jittery{mu: new(sync.Mutex), rand: rand.New(rand.NewPCG(seed, 0)), spread: spread}
	j.Store = mem.New(time.Now, func(c mem.Call) mem.Action {
		if _, exists := j.GetNow(c.Key); fault == nil || c.Op != objstore.OpCreate || !exists {
			return mem.Action{}
		}
		return fault(j, c)
	})
	return j
}

func (j *jittery) number(below int64) int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.rand.Int64N(below)
}

func (j *jittery) Create(ctx context.Context, key string, body objstore.Body) error {
	time.Sleep(time.Duration(j.number(int64(j.spread))))
	return j.Store.Create(ctx, key, body)
}

// checkThenAct looks for the object, waits, and then writes it.
type checkThenAct struct {
	*jittery
	wait time.Duration
}

func (s checkThenAct) Create(_ context.Context, key string, body objstore.Body) error {
	time.Sleep(time.Duration(s.number(int64(s.spread))))
	if _, exists := s.GetNow(key); exists {
		return fmt.Errorf("create %q: %w", key, objstore.ErrExists)
	}
	time.Sleep(s.wait)
	s.PutNow(key, body.Bytes)
	return nil
}

// TestAQuickProbeIsSureAboutAStoreThatFailsByChance probes each store 100 times. The
// writers of a race arrive within the time that the sums at Quick allow.
func TestAQuickProbeIsSureAboutAStoreThatFailsByChance(t *testing.T) {
	const probes, spread = 100, 18 * time.Millisecond
	passes := func(passes bool) mem.Action {
		if passes {
			return mem.Action{Effect: mem.Overwrite}
		}
		return mem.Action{}
	}
	for name, tc := range map[string]struct {
		open func(seed uint64) objstore.Store
		safe bool
	}{
		"good": {func(seed uint64) objstore.Store { return newJittery(seed, spread, nil) }, true},
		"half of the second creates pass": {func(seed uint64) objstore.Store {
			return newJittery(seed, spread, func(j *jittery, _ mem.Call) mem.Action { return passes(j.number(2) == 0) })
		}, false},
		"half of the second creates pass, when they do not race": {func(seed uint64) objstore.Store {
			return newJittery(seed, spread, func(j *jittery, c mem.Call) mem.Action { return passes(step(c) == "1" && j.number(2) == 0) })
		}, false},
		"second creates of half of the keys pass, when they do not race": {func(seed uint64) objstore.Store {
			return newJittery(seed, spread, func(_ *jittery, c mem.Call) mem.Action {
				h := fnv.New32a()
				h.Write([]byte(c.Key))
				return passes(step(c) == "1" && (h.Sum32()>>16^h.Sum32())%2 == 0)
			})
		}, false},
		"1 of 20 second creates passes": {func(seed uint64) objstore.Store {
			return newJittery(seed, spread, func(j *jittery, _ mem.Call) mem.Action { return passes(j.number(20) == 0) })
		}, false},
		"check, wait 1 ms, write": {func(seed uint64) objstore.Store {
			return checkThenAct{newJittery(seed, spread, nil), time.Millisecond}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			first := *probeSeed
			if first == 0 {
				first = rand.Uint64N(1 << 32)
			}
			for seed := first; seed < first+probes; seed++ {
				synctest.Test(t, func(t *testing.T) {
					err := objstore.Probe(t.Context(), tc.open(seed), "probe", objstore.Quick, nil)
					if tc.safe && err != nil || !tc.safe && !errors.Is(err, objstore.ErrUnsafe) {
						t.Errorf("seed %d: error %v, safe: %v (go test -run %q -probe.seed=%d)", seed, err, tc.safe, t.Name(), seed)
					}
				})
			}
		})
	}
}

// TestProbesMakeAsManyRequestsAsTheySay: the chances at the efforts come from these
// numbers, and the time that a first start takes.
func TestProbesMakeAsManyRequestsAsTheySay(t *testing.T) {
	for effort, want := range map[objstore.Effort][2]int{objstore.Quick: {366, 614}, objstore.Thorough: {1775, 2254}} {
		store := mem.New(nil, nil)
		if err := objstore.Probe(t.Context(), store, "probe", effort, nil); err != nil {
			t.Fatal(err)
		}
		all := 0
		for _, op := range []objstore.Op{objstore.OpCreate, objstore.OpGet, objstore.OpGetRange, objstore.OpGetTail, objstore.OpList, objstore.OpDelete} {
			all += store.Calls(op)
		}
		if creates := store.Calls(objstore.OpCreate); creates != want[0] || all != want[1] {
			t.Errorf("effort %d: %d creates of %d requests, want %d of %d", effort, creates, all, want[0], want[1])
		}
	}
}

// TestAProbeRemovesWhatAnInterruptedOneLeft: objects of a probe that may be under way
// are left alone, as are those that no probe makes.
func TestAProbeRemovesWhatAnInterruptedOneLeft(t *testing.T) {
	for name, probe := range map[string]func(objstore.Store) error{
		"Probe":       func(s objstore.Store) error { return objstore.Probe(t.Context(), s, "probe", objstore.Quick, nil) },
		"CreateTwice": func(s objstore.Store) error { return objstore.CreateTwice(t.Context(), s, "probe") },
	} {
		synctest.Test(t, func(t *testing.T) {
			store := mem.New(time.Now, nil)
			random := strings.Repeat("AB", 13)
			stays := []string{"probe/mine", "probe/" + random, "probe/" + random + "/notes/1/2/3", "probes/" + random + "/2/03/0"}
			goes := []string{"probe/" + random + "/2/03/0", "probe/" + random + "/5/00/0/2"}
			for _, key := range append(stays, goes...) {
				store.PutNow(key, nil)
			}
			time.Sleep(50 * time.Minute)
			underWay := "probe/" + strings.Repeat("CD", 13) + "/2/03/0"
			store.PutNow(underWay, nil)
			left := func(want int) {
				t.Helper()
				if err := probe(store); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if n := len(store.ListNow("")); n != want {
					t.Errorf("%s: %d objects are left, want %d", name, n, want)
				}
			}
			left(len(stays) + len(goes) + 1)
			time.Sleep(20 * time.Minute)
			left(len(stays) + 1)
			for _, key := range append(stays, underWay) {
				if _, found := store.GetNow(key); !found {
					t.Errorf("%s: %s was removed", name, key)
				}
			}
		})
	}
}
