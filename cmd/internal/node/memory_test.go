package node

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/varvelog/varve/cmd/internal/config"
)

func TestTheHeapIsLimitedByTheBudgetsAndTheAvailableMemory(t *testing.T) {
	const mib = int64(1) << 20
	for _, test := range []struct {
		budgets, available, limit int64
		advice                    bool
	}{
		{832 * mib, 0, 1040 * mib, false},
		{117 * mib, 0, 213 * mib, false},
		{832 * mib, 4096 * mib, 1040 * mib, false},
		{832 * mib, 1100 * mib, 990 * mib, false},
		{832 * mib, 1000 * mib, 900 * mib, true},
		{832 * mib, 100 * mib, 90 * mib, true},
		{117 * mib, 200 * mib, 180 * mib, true},
	} {
		if got := heapLimit(test.budgets, test.available); got != test.limit {
			t.Errorf("%+v: limit %d MiB", test, got/mib)
		}
		advice := tooSmall(test.budgets, test.available)
		if (advice != "") != test.advice || test.advice && !strings.Contains(advice, "--cache-bytes") {
			t.Errorf("%+v: advice %q", test, advice)
		}
	}
	if limit, most := float64(heapLimit(832*mib, 0)), maxRatio*832*float64(mib); limit >= most {
		t.Errorf("the heap may take %.0f, the node %.0f", limit, most)
	}
}

func TestTheBudgetsHaveTheMemoryOfACompaction(t *testing.T) {
	cfg := config.Serve{CacheBytes: 1, RequestMemory: 2, TailBytes: 4, CompactionMemory: 8}
	if got := budgets(&cfg); got != 7 {
		t.Errorf("budgets of %d bytes without the role tiering", got)
	}
	cfg.Roles = []config.Role{config.RoleIngest, config.RoleTiering}
	if got := budgets(&cfg); got != 15 {
		t.Errorf("budgets of %d bytes with the role tiering", got)
	}
}

func TestTheAvailableMemoryIsTheLeastOfTheMachineAndItsGroups(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	for name, test := range map[string]struct {
		files fstest.MapFS
		want  int64
	}{
		"none":    {fstest.MapFS{}, 0},
		"no file": {fstest.MapFS{"proc/self/cgroup": file("0::/a/b\n")}, 0},
		"no limit": {fstest.MapFS{
			"proc/self/cgroup": file("0::/a\n"), "sys/fs/cgroup/a/memory.max": file("max\n"),
		}, 0},
		"own": {fstest.MapFS{
			"proc/self/cgroup": file("0::/\n"), "sys/fs/cgroup/memory.max": file("1000\n"),
		}, 1000},
		"of a parent": {fstest.MapFS{
			"proc/self/cgroup": file("0::/a/b\n"), "sys/fs/cgroup/a/memory.max": file("500\n"), "sys/fs/cgroup/a/b/memory.max": file("1000\n"),
		}, 500},
		"version 1": {fstest.MapFS{
			"proc/self/cgroup": file("3:cpu:/x\n4:memory:/a\n"), "sys/fs/cgroup/memory/a/memory.limit_in_bytes": file("700\n"),
		}, 700},
		"version 1, no limit": {fstest.MapFS{
			"proc/self/cgroup": file("4:memory:/\n"), "sys/fs/cgroup/memory/memory.limit_in_bytes": file("9223372036854771712\n"),
		}, 0},
		"of the machine": {fstest.MapFS{"proc/meminfo": file("MemTotal:         500 kB\nMemFree: 1 kB\n")}, 500 << 10},
		"group below the machine": {fstest.MapFS{
			"proc/meminfo": file("MemTotal: 500 kB\n"), "proc/self/cgroup": file("0::/\n"), "sys/fs/cgroup/memory.max": file("1000\n"),
		}, 1000},
		"group above the machine": {fstest.MapFS{
			"proc/meminfo": file("MemTotal: 1 kB\n"), "proc/self/cgroup": file("0::/\n"), "sys/fs/cgroup/memory.max": file("2000\n"),
		}, 1024},
		"nonsense": {fstest.MapFS{
			"proc/self/cgroup": file("nonsense\n0::/\n"), "sys/fs/cgroup/memory.max": file("many\n"),
		}, 0},
	} {
		if got := availableMemory(test.files); got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
	}
}

func TestAnIdleNodeGivesFreeMemoryBack(t *testing.T) {
	var i idling
	for step, test := range []struct {
		allocs, free uint64
		want         bool
	}{
		{1 << 30, 1 << 30, false}, // busy until now
		{1<<30 + 1<<20, 1 << 30, true},
		{1<<30 + 2<<20, 1 << 20, false}, // nothing to give
		{2 << 30, 1 << 30, false},
	} {
		if got := i.due(test.allocs, test.free); got != test.want {
			t.Errorf("step %d: %v", step, got)
		}
	}
}

func TestTheLimitOfTheHeapRisesForStateThatIsInNoBudget(t *testing.T) {
	const gib = int64(1) << 30
	g := &heapGuard{least: gib, most: 4 * gib, limit: gib}
	var gc, all float64
	look := func(what string, live int64, share float64, want int64, short bool) {
		t.Helper()
		gc, all = gc+20*share, all+20
		limit, gotShort := g.decide(live, gc, all)
		if g.limit = limit; limit != want || gotShort != short {
			t.Errorf("%s: limit %d, short %v; want %d, %v", what, limit, gotShort, want, short)
		}
	}
	look("busy, with room", gib/2, 0.5, gib, false)
	look("full, at rest", gib, 0.1, gib, false)
	look("full", gib, 0.3, gib/4*5, true)
	look("the same, with more room", gib, 0.1, gib/4*5, false)
	look("far above the limit", 3*gib, 0.5, 15*gib/4, true)
	look("above all there is", 4*gib, 0.5, 4*gib, true)
	look("still", 4*gib, 0.5, 4*gib, true)
	look("less", gib, 0.1, 4*gib, false)
	look("no longer", gib/3, 0.1, gib, false)
	g.most = g.least // as the user has set it
	look("limit of the user", 2*gib, 0.5, gib, true)
}
