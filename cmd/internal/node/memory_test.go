package node

import (
	"strings"
	"testing"
	"testing/fstest"
)

func TestTheHeapIsLimitedByTheBudgetsAndTheContainer(t *testing.T) {
	const mib = int64(1) << 20
	for _, test := range []struct {
		budgets, container, limit int64
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
		if got := heapLimit(test.budgets, test.container); got != test.limit {
			t.Errorf("%+v: limit %d MiB", test, got/mib)
		}
		advice := tooSmall(test.budgets, test.container)
		if (advice != "") != test.advice || test.advice && !strings.Contains(advice, "--cache-bytes") {
			t.Errorf("%+v: advice %q", test, advice)
		}
	}
	if limit, most := float64(heapLimit(832*mib, 0)), maxRatio*832*float64(mib); limit >= most {
		t.Errorf("the heap may take %.0f, the node %.0f", limit, most)
	}
}

func TestTheLimitOfAContainerIsTheLeastOfItsGroups(t *testing.T) {
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
		"nonsense": {fstest.MapFS{
			"proc/self/cgroup": file("nonsense\n0::/\n"), "sys/fs/cgroup/memory.max": file("many\n"),
		}, 0},
	} {
		if got := containerMemory(test.files); got != test.want {
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
